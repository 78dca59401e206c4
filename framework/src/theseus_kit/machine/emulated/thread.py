"""A guest thread as the emulated machine sees it: its stack, its calls in progress, its registers.

The registers of the thread that is selected are in the CPU, those of any other in a saved state.
Which thread that is, and what becomes of its calls, is the run loop's affair.
"""

from __future__ import annotations

import ctypes

from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.values.exceptions import ExceptionContext
from theseus_kit.values.memory import AddressRange
from theseus_kit.values.record import NamedTuple

IDLE, GUEST, EXPORT, EXCEPTION, SYSTEM_CALL, PREEMPTION = range(6)
"""Who has control in a thread: nobody; guest code, or a callback it waits in; Python at rest, where
the guest called an export, raised an exception, made a system call, or was simply stopped."""


class Outer(NamedTuple):
    """What waits for a nested call to return."""

    state: ctypes.c_void_p
    place: int
    context: ExceptionContext | None


class EmulatedThread:
    """See :class:`theseus_kit.machine.protocol.Thread`."""

    __slots__ = (
        *("_cpu", "_fresh", "_fs_base", "broken", "context", "float_result", "outer"),
        *("place", "selected", "stack", "state", "top"),
    )

    def __init__(self, cpu: Cpu, stack: AddressRange, fs_base: int) -> None:
        self.stack = stack
        self.top = stack.end & -16
        """Where the next call's frame goes: below the innermost guest frame; 0: nowhere."""
        self.place = IDLE
        self.context: ExceptionContext | None = None
        """The exception that is being handled, where ``place`` is EXCEPTION."""
        self.outer: list[Outer] = []
        self.float_result: float | None = None
        """xmm0 as the last call left it, None: it is still there."""
        self.broken = False
        """Its calls did not return innermost first."""
        self.selected = False
        self.state = cpu.new_context()
        """Memory for the registers; what they are while another thread is selected."""
        self._fresh = True
        """Nothing is in ``state``: the thread has run nothing."""
        self._cpu = cpu
        self._fs_base: int | None = fs_base
        """What the state is to be given yet."""

    def __del__(self) -> None:
        self._cpu.recycle(self.state)

    @property
    def fs_base(self) -> int:
        if self.selected:
            return self._cpu.read_register(uc.REG_FS_BASE)
        if self._fs_base is not None:
            return self._fs_base
        return self._cpu.read_saved_register(self.state, uc.REG_FS_BASE)

    @fs_base.setter
    def fs_base(self, value: int) -> None:
        if self.selected:
            self._cpu.write_register(uc.REG_FS_BASE, value)
        else:
            self._fs_base = value

    def is_of(self, cpu: Cpu) -> bool:
        """Whether this is a thread of that very CPU."""
        return self._cpu is cpu

    def load(self) -> None:
        """Give the CPU this thread's registers. Doing it twice is the same as once."""
        if self._fresh:
            self._cpu.load_pristine()
        else:
            self._cpu.load(self.state)
        if self._fs_base is not None:
            self._cpu.write_register(uc.REG_FS_BASE, self._fs_base)
        self.selected = True

    def save(self) -> None:
        """Take this thread's registers from the CPU, which keeps them."""
        self._cpu.save_into(self.state)
        self._fresh, self._fs_base = False, None

    def back_to(self, state: ctypes.c_void_p) -> None:
        """Return to a saved state, be the thread selected or not, and recycle its memory."""
        if self.selected:
            self._cpu.restore(state)
        else:
            old, self.state = self.state, state
            self._fs_base = None
            self._cpu.recycle(old)

    def start_afresh(self) -> None:
        """Return to the registers of a thread that has run nothing, with the same FS base."""
        if self.selected:
            fs_base = self.fs_base
            self._cpu.load_pristine()
            self.fs_base = fs_base
        elif self._cpu.handle:
            self._fs_base = self.fs_base
            self._fresh = True
