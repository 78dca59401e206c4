"""Symbolication and unwinding for theseus-kit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theseus_kit_backtrace.plugin import BacktracePlugin

if TYPE_CHECKING:
    from theseus_kit_backtrace.alternatives import (
        FramePointerBacktracePlugin,
        SymbolTablePlugin,
        UnwindingPlugin,
    )

__all__ = [
    "BacktracePlugin",
    "FramePointerBacktracePlugin",
    "SymbolTablePlugin",
    "UnwindingPlugin",
]


def __getattr__(name: str) -> Any:
    """Import the other providers where they are wanted: every start imports this package."""
    if name in __all__:
        from theseus_kit_backtrace import alternatives

        return getattr(alternatives, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
