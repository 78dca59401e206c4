"""A guest thread as the native machine sees it: a stack, and a thread pointer in a cell."""

from __future__ import annotations

from theseus_kit.machine.native import layout
from theseus_kit.values.memory import AddressRange

_CELL = layout.CONTEXT_THREAD_POINTER // 8


class NativeThread:
    """See :class:`theseus_kit.machine.protocol.Thread`."""

    def __init__(self, stack: AddressRange, fs_base: int) -> None:
        self.stack = stack
        self.top = stack.end & -16
        """Where the next call's frame goes: below the innermost guest frame of this thread."""
        self._fs_base = fs_base
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
        """Make this thread's pointer the one in the context's cell."""
        self._context = context
        context[_CELL] = self._fs_base

    def deselect(self) -> None:
        """Another thread's is going to be there."""
        self._context = None
