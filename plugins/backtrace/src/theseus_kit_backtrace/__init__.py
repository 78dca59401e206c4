"""Symbolication and unwinding for theseus-kit."""

from theseus_kit_backtrace.plugin import BacktracePlugin, DwarfBacktracePlugin

__all__ = ["BacktracePlugin", "DwarfBacktracePlugin"]
