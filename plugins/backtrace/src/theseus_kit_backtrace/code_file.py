"""The ELF file of run-time code, with its symbols and source positions by address."""

from __future__ import annotations

from collections.abc import Sequence
from struct import error

from theseus_kit.values.memory import AddressRange
from theseus_kit.values.symbols import Symbol
from theseus_kit_backtrace.debug_relocation import relocated
from theseus_kit_backtrace.elf_sections import (
    HEADER_SIZE,
    JitSection,
    name_section,
    read_sections,
    read_table,
)
from theseus_kit_backtrace.names import demangled
from theseus_kit_backtrace.source_positions import SourcePosition, SourcePositions
from theseus_kit_backtrace.symbol_table import SHF_ALLOC, ElfSymbols

_TEXT = ".text"


class CodeFile:
    """One file whose text runs at ``text``, wherever the file itself thinks it is."""

    def __init__(
        self,
        contents: bytes,
        text: AddressRange,
        sections: Sequence[JitSection],
        has_positions: bool = True,
    ) -> None:
        found = next((section for section in sections if section.name == _TEXT), None)
        self._bias = text.start - (found.address if found is not None else 0)
        # Only the text is asked about; other sections of such files lie at the same addresses.
        self._symbols = ElfSymbols(
            contents,
            [s if s is found else s._replace(flags=s.flags & ~SHF_ALLOC) for s in sections],
        )
        named = [section.name for section in sections] if has_positions else []
        self._positions = SourcePositions(contents, named)

    @classmethod
    def read(cls, contents: bytes, text: AddressRange, has_positions: bool = True) -> CodeFile:
        """Read a file, with its debug information or without; one that is none has no symbols."""
        try:
            table = read_table(contents[:HEADER_SIZE])
            if table is not None:
                headers = contents[table.offset : table.offset + table.size]
                offset, size = name_section(headers, table)
                sections = read_sections(headers, contents[offset : offset + size])
                if all(s.offset + s.size <= len(contents) for s in sections if s.type != _NOBITS):
                    whole = relocated(contents, sections) if has_positions else contents
                    return cls(whole, text, sections, has_positions)
        except (error, IndexError):
            pass
        return cls(contents, text, ())

    def symbolicate(self, address: int, label: str | None) -> Sequence[Symbol]:
        """The symbols that hold an address of the text, innermost inlined function first."""
        found = self._symbols.at(address - self._bias)
        if found is None:
            return ()
        start = self._bias + found.address
        name = found.name or None
        symbol = Symbol(
            start, address - start, found.size, name, demangled(name), label, found.section
        )
        return with_positions(symbol, self._positions.at(address - self._bias), self._bias)


_NOBITS = 8


def with_positions(
    symbol: Symbol, positions: Sequence[SourcePosition], bias: int
) -> tuple[Symbol, ...]:
    """A symbol with what DWARF says of its address: a position, and the functions inlined there.

    ``symbol`` is the function that has code of its own; the inlined ones come before it.
    """
    if not positions:
        return (symbol,)
    *inlined, outer = positions
    address = symbol.address + symbol.offset
    symbols = []
    for position in inlined:
        start = address if position.start is None else bias + position.start
        symbols.append(
            symbol._replace(
                address=start,
                offset=address - start,
                size=None,
                name=position.name,
                demangled=demangled(position.name),
                file=position.file,
                line=position.line,
                column=position.column,
            )
        )
    name = symbol.name
    if name is None or outer.is_better_name(name):
        symbol = symbol._replace(name=outer.name or name, demangled=demangled(outer.name or name))
    symbols.append(symbol._replace(file=outer.file, line=outer.line, column=outer.column))
    return tuple(symbols)
