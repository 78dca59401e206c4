"""Tracing for theseus-kit: every hook call, C call and system call, for people and for programs."""

from theseus_kit_trace.plugin import Format, Options, TracePlugin

__all__ = ["Format", "Options", "TracePlugin"]
