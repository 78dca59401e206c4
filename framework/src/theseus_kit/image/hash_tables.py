"""The two hash tables by which names are found in a dynamic symbol table.

DT_GNU_HASH holds the exported symbols only, behind a Bloom filter; DT_HASH, the older one, holds
all. Both also bound the symbol table, whose length no tag tells and whose section header may have
been stripped. A chain that leaves its segment or never ends is an ImageError.

DT_GNU_HASH::

    ┌──────────┬───────────┬────────────┬─────────────┐
    │ nbuckets │ symoffset │ bloom_size │ bloom_shift │   4 x u32
    ├──────────┴───────────┴────────────┴─────────────┤
    │ bloom filter                                    │   bloom_size x u64
    ├─────────────────────────────────────────────────┤
    │ buckets: the first symbol of each, or 0         │   nbuckets x u32
    ├─────────────────────────────────────────────────┤
    │ chain: for each symbol from symoffset on its    │   u32, as long as the symbols
    │ hash; bit 0 marks the last one of a bucket      │
    └─────────────────────────────────────────────────┘

Source: System V ABI, "Hash Table"; binutils' and glibc's implementations for the GNU one.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from
from typing import Protocol

from theseus_kit.image.segment_reader import SegmentReader


class HashTable(Protocol):
    """What a symbol table asks of either table."""

    symbol_count: int
    """Symbols that the table knows of; there may be more undefined ones before them."""

    def candidates(self, name: bytes) -> Iterator[int]:
        """The indices of the symbols that may have a name: at least all that do."""
        ...


def gnu_hash(name: bytes) -> int:
    """Hash a name as DT_GNU_HASH does: gnu_hash(b"printf") returns 0x156b2bb8."""
    value = 5381
    for byte in name:
        value = value * 33 + byte & 0xFFFFFFFF
    return value


def system_v_hash(name: bytes) -> int:
    """Hash a name as DT_HASH does: system_v_hash(b"printf") returns 0x77905a6."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        value = (value ^ (value >> 24 & 0xF0)) & 0x0FFFFFFF
    return value


class GnuHashTable:
    """DT_GNU_HASH."""

    def __init__(self, reader: SegmentReader, address: int) -> None:
        self._reader = reader
        table = reader.window_to_end(address, "its GNU hash table")
        if len(table) < 16:
            reader.fail("its GNU hash table is cut off")
        header: tuple[int, int, int, int] = unpack_from("<4I", table)
        buckets, self._first_symbol, bloom_size, self._bloom_shift = header
        chain_start = 16 + bloom_size * 8 + buckets * 4
        if buckets == 0 or bloom_size == 0 or bloom_size & (bloom_size - 1):
            reader.fail(f"its GNU hash table has {buckets} buckets and {bloom_size} filter words")
        if self._bloom_shift > 31 or chain_start > len(table):
            reader.fail("its GNU hash table is damaged")
        self._bloom = table[16 : 16 + bloom_size * 8].cast("Q")
        self._buckets = table[16 + bloom_size * 8 : chain_start].cast("I")
        self._chain = table[chain_start : chain_start + (len(table) - chain_start & -4)].cast("I")
        self.symbol_count = self._count()

    def candidates(self, name: bytes) -> Iterator[int]:
        value = gnu_hash(name)
        word = self._bloom[value // 64 % len(self._bloom)]
        if not (word >> value % 64) & (word >> (value >> self._bloom_shift) % 64) & 1:
            return
        index = self._buckets[value % len(self._buckets)]
        if index == 0:
            return
        while True:
            hashed = self._link(index)
            if hashed | 1 == value | 1:
                yield index
            if hashed & 1:
                return
            index += 1

    def _link(self, index: int) -> int:
        position = index - self._first_symbol
        if not 0 <= position < len(self._chain):
            self._reader.fail(f"a chain of its GNU hash table leads outside it, to symbol {index}")
        hashed: int = self._chain[position]
        return hashed

    def _count(self) -> int:
        last: int = max(self._buckets)
        if last == 0:
            return self._first_symbol
        while not self._link(last) & 1:
            last += 1
        return last + 1


class SystemVHashTable:
    """DT_HASH."""

    def __init__(self, reader: SegmentReader, address: int) -> None:
        self._reader = reader
        table = reader.window_to_end(address, "its hash table")
        if len(table) < 8:
            reader.fail("its hash table is cut off")
        buckets, self.symbol_count = unpack_from("<2I", table)
        end = 8 + (buckets + self.symbol_count) * 4
        if buckets == 0 or end > len(table):
            reader.fail(
                f"its hash table of {buckets} buckets, {self.symbol_count} symbols is damaged"
            )
        self._buckets = table[8 : 8 + buckets * 4].cast("I")
        self._chain = table[8 + buckets * 4 : end].cast("I")

    def candidates(self, name: bytes) -> Iterator[int]:
        index = self._buckets[system_v_hash(name) % len(self._buckets)]
        for _ in range(self.symbol_count + 1):
            if index == 0:
                return
            if index >= self.symbol_count:
                self._reader.fail(f"a chain of its hash table leads outside it, to symbol {index}")
            yield index
            index = self._chain[index]
        self._reader.fail("a chain of its hash table never ends")
