"""A guest thread as the native machine sees it: a stack, a thread pointer, control registers."""

from __future__ import annotations

from typing import Final

from theseus_kit.machine.native import layout
from theseus_kit.values.memory import AddressRange

_CELL = layout.CONTEXT_THREAD_POINTER // 8
_FLOAT_STATE = layout.CONTEXT_FLOAT_STATE // 8
INITIAL_FLOAT_STATE: Final = 0x037F << 32 | 0x1F80
"""x87 control word and MXCSR at a program's start (System V ABI, 3.4.1)."""


class NativeThread:
    """See :class:`theseus_kit.machine.protocol.Thread`."""

    def __init__(self, stack: AddressRange, fs_base: int) -> None:
        self.stack = stack
        self.top = stack.end & -16
        """Where the next call's frame goes: below the innermost guest frame of this thread."""
        self._fs_base = fs_base
        self._float_state = INITIAL_FLOAT_STATE
        self._context: memoryview | None = None

    @property
    def fs_base(self) -> int:
        """Kept in a cell of memory while the thread is selected. The CPU's own stays the host
        thread's: signals interrupt guest code at any moment, and the host's handlers need theirs.
        """
        return self._fs_base

    @fs_base.setter
    def fs_base(self, value: int) -> None:
        self._fs_base = value
        if self._context is not None:
            self._context[_CELL] = value

    def select(self, context: memoryview) -> None:
        """Put this thread's pointer and control registers where the machine code looks."""
        self._context = context
        context[_CELL] = self._fs_base
        context[_FLOAT_STATE] = self._float_state

    def deselect(self) -> None:
        """Another thread's are going to be there."""
        if self._context is not None:
            self._float_state = self._context[_FLOAT_STATE]
        self._context = None
