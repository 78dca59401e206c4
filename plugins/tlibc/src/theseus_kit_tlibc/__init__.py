"""The C face of a platform: libc symbols, system calls, thread-local storage, in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theseus_kit_tlibc.plugin import CLibraryPlugin, TlibcPlugin

if TYPE_CHECKING:
    from theseus_kit_tlibc.theseus_tls import TheseusTlsPlugin

__all__ = ["CLibraryPlugin", "TheseusTlsPlugin", "TlibcPlugin"]


def __getattr__(name: str) -> Any:
    """Import the other provider where it is wanted: every start imports this package."""
    if name == "TheseusTlsPlugin":
        from theseus_kit_tlibc.theseus_tls import TheseusTlsPlugin

        return TheseusTlsPlugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
