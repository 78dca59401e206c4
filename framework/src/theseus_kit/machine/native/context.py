"""One machine's context: the memory that its exports and the process's code share with Python.

::

    ┌──────────────────┬──────────────────────────────────────────────┐
    │ context (layout) │ table of exports: function, arity and kind   │
    └──────────────────┴──────────────────────────────────────────────┘
    0                  0x1000

The table holds addresses of Python objects; :class:`Context` keeps the objects alive. It lives as
long as anything that may look at its memory: the machine, and the builtins of prepared calls.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from theseus_kit.errors import MachineError
from theseus_kit.machine.native import layout, system
from theseus_kit.machine.native.thread import INITIAL_FLOAT_STATE
from theseus_kit.machine.protocol import HostFunction
from theseus_kit.values.memory import PAGE_SIZE

EXPORT_LIMIT: Final = 1 << 16
_EXPORT = Struct("<QII")
_SIZE = PAGE_SIZE + EXPORT_LIMIT * _EXPORT.size

THREAD: Final = layout.CONTEXT_THREAD // 8
HOST_STACK: Final = layout.CONTEXT_HOST_STACK // 8
FRAME: Final = layout.CONTEXT_FRAME // 8
TOP: Final = layout.CONTEXT_TOP // 8
ATTENTION: Final = layout.CONTEXT_ATTENTION // 8

_NOBODY = 0x800
"""Offset of a thread record that is no thread's, for machines that nobody uses."""


class Context:
    """The memory, and the Python objects whose addresses stand in it."""

    def __init__(self, view: memoryview) -> None:
        self._size = 0
        self.address = system.allocate(_SIZE)
        self._size = _SIZE
        self._view = view
        self.words = view[self.address : self.address + PAGE_SIZE].cast("Q")
        self.words[layout.CONTEXT_EXPORTS // 8] = self.address + PAGE_SIZE
        self.words[THREAD] = self.address + _NOBODY
        self.words[layout.CONTEXT_FLOAT_STATE // 8] = INITIAL_FLOAT_STATE
        self._functions: list[HostFunction] = []
        self._callbacks: dict[int, object] = {}

    def add(self, function: HostFunction, arity: int, kind: int) -> int:
        """Number a function. Raises MachineError when there are too many."""
        number = len(self._functions)
        if number == EXPORT_LIMIT:
            raise MachineError(f"more than {EXPORT_LIMIT} exports")
        self._functions.append(function)
        self._pack(number, function, arity, kind)
        return number

    def replace(self, number: int, function: HostFunction, arity: int) -> None:
        """Give an export another function; the old one may be running."""
        if not 0 <= number < len(self._functions):
            raise MachineError(f"no export has the number {number}")
        place = self.address + PAGE_SIZE + number * _EXPORT.size
        kind = _EXPORT.unpack_from(self._view, place)[2]
        old = self._functions[number]
        self._functions[number] = function
        self._pack(number, function, arity, kind)
        del old  # only now: nothing may find the address of an object that is gone

    def _pack(self, number: int, function: HostFunction, arity: int, kind: int) -> None:
        place = self.address + PAGE_SIZE + number * _EXPORT.size
        _EXPORT.pack_into(self._view, place, id(function), arity, kind)

    def set_callback(self, offset: int, function: object) -> None:
        """Put a Python callable's address at an offset of the context."""
        self._callbacks[offset] = function
        self.words[offset // 8] = id(function)

    def belong_to_nobody(self) -> None:
        """Have every call find that this is not its thread's machine."""
        self.words[THREAD] = self.address + _NOBODY

    def __del__(self) -> None:
        if self._size:
            self.words.release()
            system.release(self.address, self._size)
