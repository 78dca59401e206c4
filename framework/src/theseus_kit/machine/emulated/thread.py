"""A guest thread as the machine sees it: a stack, an FS base, and the CPU's state while away."""

from __future__ import annotations

import ctypes

from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.values.memory import AddressRange


class EmulatedThread:
    """See :class:`theseus_kit.machine.protocol.Thread`."""

    def __init__(self, cpu: Cpu, stack: AddressRange, fs_base: int) -> None:
        self.stack = stack
        self.top = stack.end & -16
        """Where the next call's frame goes: below the innermost guest frame of this thread."""
        self.selected = False
        self._state: ctypes.c_void_p | None = None
        self._cpu = cpu
        self._fs_base = fs_base

    @property
    def fs_base(self) -> int:
        return self._cpu.read_register(uc.REG_FS_BASE) if self.selected else self._fs_base

    @fs_base.setter
    def fs_base(self, value: int) -> None:
        self._fs_base = value
        if self.selected:
            self._cpu.write_register(uc.REG_FS_BASE, value)

    def suspend(self) -> None:
        """Take the CPU's state away."""
        self._fs_base = self.fs_base
        self.selected = False
        self._state = self._cpu.save()

    def resume(self) -> None:
        """Give the CPU this thread's state."""
        if self._state is None:
            self._cpu.load_pristine()
        else:
            self._cpu.restore(self._state)
            self._state = None
        self._cpu.write_register(uc.REG_FS_BASE, self._fs_base)
        self.selected = True
