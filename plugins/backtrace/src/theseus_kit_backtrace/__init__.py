"""Symbolication and unwinding for theseus-kit."""

from theseus_kit_backtrace.plugin import BacktracePlugin

__all__ = ["BacktracePlugin"]
