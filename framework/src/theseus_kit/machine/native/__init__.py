"""The machine ``native``: the host's own CPU, in this process."""

from theseus_kit.machine.native.machine import NativeMachine
from theseus_kit.machine.native.options import NativeOptions

__all__ = ["NativeMachine", "NativeOptions"]
