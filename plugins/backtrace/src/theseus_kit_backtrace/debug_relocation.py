"""Relocating the DWARF of a file that was never linked, as Wasmtime writes it.

Read straight from the bytes: pyelftools takes 0.2 ms for a relocation, and a module has thousands.

Source: x86-64 psABI, 4.4 "Relocation"; of the types only those that debug sections have.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from theseus_kit_backtrace.elf_sections import JitSection

_RELA = Struct("<QQq")
_SYMBOL = Struct("<IBBHQQ")
_SHT_RELA = 4
_SIZES = {1: 8, 10: 4, 11: 4}
"""R_X86_64_64, _32 and _32S: symbol plus addend, so many bytes."""


def relocated(contents: bytes, sections: Sequence[JitSection]) -> bytes:
    """The file with the relocations of its debug sections applied; the same bytes if it has none.

    Raises struct.error or IndexError for tables that are broken.
    """
    tables = [
        section
        for section in sections
        if section.type == _SHT_RELA and section.name.startswith(".rela.debug_")
    ]
    if not tables:
        return contents
    targets = {section.name: section for section in sections}
    result = bytearray(contents)
    for table in tables:
        target = targets.get(table.name.removeprefix(".rela"))
        if target is None or table.link >= len(sections):
            continue
        symbols = sections[table.link]
        entries = contents[table.offset : table.offset + table.size - table.size % _RELA.size]
        for offset, info, addend in _RELA.iter_unpack(entries):
            size = _SIZES.get(info & 0xFFFFFFFF)
            if size is None or offset + size > target.size:
                continue
            *_, index, value, _ = _SYMBOL.unpack_from(
                contents, symbols.offset + (info >> 32) * _SYMBOL.size
            )
            if 0 < index < len(sections):
                value += sections[index].address
            place = target.offset + offset
            number = value + addend & (1 << 8 * size) - 1
            result[place : place + size] = number.to_bytes(size, "little")
    return bytes(result)
