"""The symbols of one ELF file, sorted by address: built from .symtab, or .dynsym if it has none.

Read straight from the file's bytes: pyelftools takes 0.65 s for the 28,000 symbols of the Wasmtime
library where a table made here takes a twentieth of that. Addresses are the file's own, without
a load bias. Which file holds an address, and what its names mean, is ``symbolizer.py``'s.

    System V ABI, chapter 4, "Symbol Table": an entry of .symtab, 24 bytes
    ┌─────────┬─────────┬──────────┬─────────┬──────────┬─────────┐
    │ name u32│ info u8 │ other u8 │ shndx   │ value u64│ size u64│
    └─────────┴─────────┴──────────┴─────────┴──────────┴─────────┘
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from mmap import mmap
from operator import add, attrgetter, itemgetter
from typing import Protocol, TypeAlias

from theseus_kit.values.record import NamedTuple

_ENTRY = struct.Struct("<IBBHQQ")
SYMBOL_SIZE = _ENTRY.size
_SHT_SYMTAB, SHT_DYNSYM = 2, 11
SHF_ALLOC = 2
_SHN_UNDEF, _SHN_LORESERVE = 0, 0xFF00
_STT_NOTYPE, _STT_OBJECT, _STT_FUNC, _STT_GNU_IFUNC = 0, 1, 2, 10
_STB_LOCAL, _STB_GLOBAL, _STB_WEAK = 0, 1, 2
_RANKS = {
    binding << 4 | kind: rank
    for rank, (kinds, binding) in enumerate(
        (kinds, binding)
        for kinds in ((_STT_NOTYPE,), (_STT_OBJECT,), (_STT_FUNC, _STT_GNU_IFUNC))
        for binding in (_STB_LOCAL, _STB_WEAK, _STB_GLOBAL)
    )
    for kind in kinds
}
"""By a symbol's info byte: of several symbols at one address the highest rank names it, by type
first and by binding then. Others, such as thread-local ones, name no address."""

_BINDINGS = 3
_LAST_ADDRESS = (1 << 64) - 1


class SectionHeader(Protocol):
    """What is read of an image's section headers."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def link(self) -> int: ...


class FoundSymbol(NamedTuple):
    """A symbol or, with an empty name, the section that holds an address."""

    address: int
    size: int
    name: str
    section: str | None


_Row: TypeAlias = tuple[int, int, int, int]
"""A symbol on its way into the table: address, rank, size, offset of its name. A plain tuple: a
named one costs the Wasmtime library 30 ms."""


class ElfSymbols:
    """Look-ups by address and by name in one ELF file's symbols.

    ``sections`` are its headers, whose offsets lie inside ``contents``; a file without any has no
    symbols.
    """

    def __init__(self, contents: bytes | mmap, sections: Sequence[SectionHeader]) -> None:
        self._contents = contents
        self._loaded = sorted(
            (section for section in sections if section.flags & SHF_ALLOC and section.size),
            key=attrgetter("address"),
        )
        table = _symbol_section(sections)
        rows: list[_Row] = []
        self._strings = self._strings_end = 0
        if table is not None:
            strings = sections[table.link]
            self._strings = strings.offset
            self._strings_end = strings.offset + strings.size
            rows = self._read_rows(table)
        self._starts = array("Q", [row[0] for row in rows])
        self._ranks = bytes(row[1] for row in rows)
        self._sizes = array("Q", [row[2] for row in rows])
        self._names = array("I", [row[3] for row in rows])
        self._reach = array("Q")
        """For each row the highest end of all rows up to it: where to stop looking backwards."""
        self._reach.extend(accumulate(map(add, self._starts, self._sizes), max))
        self._by_name: dict[int, int] | None = None

    def __len__(self) -> int:
        return len(self._starts)

    def at(self, address: int) -> FoundSymbol | None:
        """The innermost symbol that holds an address; else its section; None outside of all."""
        section = self._section_at(address)
        if section is None:
            return None
        index = bisect_right(self._starts, address) - 1
        while index >= 0 and self._reach[index] > address:
            if address < self._starts[index] + self._sizes[index]:
                return self._found(index, section)
            index -= 1
        return FoundSymbol(section.address, section.size, "", section.name)

    def named(self, name: str) -> FoundSymbol | None:
        """The symbol of a name as the table spells it, a global one first; None if unknown."""
        if self._by_name is None:
            best_last = sorted(range(len(self)), key=lambda index: self._ranks[index] % _BINDINGS)
            self._by_name = {self._names[index]: index for index in best_last}
        wanted = name.encode("utf-8", "surrogateescape") + b"\0"
        # Linkers let a name share the tail of a longer one, so it may start inside another.
        position = self._contents.find(wanted, self._strings, self._strings_end)
        while position >= 0:
            index = self._by_name.get(position - self._strings)
            if index is not None:
                return self._found(index, self._section_at(self._starts[index]))
            position = self._contents.find(wanted, position + 1, self._strings_end)
        return None

    def _found(self, index: int, section: SectionHeader | None) -> FoundSymbol:
        start = self._strings + self._names[index]
        end = self._contents.find(b"\0", start, self._strings_end)
        name = self._contents[start : end if end >= 0 else self._strings_end]
        return FoundSymbol(
            self._starts[index],
            self._sizes[index],
            name.decode("utf-8", "surrogateescape"),
            None if section is None else section.name,
        )

    def _read_rows(self, table: SectionHeader) -> list[_Row]:
        """The defined symbols that name addresses, in order, those without a size given one."""
        end = table.offset + table.size - table.size % _ENTRY.size
        last_name = self._strings_end - self._strings
        with memoryview(self._contents) as view:
            rows = [
                (value, _RANKS[info], size, name)
                for name, info, _, section, value, size in _ENTRY.iter_unpack(
                    view[table.offset : end]
                )
                if info in _RANKS
                and _SHN_UNDEF < section < _SHN_LORESERVE
                and 0 < name < last_name
                and value + size <= _LAST_ADDRESS
            ]
        rows.sort()
        self._size_the_sizeless(rows)
        return rows

    def _size_the_sizeless(self, rows: list[_Row]) -> None:
        """Let a symbol without a size, as assembly has them, reach to the next one.

        At most to its section's end, so that the last one holds no gap; and a label inside a
        symbol that has a size holds nothing: the function around it is the better name.
        """
        reach = 0
        for index, (address, rank, size, name) in enumerate(rows):
            if size == 0 and address >= reach:
                section = self._section_at(address)
                end = section.address + section.size if section is not None else address
                after = bisect_right(rows, address, index, key=itemgetter(0))
                if after < len(rows):
                    end = min(end, rows[after][0])
                size = max(0, end - address)
                rows[index] = (address, rank, size, name)
            if address + size > reach:
                reach = address + size

    def _section_at(self, address: int) -> SectionHeader | None:
        index = bisect_right(self._loaded, address, key=attrgetter("address")) - 1
        if index < 0:
            return None
        section = self._loaded[index]
        return section if address < section.address + section.size else None


def _symbol_section(sections: Sequence[SectionHeader]) -> SectionHeader | None:
    """.symtab where the file was not stripped of it, else .dynsym."""
    for wanted in (_SHT_SYMTAB, SHT_DYNSYM):
        for section in sections:
            if section.type == wanted and section.link < len(sections):
                return section
    return None
