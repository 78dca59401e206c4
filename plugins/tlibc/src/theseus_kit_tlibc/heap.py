"""The heap behind malloc: size classes with free lists, over pages of the memory hooks.

The whole state lives in guest memory, in one control block, so that the Python bodies here and the
machine code of :mod:`.malloc` work on the same lists: the machine code serves what a free list or
the bump region can, everything else falls through to the Python bodies.

Control block, 8-byte words::

    0 … 104     first free chunk of each size class, 0 if there is none (class 0 is not used)
    105         bump: where the next new chunk goes
    106         end of the bump region
    107, 108    addresses of the exported slow paths of malloc and free
    109, 110    … of realloc and calloc

A chunk, always 16-byte aligned::

    low addresses
    ┌───────────────────┬──────────────┬─────────────┬────────────────────────────┐
    │ capacity (8)      │ class (4)    │ tag (4)     │ the caller's bytes         │
    └───────────────────┴──────────────┴─────────────┴────────────────────────────┘
                                                     ^ what malloc returns, 16-byte aligned
    tag IN_USE   from a class; the caller owns it
        FREE     on its class's free list; the first word of its bytes is the next chunk
        LARGE    has pages of its own; the first word is the size of the mapping
        ALIGNED  stands inside another chunk; the first word is that chunk

Size classes: multiples of 16 up to 1024, from there four per doubling up to 1 MiB
(1280, 1536, 1792, 2048, 2560 …). A chunk never moves to another class and never is merged: memory
of a class is reused for that class only, which bounds waste by the peak of each class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from theseus_kit.errors import OutOfMemoryError
from theseus_kit.values.memory import PAGE_SIZE, Protection, page_ceil

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory

HEADER = 16
SMALL_LIMIT = 1024
LARGE_LIMIT = 1 << 20
CLASSES = 105
ARENA_SIZE = 64 << 20
"""Bytes reserved at a time for new chunks; untouched pages cost nothing."""

WORD_BUMP = 105
WORD_END = 106
WORD_SLOW_MALLOC = 107
CONTROL_WORDS = 112

IN_USE = 0xA110CA7E
FREE = 0xF4EEF4EE
LARGE = 0x1A46E001
ALIGNED = 0xA119ED01

_MAXIMUM = (1 << 63) - 1
"""PTRDIFF_MAX: no object may be larger (C17 6.5.6)."""


class HeapError(Exception):
    """The caller broke the heap's rules; C programs are killed for it."""


def size_class(size: int) -> tuple[int, int]:
    """Return (class, capacity) for a request of 1 byte to 1 MiB.

    size_class(17) returns (2, 32); size_class(1025) returns (65, 1280).
    """
    last = size - 1
    if last < SMALL_LIMIT:
        index = (last >> 4) + 1
        return index, index << 4
    exponent = last.bit_length() - 1
    quarter = (last >> (exponent - 2)) & 3
    return 65 + (exponent - 10) * 4 + quarter, (5 + quarter) << (exponent - 2)


class Heap:
    """One platform's heap. Addresses it returns are guest addresses."""

    def __init__(
        self,
        memory: Memory,
        map_pages: Callable[[int, str], int],
        unmap_pages: Callable[[int, int], None],
    ) -> None:
        self._memory = memory
        self._map_pages = map_pages
        self._unmap_pages = unmap_pages
        self.control = map_pages(CONTROL_WORDS * 8, "heap control block")
        self._words = memory.view.cast("Q")
        self._halves = memory.view.cast("I")
        self._heads = self.control >> 3

    def set_slow_paths(self, addresses: Sequence[int]) -> None:
        """Tell the machine code where malloc, free, realloc and calloc go on in Python."""
        for word, address in enumerate(addresses, WORD_SLOW_MALLOC):
            self._words[self._heads + word] = address

    def allocate(self, size: int) -> int:
        """Return the address of at least ``size`` bytes. Raises OutOfMemoryError."""
        size = size or 1
        if size > LARGE_LIMIT:
            return self._allocate_large(size)
        index, capacity = size_class(size)
        words, heads = self._words, self._heads
        chunk = words[heads + index]
        if chunk:
            words[heads + index] = words[chunk >> 3]
            self._halves[(chunk >> 2) - 1] = IN_USE
            return chunk
        bump = words[heads + WORD_BUMP]
        if bump + HEADER + capacity > words[heads + WORD_END]:
            bump = self._map_pages(ARENA_SIZE, "heap")
            words[heads + WORD_END] = bump + ARENA_SIZE
        words[heads + WORD_BUMP] = bump + HEADER + capacity
        words[bump >> 3] = capacity
        words[(bump >> 3) + 1] = IN_USE << 32 | index
        return bump + HEADER

    def _allocate_large(self, size: int) -> int:
        if size > _MAXIMUM:
            raise OutOfMemoryError(f"malloc of {size} bytes")
        mapped = page_ceil(size + HEADER)
        base = self._map_pages(mapped, "heap, large")
        self._words[base >> 3] = mapped
        self._words[(base >> 3) + 1] = LARGE << 32
        return base + HEADER

    def allocate_aligned(self, alignment: int, size: int) -> int:
        """Return bytes at a multiple of ``alignment``, a power of two. Raises OutOfMemoryError."""
        if alignment <= HEADER:
            return self.allocate(size)
        if size > _MAXIMUM - alignment:
            raise OutOfMemoryError(f"aligned_alloc of {size} bytes")
        outer = self.allocate(size + alignment)
        aligned = (outer + alignment - 1) & -alignment
        if aligned != outer:
            self._words[(aligned - HEADER) >> 3] = outer
            self._words[(aligned - 8) >> 3] = ALIGNED << 32
        return aligned

    def free(self, address: int) -> None:
        """Give a chunk back. Raises HeapError for a chunk that is free, or none at all."""
        if address == 0:
            return
        tag, index = self._tag(address, "free")
        words = self._words
        if tag == IN_USE:
            self._halves[(address >> 2) - 1] = FREE
            words[address >> 3] = words[self._heads + index]
            words[self._heads + index] = address
        elif tag == LARGE:
            self._unmap_pages(address - HEADER, words[(address - HEADER) >> 3])
        else:
            outer = words[(address - HEADER) >> 3]
            self._halves[(address >> 2) - 1] = FREE
            self.free(outer)

    def is_fresh(self, address: int) -> bool:
        """Whether a chunk just allocated is of new pages, which read as zero."""
        return self._halves[(address >> 2) - 1] == LARGE

    def usable_size(self, address: int) -> int:
        """How many bytes the caller may use. Raises HeapError."""
        tag, _ = self._tag(address, "malloc_usable_size")
        word = self._words[(address - HEADER) >> 3]
        if tag == LARGE:
            return word - HEADER
        if tag == ALIGNED:
            return word + self.usable_size(word) - address
        return word

    def reallocate(self, address: int, size: int) -> int:
        """Return a chunk of at least ``size`` bytes that starts with the old one's bytes.

        The old chunk is given back unless it is returned. Raises OutOfMemoryError (the old chunk
        stays), HeapError.
        """
        usable = self.usable_size(address)
        if size <= usable and (usable <= LARGE_LIMIT or size > usable // 2):
            return address
        moved = self.allocate(size)
        count = min(size, usable)
        view = self._memory.view
        view[moved : moved + count] = view[address : address + count]
        self.free(address)
        return moved

    def _tag(self, address: int, function: str) -> tuple[int, int]:
        """Read and check a chunk's tag and class."""
        if address & 15 or address < PAGE_SIZE:
            raise HeapError(f"{function}(): invalid pointer {address:#x}")
        self._memory.check(address - HEADER, HEADER, Protection.READ_WRITE)
        index = self._halves[(address >> 2) - 2]
        tag = self._halves[(address >> 2) - 1]
        if tag == FREE:
            raise HeapError(f"{function}(): double free detected of {address:#x}")
        if tag not in (IN_USE, LARGE, ALIGNED) or index >= CLASSES:
            raise HeapError(
                f"{function}(): invalid pointer {address:#x}, or its header was overwritten"
            )
        return tag, index
