"""Section headers of an ELF file that a JIT made, read from its bytes.

An image's own are the framework's business (:meth:`Image.sections`); these files never were
loaded, and lie in guest memory where anything may have happened to them.

Source: System V ABI, chapter 4, "ELF Header" and "Sections".
"""

from __future__ import annotations

from struct import Struct

from theseus_kit.values.record import NamedTuple

MAGIC = b"\x7fELF\x02\x01"
"""An ELF file of 64 bits, little-endian."""

_HEADER = Struct("<16sHHIQQQIHHHHHH")
HEADER_SIZE = _HEADER.size
_SECTION = Struct("<IIQQQQIIQQ")
_MOST_SECTIONS = 1 << 12


class JitSection(NamedTuple):
    """One section, as :class:`theseus_kit_backtrace.symbol_table.SectionHeader` has it."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


class SectionTable(NamedTuple):
    """Where a file's section headers lie."""

    offset: int
    size: int
    names: int


def read_table(header: bytes) -> SectionTable | None:
    """Where an ELF header says that its section headers are; None if it is none."""
    if len(header) < _HEADER.size or not header.startswith(MAGIC):
        return None
    fields = _HEADER.unpack_from(header)
    offset, entry_size, count, names = fields[6], fields[11], fields[12], fields[13]
    if entry_size != _SECTION.size or not 0 < count <= _MOST_SECTIONS or names >= count:
        return None
    return SectionTable(offset, count * entry_size, names)


def read_sections(headers: bytes, names: bytes) -> list[JitSection]:
    """The sections of a table, by its bytes and those of its section of names."""
    sections = []
    for name, kind, flags, address, offset, size, link, *_ in _SECTION.iter_unpack(headers):
        end = names.find(b"\0", name)
        text = names[name : end if end >= 0 else len(names)]
        sections.append(
            JitSection(text.decode("latin-1"), kind, flags, address, offset, size, link)
        )
    return sections


def name_section(headers: bytes, table: SectionTable) -> tuple[int, int]:
    """Offset and size of the section that holds the sections' names."""
    fields = _SECTION.unpack_from(headers, table.names * _SECTION.size)
    return fields[4], fields[5]
