"""Our page table as the CPU sees it: TLB fills, TLB flushes, and stale translated code.

With a virtual TLB Unicorn asks for each page that is not in its TLB, and a refusal is a page
fault, precise to the instruction. Fills stay in the TLB until it is flushed, therefore:

- permissions that are taken away, and only those, need a flush, of pages that were filled;
- bytes that Python changes where code was fetched need the translated blocks thrown away.

Single pages are invalidated by guest code (``invlpg``, 0.1 µs each), which cannot run in the
middle of a callback: pages wait in ``pending`` until the CPU is next started, or until the stub
that made the callback has them in its mailbox (``announce`` decides).

The fill callback is two: a C function (``Struct.pack_into``) takes the four arguments down, and a
generator answers. Python runs signal handlers at a function's entry, outside any ``try`` of that
function, and ctypes swallows what they raise (a KeyboardInterrupt above all); a generator is
resumed inside its ``try``. See also :mod:`theseus_kit.machine.emulated.exits`.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Callable, Generator
from functools import partial
from struct import Struct
from typing import Any

from theseus_kit.machine.accounted_memory import UNMAPPED, hardware_protection
from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated import stubs
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.page_table import IntervalMap

_PAGE = 4096
_READ, _WRITE, _EXECUTE, _ALL = 1, 2, 4, 7
_FETCH = 2

_FIRST_ENTRIES = 256
_MOST_ENTRIES = 8192
_FILLS_PER_ENTRY = 3

_LARGE_TEXT = 16 * _PAGE
_LARGE_TEXTS = 32

PackArguments = ctypes.CFUNCTYPE(
    ctypes.c_bool, ctypes.c_uint8, ctypes.c_uint64, ctypes.c_int, ctypes.c_uint64
)
"""uc_cb_tlbevent_t without its last parameter. The engine's address is of no use: one byte of it
is a small int, which costs no allocation."""
AnswerFill = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_uint8)


def _grants() -> list[int]:
    """For page table value v and access kind k (0 read, 1 write, 2 fetch), at 3 * v + k: the
    permissions of the TLB entry, or 0 to refuse.

    Never write and execute together: such an entry keeps every store on the slow path.
    """
    grants = []
    for value in range(UNMAPPED + 1):
        for needed in (_READ, _WRITE, _EXECUTE):
            granted = value if value & needed else 0
            if granted == _ALL:
                granted = _READ | (_EXECUTE if needed == _EXECUTE else _WRITE)
            grants.append(granted)
    return grants


class Translation:
    """The page table, and what the CPU may still remember of earlier states of it."""

    def __init__(
        self,
        cpu: Cpu,
        host: memoryview,
        fail: Callable[[BaseException], None],
        grow: bool,
    ) -> None:
        self.table = IntervalMap(UNMAPPED)
        self.filled: set[int] = set()
        """Pages that may be in the TLB."""
        self.fetched: set[int] = set()
        """Pages of which translated blocks may exist."""
        self.pending: list[int] = []
        """Pages to invalidate before the CPU is next started."""
        self.fills = 0
        """Fills since the TLB was last emptied: many more than it has entries is too many."""
        self._entries = _FIRST_ENTRIES
        self._growing = grow
        self._fill_limit = _FILLS_PER_ENTRY * self._entries if grow else -1
        self.fault_page = 0
        self.fault_kind = 0
        self.faulted = False
        self._cpu = cpu
        self._host = host.cast("Q")
        self._fail = fail
        self.announce: Callable[[list[int]], None] = self.pending.extend
        self._grants = _grants()
        self._admitting = False
        self._large_texts: dict[int, tuple[int, ctypes.c_size_t]] = {}
        arguments = bytearray(32)
        self._arguments = memoryview(arguments).cast("Q")
        self._answering = self._answer()
        next(self._answering)
        pack: Any = partial(Struct("<QQQQ").pack_into, arguments, 0)
        self._callbacks = (PackArguments(pack), AnswerFill(self._answering.send))
        for callback in self._callbacks:
            cpu.add_hook(uc.HOOK_TLB_FILL, callback)
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
                    if kind == _FETCH:
                        fetched.add(page)
                    entry = arguments[3] >> 3  # struct uc_tlb_entry { uint64 paddr; uc_prot perms }
                    host[entry] = page
                    host[entry + 1] = granted
                    filled.add(page)
                    self.fills += 1
                    if self.fills == self._fill_limit:
                        self._cpu.stop()
                    answer = True
            except GeneratorExit:
                return
            except BaseException as error:  # noqa: BLE001  (whatever it is, it is the caller's)
                self._fail(error)

    def set(self, start: int, end: int, protection: int) -> None:
        """Change the page table, and invalidate what the change makes wrong."""
        value = protection if protection == UNMAPPED else hardware_protection(protection)
        stale = self._takes_away(start, end, value)
        self.table.set(start, end, value)
        if stale:
            self.invalidate(_pages_in(self.filled, start, end))
        if value & _EXECUTE and not value & _WRITE:
            self._spare_scans(start, end)
        elif self._large_texts:
            self._stop_sparing(start, end)

    def _takes_away(self, start: int, end: int, value: int) -> bool:
        removed = ~value & _ALL
        return any(old & removed for _, _, old in self.table.runs(start, end))

    def invalidate(self, pages: list[int]) -> None:
        """Have pages leave the TLB before the guest's next access."""
        if not pages:
            return
        if len(pages) > stubs.FLUSH_LIMIT:
            self.flush()
            return
        self.filled.difference_update(pages)
        self.announce(pages)

    def flush(self) -> None:
        """Empty the TLB. Right at any time, callbacks included."""
        self._cpu.flush_tlb()
        if self._growing and self.fills > self._entries and self._entries < _MOST_ENTRIES:
            self._entries *= 2
        self._fill_limit = -1
        if self._growing and self._entries < _MOST_ENTRIES:
            self._fill_limit = _FILLS_PER_ENTRY * self._entries
        self.filled.clear()
        self.pending.clear()
        self.fills = 0

    def grow_if_it_pays(self) -> None:
        """Make the TLB larger where guest code needs more pages than it holds.

        Unicorn's is direct-mapped, has 256 entries at first, and doubles them in a full flush if
        most are in use (tlb_mmu_resize_locked in QEMU's cputlb.c). That costs a fill of each
        entry at 2 µs, and so is done when several times as many fills show that it is too small.
        """
        if self.fills >= self._fill_limit > 0:
            self.flush()

    def bytes_changed(self, start: int, end: int) -> None:
        """Throw away blocks translated from bytes that Python has just changed."""
        pages = _pages_in(self.fetched, start, end)
        if not pages:
            return
        # Unicorn looks the address up as a fetch first, and does nothing if that is refused.
        self._admitting = True
        try:
            for page in pages:
                self._cpu.forget_code(page, page + _PAGE)
        finally:
            self._admitting = False
        self.fetched.difference_update(pages)
        self.invalidate(pages)

    def _spare_scans(self, start: int, end: int) -> None:
        """Save a scan of the whole TLB for each block translated from a large read-only text.

        Unicorn looks there for entries that let the block's page be written unnoticed, except
        where a memory hook is installed: pages under a hook are never marked as such in the first
        place. This one never fires, its permission being allowed everywhere; it must not cover
        data, which would make every store slow (uc_mem_hook_installed in QEMU's exec-all.h).
        """
        if end - start < _LARGE_TEXT or len(self._large_texts) == _LARGE_TEXTS:
            return
        if start not in self._large_texts:
            stop = self._cpu.library.emu_stop
            hook = self._cpu.add_hook(uc.HOOK_MEM_FETCH_PROT, stop, start, end - 1)
            self._large_texts[start] = (end, hook)

    def _stop_sparing(self, start: int, end: int) -> None:
        overlapping = [
            first for first, (last, _) in self._large_texts.items() if first < end and last > start
        ]
        for first in overlapping:
            self._cpu.remove_hook(self._large_texts.pop(first)[1])


def _pages_in(pages: set[int], start: int, end: int) -> list[int]:
    """The pages of a set that lie in [start, end), looking at the fewer of the two."""
    if (end - start) // _PAGE < len(pages):
        return [page for page in range(start, end, _PAGE) if page in pages]
    return [page for page in pages if start <= page < end]
