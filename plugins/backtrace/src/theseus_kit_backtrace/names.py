"""Readable forms of mangled names: Rust's (v0 and legacy) and C++'s (Itanium)."""

from __future__ import annotations

_LANGUAGES = ("rust", "itanium")
"""Manglings looked for: Rust's (v0 and legacy) and C++'s. The package knows more, some of which
rewrite plain C names."""


def demangled(name: str | None) -> str | None:
    """The readable form of a mangled name; None for a name that is none."""
    if name is None or not name.startswith(("_R", "_Z", "__R", "__Z")):
        return None
    from demangle import demangle  # 5 ms, for the first mangled name

    readable = demangle(name, language=_LANGUAGES)
    return None if readable == name else readable
