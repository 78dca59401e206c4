"""The C face of a platform: libc symbols, system calls, thread-local storage, in Python."""

from theseus_kit_tlibc.plugin import TlibcPlugin

__all__ = ["TlibcPlugin"]
