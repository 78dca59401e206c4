"""A guest thread as the native machine sees it: a stack, and a record with all that is its own.

The record is where the machine code finds it (:mod:`.layout`), so selecting a thread is writing
down which record is meant. Where the calls in progress go on is on the host's stack, in the part
that belongs to the greenlet which made them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from theseus_kit.machine.native import layout
from theseus_kit.values.memory import AddressRange

if TYPE_CHECKING:
    from theseus_kit.machine.native.context import Context

HOST_STACK: Final = layout.GUEST_HOST_STACK // 8
FRAME: Final = layout.GUEST_FRAME // 8
TOP: Final = layout.GUEST_TOP // 8
FLOAT_STATE: Final = layout.GUEST_FLOAT_STATE // 8
FS_BASE: Final = layout.GUEST_FS_BASE // 8
FRAMES_START: Final = layout.GUEST_FRAMES_START // 8

INITIAL_FLOAT_STATE: Final = 0x037F << 32 | 0x1F80
"""x87 control word and MXCSR at a program's start (System V ABI, 3.4.1)."""


class NativeThread:
    """See :class:`theseus_kit.machine.protocol.Thread`."""

    __slots__ = ("_context", "address", "stack", "words")

    def __init__(self, context: Context, stack: AddressRange, fs_base: int) -> None:
        self.stack = stack
        self._context = context
        self.address = context.take_record()
        """Of the record."""
        self.words = context.record(self.address)
        self.words[TOP] = stack.end & -16
        self.words[FLOAT_STATE] = INITIAL_FLOAT_STATE
        self.words[FS_BASE] = fs_base

    def __del__(self) -> None:
        self._context.give_back_record(self.address)

    @property
    def top(self) -> int:
        """Where the frame of a call goes that is not inside another one."""
        return self.stack.end & -16

    @property
    def fs_base(self) -> int:
        """Kept in a cell of memory while the thread is selected. The CPU's own stays the host
        thread's: signals interrupt guest code at any moment, and the host's handlers need theirs.
        """
        return self.words[FS_BASE]

    @fs_base.setter
    def fs_base(self, value: int) -> None:
        self.words[FS_BASE] = value
        self._context.refresh_thread_pointer()

    def is_of(self, context: Context) -> bool:
        """Whether this is a thread of that very machine."""
        return self._context is context
