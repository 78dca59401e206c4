"""Exception registration for theseus-kit, with the semantics of Theseus."""

from theseus_kit_signals.plugin import SignalsPlugin

__all__ = ["SignalsPlugin"]
