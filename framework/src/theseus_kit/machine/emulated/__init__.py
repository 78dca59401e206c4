"""The machine ``emulated``: an x86-64 CPU in Unicorn, with a page table of ours."""

from theseus_kit.machine.emulated.machine import EmulatedMachine
from theseus_kit.machine.emulated.options import EmulatedOptions

__all__ = ["EmulatedMachine", "EmulatedOptions"]
