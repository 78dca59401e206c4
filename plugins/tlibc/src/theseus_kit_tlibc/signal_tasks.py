"""What each task has of its own: which signals are blocked, which wait, where handlers run.

The mask lies in guest memory, so that the machine code a handler returns through restores it
without asking Python::

    cells   ┌──────────────────┬────────────────────────────────────────────────┐
            │ mask             │ attention: not 0 where a return is Python's to │
            │                  │ see to: signals wait, or a stack was disarmed  │
            └──────────────────┴────────────────────────────────────────────────┘
            0                  8                                               16
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from theseus_kit_tlibc.signal_frame import AlternateStack

if TYPE_CHECKING:
    from theseus_kit_tlibc.signal_frame import Cause

SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
SIGKILL, SIGSTOP = 9, 19
UNBLOCKABLE = 1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1)
CELLS_SIZE: Final = 16
_MASK, _ATTENTION = 0, 1

NO_STACK = AlternateStack(0, 0, SS_DISABLE)


class TaskSignals:
    """The signals of one task; ``cells`` is where its two words are, in ``view``.

    ``shared`` are the process's, which no task could take when they came: whoever unblocks one.
    """

    __slots__ = ("_disarms", "_pending", "_shared", "_words", "cells", "stack", "waits_for")

    def __init__(self, cells: int, view: memoryview, shared: dict[int, Cause]) -> None:
        self.cells = cells
        self._words = view[cells : cells + CELLS_SIZE].cast("Q")
        self._words[_MASK] = self._words[_ATTENTION] = 0
        self._pending: dict[int, Cause] = {}
        self._shared = shared
        self._disarms = False
        self.waits_for = 0
        """The signals that sigwait(3) is waiting for, as a mask."""
        self.stack = NO_STACK

    @property
    def mask(self) -> int:
        """Bit n - 1 is signal n's; a handler's return writes it behind Python's back."""
        return self._words[_MASK]

    @mask.setter
    def mask(self, value: int) -> None:
        self._words[_MASK] = value

    @property
    def has_pending(self) -> bool:
        return bool(self._pending or self._shared)

    @property
    def unblocked(self) -> int:
        """The signals that wait and are not blocked, as a mask."""
        return self.pending_set() & ~self.mask if self.has_pending else 0

    def pending_set(self) -> int:
        """The signals that wait, as a mask."""
        return sum(1 << (signum - 1) for signum in {*self._pending, *self._shared})

    def add_pending(self, cause: Cause) -> None:
        """Have a signal wait; one of its number that waits already stands for both."""
        self._pending.setdefault(cause.signal, cause)
        self.call_attention()

    def call_attention(self) -> None:
        """Have the next handler that returns ask Python: a signal waits."""
        self._words[_ATTENTION] = 1

    def take_unblocked(self) -> Cause | None:
        """Take out the signal that goes first: the lowest number, the task's own before the
        process's (dequeue_signal of Linux)."""
        return self.take(~self.mask)

    def take(self, chosen: int) -> Cause | None:
        """Take out the first of some signals, which are given as a mask."""
        for pending in (self._pending, self._shared):
            numbers = [number for number in pending if chosen >> (number - 1) & 1]
            if numbers:
                cause = pending.pop(min(numbers))
                self._words[_ATTENTION] = self.has_pending or self._disarms
                return cause
        return None

    def disarm_stack(self) -> None:
        """Take the alternate stack away while a handler runs on it (SS_AUTODISARM)."""
        self.stack = NO_STACK
        self._disarms = True
        self._words[_ATTENTION] = 1

    def uses_stack(self, stack_pointer: int) -> bool:
        """Whether a stack pointer is on the alternate stack (__on_sig_stack of Linux).

        One that disarms itself is never in use.
        """
        stack = self.stack
        armed = not stack.flags & SS_AUTODISARM
        return armed and stack.address < stack_pointer <= stack.address + stack.size
