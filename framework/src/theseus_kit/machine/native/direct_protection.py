"""Guest code changes protections by itself: which system calls do, and where they may.

A ``syscall`` instruction costs a signal; the change of protection it asks for costs a tenth of
that. So the instruction before it that loads the call's number is replaced by a jump to a
trampoline, which makes the host's call at once where that is all there is to do
(:mod:`.code.protecting`) and otherwise goes on at the ``syscall``::

    image                          trampoline (the machine's own code)
      mov eax, 10    ← jump ──────→  mov eax, 10
      mov edx, 3                     mov edx, 3                    what the image has there
      syscall        ← or here ────  r11, rcx; to protect_directly
      …              ← done here ──

Nothing else of the image changes: whoever jumps at the ``mov edx`` or the ``syscall`` finds it
there. Which instruction it is is found when it runs: Python serves a system call, so its address
is known, and what leads to it is read backwards, a few loads of registers; where there is anything
else, every call comes to Python as before.

What was changed stands in a journal that this memory's account and the memory mapping's provider
read before they answer anything: :meth:`DirectProtection.collect`.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from theseus_kit.machine.accounted_memory import UNMAPPED
from theseus_kit.machine.native import layout, system
from theseus_kit.machine.native.context import Context
from theseus_kit.machine.native.own_code import OwnCode
from theseus_kit.machine.page_table import IntervalMap
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import PAGE_SIZE, Protection

_COUNT: Final = layout.JOURNAL_COUNT // 8
_AREA_COUNT: Final = layout.JOURNAL_AREA_COUNT // 8
_AREAS: Final = layout.JOURNAL_AREAS // 8
_ENTRIES: Final = layout.JOURNAL_ENTRIES // 8

_RIP: Final = 8 * Registers.NAMES.index("rip")
_WORD: Final = Struct("<Q")
_LOAD_SIZE: Final = 5
_FARTHEST: Final = 48
"""How far before its ``syscall`` a number is looked for."""
_SITE_LIMIT: Final = 256
_NEAR: Final = 1 << 31
_JUMP = Struct("<Bi")
_ON: Final = Struct("<2sQ3si2siBiBiQ")

_PROTECTIONS = tuple(Protection(value) for value in range(8))


def system_call_start(code: bytes, number: int) -> int | None:
    """Where in the bytes before a ``syscall`` its number is loaded into eax, if it is in this way.

    ``mov eax, number`` (b8 imm32) must be followed up to the end of ``code`` by loads of constants
    and registers alone: they mean the same wherever they are. None where there is anything else.
    """
    load = b"\xb8" + number.to_bytes(4, "little")
    start = code.rfind(load)
    # With a prefix before it, b8 is the load of another register or of a longer constant.
    if start < 1 or 0x40 <= code[start - 1] <= 0x4F or code[start - 1] == 0x66:
        return None
    position = start + _LOAD_SIZE
    while position < len(code):
        size = _size_of_load(code[position : position + 8])
        if size == 0:
            return None
        position += size
    return start if position == len(code) else None


def _size_of_load(code: bytes) -> int:
    """Bytes of one of the instructions that compilers load arguments with, 0 for any other one."""
    prefix = 1 if 0x40 <= code[0] <= 0x4F else 0
    if len(code) < prefix + 2:
        return 0
    operation, operands = code[prefix], code[prefix + 1]
    wide = prefix and code[0] & 8
    if 0xB8 <= operation <= 0xBF and not wide:  # mov r32, imm32
        return prefix + 5
    if operation in (0x31, 0x33, 0x89, 0x8B) and operands >= 0xC0:  # xor, mov between registers
        return prefix + 2
    if operation == 0xC7 and 0xC0 <= operands <= 0xC7:  # mov r/m, imm32
        return prefix + 6
    return 0


def trampoline(loads: bytes, at: int, site: int, journal: int, protect: int) -> bytes:
    """What stands for the instructions up to the ``syscall`` at ``site``, placed ``at``.

    ::

        loads
        49 bb imm64          movabs r11, journal
        48 8d 0d 06000000    lea rcx, [rip + 6]
        ff 25 0a000000       jmp qword ptr [rip + 10]
        e9 rel32             jmp site + 2               ; rcx: done
        e9 rel32             jmp site                   ; rcx + 5: Python's turn
        protect
    """
    jumps = at + len(loads) + 23
    return loads + _ON.pack(
        *(b"\x49\xbb", journal, b"\x48\x8d\x0d", 6, b"\xff\x25", 10),
        *(0xE9, site + 2 - (jumps + 5), 0xE9, site - (jumps + 10), protect),
    )


class DirectProtection:
    """See :class:`theseus_kit.machine.protocol.DirectProtection`."""

    def __init__(
        self,
        view: memoryview,
        table: IntervalMap,
        context: Context,
        code: OwnCode,
        patch: Callable[[int, bytes], None],
        protect: int,
    ) -> None:
        self._journal = system.allocate(PAGE_SIZE)
        self._words = view[self._journal : self._journal + PAGE_SIZE].cast("Q")
        self._words[layout.JOURNAL_CONTEXT // 8] = context.address
        self._context = context
        self._view = view
        self._table = table
        self._code = code
        self._patch = patch
        self._protect = protect
        self._changed: Callable[[int, int, Protection], None] = _nobody_told
        self._areas: dict[int, int] = {}
        """Where the area is that starts at an address, in words."""
        self._free = [_AREAS + 2 * index for index in reversed(range(layout.JOURNAL_AREA_LIMIT))]
        self._seen: set[int] = set()
        """Instructions that were bound, or cannot be."""

    def tell(self, changed: Callable[[int, int, Protection], None]) -> None:
        self._changed = changed

    def collect(self) -> None:
        words = self._words
        count = words[_COUNT]
        if not count:
            return
        words[_COUNT] = 0
        for entry in range(_ENTRIES, _ENTRIES + 3 * count, 3):
            start, end, protection = words[entry], words[entry + 1], words[entry + 2]
            self._table.set(start, end, protection)
            self._changed(start, end, _PROTECTIONS[protection])

    def allow(self, start: int, end: int) -> None:
        words, areas = self._words, self._areas
        place = areas.get(start)
        if place is None:
            self.deny(start, end)
            if not self._free:
                oldest = next(iter(areas))
                self._remove(oldest)
            place = self._free.pop()
            areas[start] = place
            words[place] = start
            words[_AREA_COUNT] = max(words[_AREA_COUNT], (place - _AREAS) // 2 + 1)
        words[place + 1] = end

    def deny(self, start: int, end: int) -> None:
        words, areas = self._words, self._areas
        place = areas.get(start)
        if place is not None and words[place + 1] == end:
            self._remove(start)
            return
        for first in [
            first for first, at in areas.items() if first < end and start < words[at + 1]
        ]:
            self._remove(first)

    def _remove(self, start: int) -> None:
        place = self._areas.pop(start)
        self._words[place] = self._words[place + 1] = 0
        self._free.append(place)

    def bind_caller(self, number: int) -> None:
        site = self._served_instruction()
        if not site or site in self._seen or len(self._seen) >= _SITE_LIMIT:
            return
        self._seen.add(site)
        if self._table.get(site) == UNMAPPED:  # placed code is the machine's own
            return
        first = max(site - _FARTHEST, site & -PAGE_SIZE)
        before = bytes(self._view[first:site])
        start = system_call_start(before, number)
        if start is None:
            return
        loads = before[start:]
        at = self._code.next_address
        if abs(site - at) > _NEAR - PAGE_SIZE:
            return
        code = trampoline(loads, at, site, self._journal, self._protect)
        self._code.place(code, f"protection at {site:#x}")
        load = first + start
        self._patch(load, _JUMP.pack(0xE9, at - (load + _LOAD_SIZE)))

    def _served_instruction(self) -> int:
        """The address of the ``syscall`` that is being served, 0 if none is."""
        frame = self._context.frame
        if not frame or self._word(frame + layout.FRAME_KIND) != layout.KIND_SYSTEM_CALL:
            return 0
        return self._word(frame + _RIP)

    def _word(self, address: int) -> int:
        value: int = _WORD.unpack_from(self._view, address)[0]
        return value

    def close(self) -> None:
        """Give the journal back. No guest code may run any more."""
        self._words.release()
        system.release(self._journal, PAGE_SIZE)


def _nobody_told(start: int, end: int, protection: Protection) -> None:
    """Areas are allowed by who is told."""
