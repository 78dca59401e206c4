"""Guest code maps and protects memory by itself: which system calls do, and where they may.

A ``syscall`` instruction costs a signal and a way through Python; what it asks of the host costs a
tenth of that. So one of the instructions before it that load its arguments is replaced by a jump
to a trampoline, which makes the host's call at once where that is all there is to do
(:mod:`.code.mapping`) and otherwise goes on at the ``syscall``::

    image                          trampoline (the machine's own code)
      mov eax, 10    ← jump ──────→  mov eax, 10
      mov edx, 3                     mov edx, 3                    what the image has there
      syscall        ← or here ────  r11, rcx; to protect_directly
      …              ← done here ──

Nothing else of the image changes: whoever jumps at the ``mov edx`` or the ``syscall`` finds it
there. Which instruction it is, is found when it has run: Python serves its system call, so the
``syscall``'s address is known and the registers hold what was loaded (:mod:`.argument_loads`).

What was done stands in a journal that this memory's account and the provider of memory mapping
read before they answer anything: :meth:`DirectMapping.collect`.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from theseus_kit.machine.accounted_memory import UNMAPPED
from theseus_kit.machine.direct import DirectChanges, DirectWork
from theseus_kit.machine.native import layout, system
from theseus_kit.machine.native.argument_loads import find_load
from theseus_kit.machine.native.context import Context
from theseus_kit.machine.native.own_code import OwnCode
from theseus_kit.machine.page_table import IntervalMap
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import PAGE_SIZE, Protection
from theseus_kit.values.record import NamedTuple

_COUNT: Final = layout.JOURNAL_COUNT // 8
_AREA_COUNT: Final = layout.JOURNAL_AREA_COUNT // 8
_AREAS: Final = layout.JOURNAL_AREAS // 8
_AREA_SIZE: Final = layout.JOURNAL_AREA_SIZE // 8
_ENTRIES: Final = layout.JOURNAL_ENTRIES // 8

_WORD: Final = Struct("<Q")
_BEFORE: Final = 48
"""How far before its ``syscall`` the loads of its arguments are looked for."""
_SITE_LIMIT: Final = 256
_NEAR: Final = (1 << 31) - PAGE_SIZE
_JUMP: Final = Struct("<Bi")
_ON: Final = Struct("<2sQ3si2siBiBiQ")

_PROTECTIONS = tuple(Protection(value) for value in range(8))


def trampoline(loads: bytes, at: int, site: int, journal: int, entry: int) -> bytes:
    """What stands for the instructions up to the ``syscall`` at ``site``, placed ``at``.

    ::

        loads
        49 bb imm64          movabs r11, journal
        48 8d 0d 06000000    lea rcx, [rip + 6]
        ff 25 0a000000       jmp qword ptr [rip + 10]
        e9 rel32             jmp site + 2               ; rcx: done
        e9 rel32             jmp site                   ; rcx + 5: Python's turn
        entry
    """
    jumps = at + len(loads) + 23
    return loads + _ON.pack(
        *(b"\x49\xbb", journal, b"\x48\x8d\x0d", 6, b"\xff\x25", 10),
        *(0xE9, site + 2 - (jumps + 5), 0xE9, site - (jumps + 10), entry),
    )


class _Area(NamedTuple):
    place: int
    """Of its four words in the journal."""
    end: int
    label: str | None
    """What it is called when it is mapped again; None if it is not lent."""


class DirectMapping:
    """See :class:`theseus_kit.machine.direct.DirectMapping`."""

    def __init__(
        self,
        view: memoryview,
        table: IntervalMap,
        context: Context,
        code: OwnCode,
        patch: Callable[[int, bytes], None],
        entries: tuple[int, ...],
    ) -> None:
        self._journal = system.allocate(PAGE_SIZE)
        self._words = view[self._journal : self._journal + PAGE_SIZE].cast("Q")
        self._words[layout.JOURNAL_CONTEXT // 8] = context.address
        self._context = context
        self._view = view
        self._table = table
        self._code = code
        self._patch = patch
        self._entries = entries
        self._account: DirectChanges | None = None
        self._areas: dict[int, _Area] = {}
        """By their start; mapped or, if they are lent, unmapped just now."""
        self._free = [
            _AREAS + _AREA_SIZE * index for index in reversed(range(layout.JOURNAL_AREA_LIMIT))
        ]
        self._seen: set[int] = set()
        """Instructions that were bound, or cannot be."""

    def tell(self, account: DirectChanges) -> None:
        self._account = account

    def collect(self) -> None:
        words = self._words
        count = words[_COUNT]
        if not count:
            return
        words[_COUNT] = 0
        account = self._account
        assert account is not None, "areas are allowed by who is told"
        for entry in range(_ENTRIES, _ENTRIES + 3 * count, 3):
            start, end, kind = words[entry], words[entry + 1], words[entry + 2]
            if kind == layout.KIND_UNMAPPED:
                self._table.set(start, end, UNMAPPED)
                account.unmapped_directly(start, end)
            elif kind < layout.KIND_UNMAPPED:
                self._table.set(start, end, kind)
                account.protected_directly(start, end, _PROTECTIONS[kind])
            else:
                protection = kind - layout.KIND_MAPPED
                self._table.set(start, end, protection)
                label = self._areas[start].label or ""
                account.mapped_directly(start, end, _PROTECTIONS[protection], label)

    def allow(self, start: int, end: int) -> None:
        area = self._areas.get(start)
        if area is None or area.end != end:
            self._add(start, end, None)

    def lend(self, start: int, end: int, label: str) -> None:
        place = self._add(start, end, label)
        self._words[place + 2] = start
        self._words[place + 3] = end - start

    def _add(self, start: int, end: int, label: str | None) -> int:
        self.deny(start, end)
        words, areas = self._words, self._areas
        if not self._free:
            self._remove(next(iter(areas)))
        place = self._free.pop()
        areas[start] = _Area(place, end, label)
        words[place] = start
        words[place + 1] = end
        words[_AREA_COUNT] = max(words[_AREA_COUNT], (place - _AREAS) // _AREA_SIZE + 1)
        return place

    def deny(self, start: int, end: int) -> None:
        self.collect()
        area = self._areas.get(start)
        if area is not None and area.end == end:
            self._remove(start)
            return
        areas = self._areas.items()
        for first in [first for first, area in areas if first < end and start < area.end]:
            self._remove(first)

    def _remove(self, start: int) -> None:
        place = self._areas.pop(start).place
        for word in range(place, place + _AREA_SIZE):
            self._words[word] = 0
        self._free.append(place)

    def bind_caller(self, number: int, work: DirectWork) -> None:
        site = self._served_instruction()
        if not site or site in self._seen or len(self._seen) >= _SITE_LIMIT:
            return
        self._seen.add(site)
        if self._table.get(site) == UNMAPPED:  # placed code is the machine's own
            return
        first = max(site - _BEFORE, site & -PAGE_SIZE)
        before = bytes(self._view[first:site])
        frame = self._context.frame
        registers = Registers.from_buffer_copy(self._view[frame : frame + layout.FRAME_KIND])
        load = find_load(before, registers)
        at = self._code.next_address
        if load is None or abs(site - at) > _NEAR:
            return
        code = trampoline(before[load.start :], at, site, self._journal, self._entries[work.value])
        self._code.place(code, f"system call {number} at {site:#x}")
        start = first + load.start
        jump = _JUMP.pack(0xE9, at - (start + _JUMP.size))
        self._patch(start, jump.ljust(load.size, b"\x90"))

    def _served_instruction(self) -> int:
        """The address of the ``syscall`` that is being served, 0 if none is."""
        frame = self._context.frame
        if not frame or self._word(frame + layout.FRAME_KIND) != layout.KIND_SYSTEM_CALL:
            return 0
        return self._word(frame + 8 * Registers.NAMES.index("rip"))

    def _word(self, address: int) -> int:
        value: int = _WORD.unpack_from(self._view, address)[0]
        return value

    def close(self) -> None:
        """Give the journal back. No guest code may run any more."""
        self._words.release()
        system.release(self._journal, PAGE_SIZE)
