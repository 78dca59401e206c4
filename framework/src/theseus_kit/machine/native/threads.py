"""Host threads that may run guest code: what each needs of the kernel, and its record.

A thread is made ready when it first calls guest code: an alternate stack for signals, system call
dispatch, a timer over its own CPU time, and a record by which the machine code finds it. All of it
is given back when Python's state of the thread goes, which is before the thread does: its address
in the record can then not become another thread's.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from struct import Struct
from typing import Final

from theseus_kit.errors import MachineError
from theseus_kit.machine.native import layout, system
from theseus_kit.machine.native.dispatch import SystemCallDispatch
from theseus_kit.machine.native.handlers import TICK_SIGNAL
from theseus_kit.values.memory import PAGE_SIZE

ALTERNATE_STACK_SIZE: Final = 256 << 10
_ENOUGH_STACK = 64 << 10
"""An alternate stack that is there already and has this much is left alone (Rust's, Wasmtime's)."""

_STACK = Struct("<Qi4xQ")
_SS_DISABLE = 2
_EVENT = Struct("<Qiii44x")
_SIGEV_THREAD_ID = 4
_CLOCK_THREAD_CPUTIME_ID = 3
_RUNNING = layout.THREAD_RUNNING // 8
_TIMER_CREATE, _TIMER_DELETE, _TGKILL = 222, 226, 234


class Claim:
    """A thread's claim to its record, kept by itself and by whatever has calls in progress there.

    Calls of a thread that has ended never go on. Another thread with the same record would be
    taken for it, so the record is used again only when nobody keeps the claim.
    """

    def __init__(self, record: int, give_back: Callable[[int], None]) -> None:
        self.record = record
        self.owner = threading.get_ident()
        """Python's number of the thread, 0 once it has ended."""
        self._give_back = give_back

    def __del__(self) -> None:
        self._give_back(self.record)


class _Ready:
    """A thread that is ready; when it goes, so does everything it was given."""

    def __init__(self, threads: Threads, claim: Claim) -> None:
        self.threads = threads
        self.claim = claim
        self.record = claim.record
        self.identifier = threading.get_native_id()
        self.timer = _create_timer(self.identifier)
        self.stack = _install_stack()

    def __del__(self) -> None:
        self.claim.owner = 0
        if threading.get_native_id() == self.identifier:  # and no fork has left it behind
            self.threads.release(self)


class Threads:
    """The records of the process's threads, ``count`` of them from ``first`` on."""

    def __init__(
        self,
        first: int,
        count: int,
        view: memoryview,
        thread_pointer: Callable[[], int],
        dispatch: SystemCallDispatch,
    ) -> None:
        self._first = first
        self._count = count
        self._free = self._all_records()
        """Records of no thread, the lowest last. Taking one is one step: threads do it at once."""
        self._words = view[first : first + count * layout.THREAD_SIZE].cast("Q")
        self._thread_pointer = thread_pointer
        self._dispatch = dispatch
        self._local = threading.local()
        self._claims: weakref.WeakValueDictionary[int, Claim] = weakref.WeakValueDictionary()
        self._identifiers: dict[int, int] = {}
        """The kernel's number of each record's thread."""

    def attach(self) -> Claim:
        """Make the calling thread ready, if it is not; return its claim to a record."""
        ready: _Ready | None = getattr(self._local, "ready", None)
        if ready is None:
            claim = Claim(self._free_record(), self._free.append)
            self._claims[claim.record] = claim
            ready = _Ready(self, claim)
            self._dispatch.arm()
            self._fill(ready)
            self._local.ready = ready
        return ready.claim

    def release(self, ready: _Ready) -> None:
        """Take back what a thread was given; by that thread."""
        index = self._index(ready.record)
        self._words[index + layout.THREAD_POINTER // 8] = 0
        del self._identifiers[ready.record]
        system.syscall(_TIMER_DELETE, ready.timer, 0, 0, 0, 0, 0)
        if ready.stack:
            _remove_stack(ready.stack)

    def after_fork(self) -> None:
        """In the child: only the thread that forked is left, without dispatch and timer."""
        ready: _Ready | None = getattr(self._local, "ready", None)
        for claim in list(self._claims.values()):
            if ready is None or claim is not ready.claim:
                claim.owner = 0
        for number in range(self._count):
            record = self._first + number * layout.THREAD_SIZE
            if ready is None or record != ready.record:
                self._words[self._index(record) + layout.THREAD_POINTER // 8] = 0
        if ready is not None:
            self._dispatch.arm()
            ready.identifier = threading.get_native_id()
            self._identifiers = {ready.record: ready.identifier}
            ready.timer = _create_timer(ready.identifier)
            index = self._index(ready.record)
            self._words[index + layout.THREAD_TIMER // 8] = ready.timer
            self._words[index + layout.THREAD_TICKING // 8] = 0

    def disturb(self, record: int) -> None:
        """Make a record's thread leave guest code for a moment, if that is where it is.

        One that is on its way there may be missed: it looks up at the timer's next tick.
        """
        identifier = self._identifiers.get(record)
        if identifier is not None and self._words[self._index(record) + _RUNNING]:
            system.syscall(_TGKILL, os.getpid(), identifier, TICK_SIGNAL, 0, 0, 0)

    def _all_records(self) -> list[int]:
        size = layout.THREAD_SIZE
        return [self._first + number * size for number in reversed(range(self._count))]

    def _free_record(self) -> int:
        try:
            return self._free.pop()
        except IndexError:
            raise MachineError(f"more than {self._count} threads run guest code") from None

    def _fill(self, ready: _Ready) -> None:
        index = self._index(ready.record)
        self._words[index : index + layout.THREAD_SIZE // 8] = memoryview(
            bytes(layout.THREAD_SIZE)
        ).cast("Q")
        self._words[index + layout.THREAD_TIMER // 8] = ready.timer
        self._words[index + layout.THREAD_POINTER // 8] = self._thread_pointer()
        self._identifiers[ready.record] = ready.identifier

    def _index(self, record: int) -> int:
        return (record - self._first) // 8


def _create_timer(identifier: int) -> int:
    event = ctypes.create_string_buffer(_EVENT.pack(0, TICK_SIGNAL, _SIGEV_THREAD_ID, identifier))
    number = ctypes.c_int()
    result = system.syscall(
        *(_TIMER_CREATE, _CLOCK_THREAD_CPUTIME_ID, ctypes.addressof(event)),
        *(ctypes.addressof(number), 0, 0, 0),
    )
    if result != 0:
        raise MachineError(f"the host refuses a timer: {system.errno_text()}")
    return number.value


def _install_stack() -> int:
    """Give the calling thread an alternate stack, if it has none; return its mapping or 0."""
    current = ctypes.create_string_buffer(_STACK.size)
    system.sigaltstack(None, current)
    _, flags, size = _STACK.unpack(current.raw[: _STACK.size])
    if not flags & _SS_DISABLE and size >= _ENOUGH_STACK:
        return 0
    mapping = system.allocate(PAGE_SIZE + ALTERNATE_STACK_SIZE)
    system.protect(mapping, PAGE_SIZE, system.PROT_NONE)
    wanted = ctypes.create_string_buffer(_STACK.pack(mapping + PAGE_SIZE, 0, ALTERNATE_STACK_SIZE))
    if system.sigaltstack(wanted, None) != 0:
        raise MachineError(f"the host refuses an alternate stack: {system.errno_text()}")
    return mapping


def _remove_stack(mapping: int) -> None:
    current = ctypes.create_string_buffer(_STACK.size)
    system.sigaltstack(None, current)
    if _STACK.unpack(current.raw[: _STACK.size])[0] == mapping + PAGE_SIZE:
        system.sigaltstack(ctypes.create_string_buffer(_STACK.pack(0, _SS_DISABLE, 0)), None)
    system.release(mapping, PAGE_SIZE + ALTERNATE_STACK_SIZE)
