"""Where the calls in progress wait: a thread's registers, read off the CPU or what it saved.

A frame's registers depend on who has control in it (see :mod:`.thread`)::

    EXPORT       at the export's entry, its return address on the stack: go on to the return
    EXCEPTION    those of the exception, as the handler has edited them so far
    SYSTEM_CALL  rip is past the instruction, which is told instead
    PREEMPTION   as they are
"""

from __future__ import annotations

from collections.abc import Iterator

from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.exits import Exits
from theseus_kit.machine.emulated.memory import EmulatedMemory
from theseus_kit.machine.emulated.thread import (
    EXCEPTION,
    GUEST,
    IDLE,
    PREEMPTION,
    SYSTEM_CALL,
    EmulatedThread,
)
from theseus_kit.values.exceptions import ExceptionContext, Registers

EXACT = frozenset((EXCEPTION, PREEMPTION))
"""Where rip is the very instruction that the guest stopped at."""
_SYSCALL_LENGTH = 2

Frame = tuple[Registers, bool, int | None]
"""The registers, whether rip is exact, and the number of the export that was called."""


class Frames:
    """Reads the frames of calls in progress."""

    def __init__(self, cpu: Cpu, exits: Exits, memory: EmulatedMemory) -> None:
        self._cpu = cpu
        self._exits = exits
        self._memory = memory

    def registers(self, thread: EmulatedThread) -> Registers:
        """Those of the innermost frame of a thread; all zero where it has none."""
        return next(self.waiting(thread), (Registers(), False, None))[0]

    def waiting(self, thread: EmulatedThread) -> Iterator[Frame]:
        """Each call in progress on a thread, innermost first."""
        cpu, place = self._cpu, thread.place
        if place == IDLE:
            return
        if not thread.selected:
            yield self._frame(place, thread.context, cpu.read_saved_frame(thread.state))
        elif place == GUEST and self._exits.in_system_call:
            yield cpu.read_frame().copy(), False, None
        else:
            yield self._frame(place, thread.context, cpu.read_frame().copy())
        for outer in reversed(thread.outer):
            yield self._frame(outer.place, outer.context, cpu.read_saved_frame(outer.state))

    def _frame(self, place: int, context: ExceptionContext | None, registers: Registers) -> Frame:
        if place == EXCEPTION and context is not None:
            return context.registers.copy(), True, None
        if place == PREEMPTION:
            return registers, True, None
        if place == SYSTEM_CALL:
            registers.rip -= _SYSCALL_LENGTH
            return registers, False, None
        number = registers.r11  # an export's stub leaves it there
        registers.rip = self._memory.read_u64(registers.rsp)
        registers.rsp += 8
        return registers, False, number
