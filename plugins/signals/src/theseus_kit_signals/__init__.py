"""Exception registration for theseus-kit: as Theseus has it, and as POSIX has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theseus_kit_signals.plugin import SignalsPlugin

if TYPE_CHECKING:
    from theseus_kit_signals.persistent import PersistentSignalsPlugin

__all__ = ["PersistentSignalsPlugin", "SignalsPlugin"]


def __getattr__(name: str) -> Any:
    """Import the other provider where it is wanted: every start imports this package."""
    if name == "PersistentSignalsPlugin":
        from theseus_kit_signals.persistent import PersistentSignalsPlugin

        return PersistentSignalsPlugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
