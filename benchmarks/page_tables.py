"""Page tables for a bare x86-64 CPU: what makes Unicorn's own TLB work at its full speed.

Without paging Unicorn takes each page to be readable, writable and executable at once, and never
lets a store to an executable page take the fast path (``notdirty_write`` in its cputlb.c): fib and
the sieve take 2.8 and 2.5 times as long. With paging, and NX on what holds data, stores are fast,
and TLB misses are filled in C. (A virtual TLB whose fill hook grants each page its protection runs
at the same speed, and fills at that of its callback.)

Guest-physical memory is a low copy of the address space, without its gaps, since physical addresses
have fewer bits than the host's::

    virtual    0x1000_0000_2000 … (regions where the host has them)
                  │ page tables
                  ▼
    physical   0x0 … tables | region | region | region …
                  │ mem_map_ptr
                  ▼
    host       where the guest's address says
"""

from __future__ import annotations

import ctypes
import mmap

from theseus_kit.values.memory import PAGE_SIZE, Protection

_PRESENT, _WRITABLE = 1, 2
_ACCESSED_AND_DIRTY = 0x60
_NO_EXECUTE = 1 << 63
_ENTRIES = 512
_LEVEL_SHIFTS = (39, 30, 21)
_PAGE_SHIFT = 12


class PageTables:
    """Four-level page tables (Intel SDM, volume 3, 4.5) in memory of their own."""

    def __init__(self, physical: int, size: int) -> None:
        """``physical`` is where the CPU sees the tables' ``size`` bytes; the root comes first."""
        self.physical = physical
        self.size = size
        self._memory = mmap.mmap(-1, size)
        self.host = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._words = memoryview(self._memory).cast("Q")
        self._used = PAGE_SIZE

    def map(self, virtual: int, physical: int, size: int, protection: Protection) -> None:
        """Map whole pages. Raises MemoryError when there is no room for another table."""
        flags = _PRESENT | _ACCESSED_AND_DIRTY
        if protection & Protection.WRITE:
            flags |= _WRITABLE
        if not protection & Protection.EXECUTE:
            flags |= _NO_EXECUTE
        for offset in range(0, size, PAGE_SIZE):
            self._words[self._position(virtual + offset)] = physical + offset | flags

    def entry(self, virtual: int) -> int:
        """The page table's entry for an address, 0 if nothing is mapped there."""
        return self._words[self._position(virtual)]

    def _position(self, virtual: int) -> int:
        """Where the entry for an address is, in words; tables on the way are made if need be."""
        table = 0
        for shift in _LEVEL_SHIFTS:
            position = table + (virtual >> shift & (_ENTRIES - 1))
            if not self._words[position]:
                if self._used == self.size:
                    raise MemoryError("no room for another page table")
                entry = self.physical + self._used
                self._words[position] = entry | _PRESENT | _WRITABLE | _ACCESSED_AND_DIRTY
                self._used += PAGE_SIZE
            table = ((self._words[position] & -PAGE_SIZE) - self.physical) // 8
        return table + (virtual >> _PAGE_SHIFT & (_ENTRIES - 1))
