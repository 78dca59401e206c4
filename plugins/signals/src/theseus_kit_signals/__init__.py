"""Exception registration for theseus-kit: as Theseus has it, and as POSIX has it."""

from theseus_kit_signals.persistent import PersistentSignalsPlugin
from theseus_kit_signals.plugin import SignalsPlugin

__all__ = ["PersistentSignalsPlugin", "SignalsPlugin"]
