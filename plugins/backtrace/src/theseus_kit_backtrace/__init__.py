"""Symbolication and unwinding for theseus-kit."""

from theseus_kit_backtrace.plugin import BacktracePlugin, FramePointerBacktracePlugin

__all__ = ["BacktracePlugin", "FramePointerBacktracePlugin"]
