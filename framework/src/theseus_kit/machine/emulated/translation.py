"""Our page table as the CPU sees it: TLB fills, TLB flushes, and stale translated code.

With a virtual TLB Unicorn asks for each page that is not in its TLB, and a refusal is a page
fault, precise to the instruction. Fills stay in the TLB until it is flushed, therefore:

- permissions that are taken away, and only those, need a flush, of pages that were filled;
- bytes that Python changes where code was fetched need the translated blocks thrown away.

The fill callback is two: a C function (``Struct.pack_into``) takes the four arguments down, and a
generator answers. Python runs signal handlers at a function's entry, outside any ``try`` of that
function, and ctypes swallows what they raise (a KeyboardInterrupt above all); a generator is
resumed inside its ``try``. See also :mod:`theseus_kit.machine.emulated.exits`.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable
from functools import partial
from struct import Struct
from typing import Any

from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.page_table import IntervalMap
from theseus_kit.values.memory import PAGE_SIZE, Protection

UNMAPPED = 8
"""The page table's value for addresses that are not mapped; no bit of a Protection."""

_READ, _WRITE, _EXECUTE = 1, 2, 4
_NEEDED = (_READ, _WRITE, _EXECUTE)

PackArguments = ctypes.CFUNCTYPE(
    ctypes.c_bool, ctypes.c_uint8, ctypes.c_uint64, ctypes.c_int, ctypes.c_uint64
)
"""uc_cb_tlbevent_t without its last parameter. The engine's address is of no use: one byte of it
is a small int, which costs no allocation."""
AnswerFill = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_uint8)


def hardware_protection(protection: int) -> int:
    """What an x86-64 page table can express: what is writable or executable is readable."""
    return protection | _READ if protection else 0


def _grants() -> list[int]:
    """For page table value v and access kind k (0 read, 1 write, 2 fetch), at 3 * v + k: the
    permissions of the TLB entry, or 0 to refuse.

    Never write and execute together: such an entry keeps every store on the slow path.
    """
    grants = []
    for value in range(UNMAPPED + 1):
        for needed in _NEEDED:
            granted = 0
            if value & needed and value != UNMAPPED:
                granted = value
                if value & _WRITE and value & _EXECUTE:
                    granted = _READ | (_EXECUTE if needed == _EXECUTE else _WRITE)
            grants.append(granted)
    return grants


class Translation:
    """The page table, and what the CPU may still remember of earlier states of it."""

    def __init__(self, cpu: Cpu, host: memoryview, fail: Callable[[BaseException], None]) -> None:
        self.table = IntervalMap(UNMAPPED)
        self.filled: set[int] = set()
        """Pages that may be in the TLB: filled since the last full flush."""
        self.fetched: set[int] = set()
        """Pages of which translated blocks may exist."""
        self.fault_page = 0
        self.fault_kind = 0
        self.faulted = False
        self._cpu = cpu
        self._host = host.cast("Q")
        self._fail = fail
        self._grants = _grants()
        self._admitting = False
        arguments = bytearray(32)
        self._arguments = memoryview(arguments).cast("Q")
        self._answering = self._answer()
        next(self._answering)
        pack: Any = partial(Struct("<QQQQ").pack_into, arguments, 0)
        self._callbacks = (PackArguments(pack), AnswerFill(self._answering.send))
        for callback in self._callbacks:
            add_hook(cpu, uc.HOOK_TLB_FILL, callback)
        cpu.library.ctl(
            cpu.handle_argument, ctypes.c_uint(uc.CTL_TLB_TYPE), ctypes.c_int(uc.TLB_VIRTUAL)
        )

    def close(self) -> None:
        self._answering.close()

    def _answer(self) -> Generator[bool, int, None]:
        arguments, host, grants = self._arguments, self._host, self._grants
        starts, values = self.table.starts, self.table.values
        filled, fetched = self.filled, self.fetched
        answer = False
        while True:
            try:
                while True:
                    yield answer
                    answer = False
                    page = arguments[1]
                    kind = arguments[2] - uc.MEM_READ
                    granted = grants[values[bisect_right(starts, page) - 1] * 3 + kind]
                    if not granted:
                        if not self._admitting:
                            self.fault_page = page
                            self.fault_kind = kind
                            self.faulted = True
                            continue
                        granted = _READ | _EXECUTE
                    if kind == 2:
                        fetched.add(page)
                    entry = arguments[3] >> 3
                    host[entry] = page
                    host[entry + 1] = granted
                    filled.add(page)
                    answer = True
            except GeneratorExit:
                return
            except BaseException as error:  # noqa: BLE001  (whatever it is, it is the caller's)
                self._fail(error)

    def set(self, start: int, end: int, protection: int) -> None:
        """Change the page table, and flush what the change makes wrong."""
        value = protection if protection == UNMAPPED else hardware_protection(protection)
        stale = self._filled_in(start, end) if self._takes_away(start, end, value) else ()
        self.table.set(start, end, value)
        if stale:
            self.flush()

    def _takes_away(self, start: int, end: int, value: int) -> bool:
        kept = value & Protection.READ_WRITE_EXECUTE
        return any(old & ~kept & 7 for _, _, old in self.table.runs(start, end))

    def _filled_in(self, start: int, end: int) -> Iterable[int]:
        return _pages_in(self.filled, start, end)

    def flush(self) -> None:
        """Empty the TLB. Right at any time, callbacks included."""
        cpu = self._cpu
        cpu.library.ctl(cpu.handle_argument, ctypes.c_uint(uc.CTL_TLB_FLUSH))
        self.filled.clear()

    def bytes_changed(self, start: int, end: int) -> None:
        """Throw away blocks translated from bytes that Python has just changed."""
        pages = _pages_in(self.fetched, start, end)
        if not pages:
            return
        cpu = self._cpu
        self._admitting = True
        try:
            for page in pages:
                cpu.library.ctl(
                    cpu.handle_argument,
                    ctypes.c_uint(uc.CTL_TB_REMOVE_CACHE),
                    ctypes.c_uint64(page),
                    ctypes.c_uint64(page + PAGE_SIZE),
                )
        finally:
            self._admitting = False
        self.fetched.difference_update(pages)
        self.flush()


def add_hook(cpu: Cpu, kind: int, callback: Any, start: int = 1, end: int = 0, *extra: Any) -> None:
    """Add a hook for the addresses [start, end], for all if start is greater."""
    hook = ctypes.c_size_t()
    cpu.library.hook_add(
        cpu.handle_argument,
        ctypes.byref(hook),
        ctypes.c_int(kind),
        callback,
        None,
        ctypes.c_uint64(start),
        ctypes.c_uint64(end),
        *extra,
    )


def _pages_in(pages: set[int], start: int, end: int) -> list[int]:
    """The pages of a set that lie in [start, end), looking at the fewer of the two."""
    if (end - start) // PAGE_SIZE < len(pages):
        return [page for page in range(start, end, PAGE_SIZE) if page in pages]
    return [page for page in pages if start <= page < end]
