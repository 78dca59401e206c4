"""One machine's context: the memory that its exports and the process's code share with Python.

::

    ┌──────────────────┬──────────────────────────────────────────────┐
    │ context (layout) │ table of exports: function, arity and kind   │
    └──────────────────┴──────────────────────────────────────────────┘
    0                  0x1000

The table holds addresses of Python objects; :class:`Context` keeps the objects alive. The records
of guest threads are mappings of their own::

    ┌────────────────────────────┬───────────────────────────────┐
    │ frames, untouched at first │ record (layout), at the end   │
    └────────────────────────────┴───────────────────────────────┘

Both live as long as anything that may look at them: the machine, its threads, the builtins of
prepared calls, and so the Python frames of every call in progress.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from theseus_kit.errors import MachineError
from theseus_kit.machine.native import layout, system
from theseus_kit.machine.native.thread import FRAME, FRAMES_START, FS_BASE, HOST_STACK
from theseus_kit.machine.protocol import HostFunction
from theseus_kit.values.memory import PAGE_SIZE

EXPORT_LIMIT: Final = 1 << 16
_EXPORT = Struct("<QII")
_SIZE = PAGE_SIZE + EXPORT_LIMIT * _EXPORT.size

THREAD: Final = layout.CONTEXT_THREAD // 8
GUEST: Final = layout.CONTEXT_GUEST // 8
CALLS: Final = layout.CONTEXT_CALLS // 8
THREAD_POINTER: Final = layout.CONTEXT_THREAD_POINTER // 8
_ASKED: Final = layout.CONTEXT_ASKED // 8
_REENTRANT: Final = layout.CONTEXT_REENTRANT // 8

_NOBODY = 0x800
"""Offset of a thread record that is no thread's, for machines that nobody uses."""
_RECORD_SIZE = 4 << 20
"""Of a guest thread's record and its frames: 12,000, more than fit on a host stack of 8 MiB."""


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
        self._records: list[int] = []
        self._free_records: list[int] = []
        self._left_records: list[int] = []
        """Of threads that are gone while their record was in use."""
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

    def take_record(self) -> int:
        """The address of a new guest thread's record. Raises MachineError."""
        for address in list(self._left_records):
            if not self._is_in_use(address):
                self._left_records.remove(address)
                self._free_records.append(address)
        if self._free_records:
            address = self._free_records.pop()
        else:
            mapping = system.allocate(_RECORD_SIZE)
            self._records.append(mapping)
            address = mapping + _RECORD_SIZE - layout.GUEST_SIZE
        words = self.record(address)
        words[HOST_STACK], words[FRAME] = 0, address
        words[FRAMES_START] = address + layout.GUEST_SIZE - _RECORD_SIZE + layout.FRAME_SIZE
        return address

    def give_back_record(self, address: int) -> None:
        """The thread is gone. Its record is used again once nothing is in progress on it."""
        self._left_records.append(address)

    def record(self, address: int) -> memoryview:
        """A guest thread's record as 64-bit words."""
        return self._view[address : address + layout.GUEST_SIZE].cast("Q")

    def _is_in_use(self, address: int) -> bool:
        return self.words[GUEST] == address or self.record(address)[HOST_STACK] != 0

    def select(self, address: int) -> None:
        """Make a guest thread's record the one that is used."""
        self.words[GUEST] = address
        self.refresh_thread_pointer()

    def refresh_thread_pointer(self) -> None:
        """Put the selected thread's pointer where guest code looks for it."""
        self.words[THREAD_POINTER] = self.record(self.words[GUEST])[FS_BASE]

    @property
    def frame(self) -> int:
        """The address of the selected thread's innermost frame, 0 if it has none."""
        record = self.words[GUEST]
        frame = self.record(record)[FRAME]
        return 0 if frame == record else frame

    def set_reentrant(self, numbers: frozenset[int]) -> None:
        """Say which system calls are answered at rest."""
        bits = sum(1 << number for number in numbers)
        for word in range(layout.REENTRANT_SYSTEM_CALLS // 64):
            self.words[_REENTRANT + word] = bits >> 64 * word & 0xFFFF_FFFF_FFFF_FFFF

    def ask(self, attention: int) -> None:
        """Ask for the guest's attention: one of the bytes, which nobody else writes meanwhile."""
        self.words[_ASKED] = self.words[GUEST]
        self._view[self.address + layout.CONTEXT_ATTENTION + attention] = 1

    def is_asked(self, attention: int) -> bool:
        return self._view[self.address + layout.CONTEXT_ATTENTION + attention] != 0

    def take(self, attention: int) -> bool:
        """Whether that was asked for; it is no longer."""
        place = self.address + layout.CONTEXT_ATTENTION + attention
        asked = self._view[place] != 0
        self._view[place] = 0
        return asked

    def belong_to_nobody(self) -> None:
        """Have every call find that this is not its thread's machine."""
        self.words[THREAD] = self.address + _NOBODY

    def __del__(self) -> None:
        if self._size:
            self.words.release()
            system.release(self.address, self._size)
            for mapping in self._records:
                system.release(mapping, _RECORD_SIZE)
