"""What the native machines of a process share, because a process has it once.

Signal handlers, system call dispatch and the machine code are the process's: they are set up when
the first native machine is made, and stay. This is the one object of the kit that outlives its
platforms. Its pages, mapped wherever the host likes::

    ┌───────────────────┬─────────────────────┬──────────────────┬────────────────────────┐
    │ code, r-x         │ prepared calls'     │ data, rw-        │ prepared calls' slots, │
    │ (code/)           │ stubs, r-x          │ by name          │ rw-                    │
    └───────────────────┴─────────────────────┴──────────────────┴────────────────────────┘
    0                   0x4000                0x14000            0x1c000
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from struct import Struct
from typing import Any, Final

from theseus_kit.errors import MachineError
from theseus_kit.machine.host_memory import view_of_memory
from theseus_kit.machine.native import layout, system
from theseus_kit.machine.native.builtin import new_builtin
from theseus_kit.machine.native.code import (
    entering,
    leaving,
    link,
    mapping,
    processor,
    signals,
)
from theseus_kit.machine.native.dispatch import SystemCallDispatch
from theseus_kit.machine.native.handlers import TICK_SIGNAL, SignalHandlers
from theseus_kit.machine.native.prepared import STUB_SIZE, PreparedCalls
from theseus_kit.machine.native.territory import GUEST_RANGE
from theseus_kit.machine.native.threads import Claim, Threads
from theseus_kit.values.memory import AddressRange

_CODE_SIZE = 0x4000
_STUBS_SIZE = 0x10000
_DATA_SIZE = 0x8000
PREPARED_CALLS: Final = _STUBS_SIZE // STUB_SIZE
THREADS: Final = 256
ENTRIES: Final = 8

_PYTHON_FUNCTIONS = (
    *("PyLong_AsUnsignedLongLongMask", "PyLong_FromUnsignedLongLong", "PyErr_Occurred"),
    *("PyErr_CheckSignals", "PyErr_SetString", "PyObject_Vectorcall", "PyObject_CallNoArgs"),
    *("Py_IncRef", "Py_DecRef", "PyEval_SaveThread", "PyEval_RestoreThread"),
)
"""All of Python's stable ABI."""

_PERIOD_NS: Final = 5_000_000
"""Of the timer, in CPU time: Python's own switch interval (sys.getswitchinterval)."""

_ENTRY = """
    4c 8d 1d @ | lea r11, [rip + handlers_behind_{0}]
    e9 @       | jmp signal_entry
"""
_METH_FASTCALL = 0x80

ORDER_TEXT: Final = "guest calls on this thread did not return innermost first"
_DEPTH_TEXT = "guest code and Python call each other too deep"


class _Data:
    """Named places in a range of memory."""

    def __init__(self, start: int, end: int, view: memoryview) -> None:
        self.addresses: dict[str, int] = {}
        self._next, self._end, self._view = start, end, view

    def add(self, name: str, size: int = 8, content: bytes | int = b"") -> int:
        address = self._next
        self._next = (address + size + 15) & -16
        assert self._next <= self._end, "the data area is too small"
        data = content.to_bytes(8, "little") if isinstance(content, int) else content
        self._view[address : address + len(data)] = data
        self.addresses[name] = address
        return address


class Process:
    """See :func:`process`."""

    def __init__(self) -> None:
        _require_host()
        self._view = view_of_memory()
        size = _CODE_SIZE + _STUBS_SIZE + _DATA_SIZE + PREPARED_CALLS * layout.SLOT_SIZE
        base = system.allocate(size)
        stubs, data = base + _CODE_SIZE, base + _CODE_SIZE + _STUBS_SIZE
        self._data = self._make_data(data)
        tables = [self._data.addresses[f"handlers_behind_{number}"] for number in range(ENTRIES)]
        entries = tuple(f"entry_{n}:{_ENTRY.format(n)}" for n in range(ENTRIES))
        linked = link(
            (
                *(entering.LISTING, leaving.LISTING, signals.LISTING, processor.LISTING),
                mapping.LISTING,
                *entries,
                "end_of_entries:",
            ),
            base,
            self._data.addresses,
        )
        assert len(linked.code) <= _CODE_SIZE, "the code area is too small"
        self._view[base : base + len(linked.code)] = linked.code
        try:
            system.protect(base, _CODE_SIZE, system.PROT_READ_EXECUTE)
        except Exception as error:
            raise MachineError(f"the host allows no executable memory: {error}") from error
        labels = linked.labels
        self.code = AddressRange.of_size(base, _CODE_SIZE + _STUBS_SIZE)
        self.host_call = labels["host_call"]
        self.direct_mapping = tuple(
            labels[f"{work}_directly"] for work in ("protect", "unmap", "map")
        )
        """Where :mod:`.code.mapping` protects, unmaps and maps."""
        self._labels = labels
        self._set("first_entry", labels["entry_0"])
        self._set("entries_size", labels["end_of_entries"] - labels["entry_0"])
        self.handlers = SignalHandlers(
            [labels[f"entry_{n}"] for n in range(ENTRIES)], tables, self._view
        )
        self.dispatch = SystemCallDispatch()
        thread_pointer: Any = ctypes.CFUNCTYPE(ctypes.c_uint64)(labels["thread_pointer"])
        self.threads = Threads(
            self._data.addresses["threads"],
            THREADS,
            self._view,
            thread_pointer,
            self.dispatch,
        )
        self.prepared = PreparedCalls(
            stubs, data + _DATA_SIZE, PREPARED_CALLS, labels["prepared"], self._view
        )
        self.enter = self._builtin("enter", labels["enter"])
        os.register_at_fork(after_in_child=self.threads.after_fork)

    def _make_data(self, start: int) -> _Data:
        data = _Data(start, start + _DATA_SIZE, self._view)
        for name in _PYTHON_FUNCTIONS:
            function = getattr(ctypes.pythonapi, name)
            address = ctypes.cast(function, ctypes.c_void_p).value
            data.add(name, 8, address or 0)
        data.add("Py_None", 8, id(None))
        data.add("order_error", 8, id(MachineError))
        data.add("order_text", len(ORDER_TEXT) + 1, ORDER_TEXT.encode() + b"\0")
        data.add("recursion_error", 8, id(RecursionError))
        data.add("recursion_text", len(_DEPTH_TEXT) + 1, _DEPTH_TEXT.encode() + b"\0")
        data.add("guest_start", 8, GUEST_RANGE.start)
        data.add("guest_size", 8, GUEST_RANGE.size)
        data.add("tick_signal", 8, TICK_SIGNAL)
        data.add("register_order", 32, layout.REGISTER_ORDER)
        # struct itimerspec: interval and first expiry, seconds and nanoseconds.
        data.add("tick_period", 32, Struct("<4q").pack(0, _PERIOD_NS, 0, _PERIOD_NS))
        # The kernel's struct sigaction: handler, flags, restorer, mask; all zero is SIG_DFL.
        for name in ("no_period", "default_handler", "found_handler"):
            data.add(name, 32)
        for name in ("first_entry", "entries_size"):
            data.add(name)
        data.add("thread_count", 8, THREADS)
        for number in range(ENTRIES):
            data.add(f"handlers_behind_{number}", 65 * 8)
        data.add("threads", THREADS * layout.THREAD_SIZE)
        return data

    def _set(self, name: str, value: int) -> None:
        address = self._data.addresses[name]
        self._view[address : address + 8] = value.to_bytes(8, "little")

    def _builtin(self, name: str, address: int) -> Any:
        """Make a Python builtin (METH_FASTCALL) of a C function of ours."""
        text = self._data.add(f"name of {name}", 32, name.encode() + b"\0")
        method = self._data.add(
            f"method {name}", 32, Struct("<QQiiQ").pack(text, address, _METH_FASTCALL, 0, 0)
        )
        return new_builtin(method, None)

    def attach(self) -> Claim:
        """Make the calling thread one that may run guest code; return its claim to a record."""
        self.handlers.install()
        return self.threads.attach()

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """Execute ``cpuid`` on the host: eax, ebx, ecx, edx."""
        words = (ctypes.c_uint32 * 4)()
        kind: Any = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)
        kind(self._labels["cpuid"])(leaf, subleaf, ctypes.addressof(words))
        return words[0], words[1], words[2], words[3]

    def extended_state(self) -> int:
        """XCR0: which of the CPU's state the kernel saves."""
        function: Any = ctypes.CFUNCTYPE(ctypes.c_uint64)(self._labels["extended_state"])
        value: int = function()
        return value


@cache
def process() -> Process:
    """The process's share of all native machines. Raises MachineError where the host cannot."""
    return Process()


def _require_host() -> None:
    machine = os.uname().machine if hasattr(os, "uname") else sys.platform
    if sys.platform != "linux" or machine != "x86_64" or sys.maxsize < 1 << 32:
        raise MachineError(
            f"the machine 'native' needs Linux on x86-64, not {sys.platform} on {machine}: "
            "use the machine 'emulated'"
        )
    if sys.implementation.name != "cpython":
        raise MachineError("the machine 'native' needs CPython: use the machine 'emulated'")
