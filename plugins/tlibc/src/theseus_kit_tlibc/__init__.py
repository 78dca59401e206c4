"""The C face of a platform: libc symbols, system calls, thread-local storage, in Python."""

from theseus_kit_tlibc.plugin import CLibraryPlugin, TlibcPlugin

__all__ = ["CLibraryPlugin", "TlibcPlugin"]
