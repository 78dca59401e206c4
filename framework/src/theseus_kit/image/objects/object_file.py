"""A relocatable object as a compiler wrote it, checked: nothing behind this meets a wrong offset.

Source: System V ABI, chapter 4 (sections, symbols, relocations, section groups); the x86-64 psABI.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from struct import Struct, iter_unpack, unpack_from
from typing import NoReturn

from theseus_kit.errors import ImageError
from theseus_kit.image.elf_header import (
    ET_NAMES,
    ET_REL,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_TLS,
    SHF_WRITE,
    SHT_GROUP,
    SHT_NOBITS,
    SHT_RELA,
    SHT_SYMTAB,
    SHT_SYMTAB_SHNDX,
    Section,
    read_header,
    read_sections,
)
from theseus_kit.image.objects.relocation_types import type_name
from theseus_kit.image.symbols import STT_TLS
from theseus_kit.values.record import NamedTuple

_SYMBOL = Struct("<IBBHQQ")
_RELA_SIZE = 24
_SHT_REL = 9
_SHN_LORESERVE, SHN_ABS, SHN_COMMON, _SHN_XINDEX = 0xFF00, 0xFFF1, 0xFFF2, 0xFFFF
_GRP_COMDAT = 1
_SHF_COMPRESSED, _SHF_EXCLUDE = 0x800, 0x80000000
_ELFCOMPRESS_ZLIB = 1
_COMPRESSION_HEADER = Struct("<IIQQ")
_LARGEST = 1 << 30
"""Bytes of one section, and of one object: what signed 32-bit displacements reach across."""


class ObjectSymbol(NamedTuple):
    """A symbol; ``section`` is the number of the section that defines it, 0 for none."""

    number: int
    name: str
    type: int
    binding: int
    visibility: int
    section: int
    value: int
    size: int
    is_absolute: bool = False
    is_common: bool = False
    """``value`` is its alignment, and it has no place yet."""


class ObjectRelocation(NamedTuple):
    """A relocation of one section: at an offset in it, against a symbol by number."""

    offset: int
    type: int
    symbol: int
    addend: int


class Group(NamedTuple):
    """A COMDAT group: of several with one signature only the first is kept."""

    signature: str
    members: tuple[InputSection, ...]


class InputSection:
    """A section of an object, and what became of it."""

    __slots__ = (
        *("address", "data", "file", "header", "is_discarded", "number", "output"),
        "relocations",
    )

    def __init__(self, file: ObjectFile, number: int, header: Section) -> None:
        self.file = file
        self.number = number
        self.header = header
        self.data: bytes | bytearray | None = None
        """Its contents where they are not the file's: of sections that the linker makes."""
        self.relocations: list[ObjectRelocation] = []
        self.is_discarded = False
        self.address = 0
        """In the image being linked; of a section that is not loaded, where it starts there."""
        self.output = 0
        """Its section number in the image being linked."""

    @property
    def name(self) -> str:
        return self.header.name

    @property
    def size(self) -> int:
        return self.header.size

    @property
    def alignment(self) -> int:
        return max(1, self.header.alignment)

    @property
    def is_loaded(self) -> bool:
        return bool(self.header.flags & SHF_ALLOC) and not self.is_discarded

    @property
    def is_code(self) -> bool:
        return bool(self.header.flags & SHF_EXECINSTR)

    @property
    def is_writable(self) -> bool:
        return bool(self.header.flags & SHF_WRITE)

    @property
    def is_thread_local(self) -> bool:
        return bool(self.header.flags & SHF_TLS)

    @property
    def is_zero(self) -> bool:
        """It takes memory but no bytes of the file (.bss, .tbss)."""
        return self.header.type == SHT_NOBITS

    def contents(self) -> bytes:
        """Its contents, decompressed."""
        if self.data is not None:
            return bytes(self.data)
        if self.is_zero:
            return bytes(self.size)
        start = self.header.offset
        data = self.file.contents[start : start + self.size]
        return self._decompress(data) if self.header.flags & _SHF_COMPRESSED else data

    def fail(self, problem: str, relocation: ObjectRelocation | None = None) -> NoReturn:
        """Raise an ImageError that names file, section and, of a relocation, type and symbol."""
        where = f"{self.file.path}: section {self.name or self.number}"
        if relocation is not None:
            where += (
                f" at {relocation.offset:#x}: {type_name(relocation.type)} "
                f"against {self.file.describe(relocation.symbol)}"
            )
        raise ImageError(f"{where}: {problem}")

    def _decompress(self, data: bytes) -> bytes:
        if len(data) < _COMPRESSION_HEADER.size:
            self.fail("is cut off inside its compression header")
        kind, _, size, _ = _COMPRESSION_HEADER.unpack_from(data)
        if kind != _ELFCOMPRESS_ZLIB:
            self.fail(f"has the unknown compression {kind}; compile with -gz=none or -gz=zlib")
        if size > _LARGEST:
            self.fail(f"is {size:#x} bytes long when decompressed")
        import zlib

        decompressor = zlib.decompressobj()
        try:
            plain = decompressor.decompress(data[_COMPRESSION_HEADER.size :], size)
        except zlib.error as error:
            self.fail(f"cannot be decompressed: {error}")
        if len(plain) != size:
            self.fail(f"is {len(plain):#x} bytes long when decompressed, not {size:#x}")
        return plain

    def __repr__(self) -> str:
        return f"<InputSection {self.name} of {self.file.path.name}>"


class ObjectFile:
    """One relocatable object. Raises ImageError for what its compiler would not have written."""

    def __init__(self, path: Path, contents: mmap.mmap | bytes) -> None:
        self.path = path
        self.contents = contents
        header = read_header(path, contents)
        if header.kind != ET_REL:
            what = ET_NAMES.get(header.kind, f"of the unknown ELF type {header.kind}")
            self.fail(f"is {what}; a relocatable object is needed")
        self._headers = read_sections(path, contents, header)
        self.sections = [
            InputSection(self, number, section) for number, section in enumerate(self._headers)
        ]
        for section in self.sections:
            self._check(section)
        self.symbols = self._read_symbols()
        self.groups = self._read_groups()
        self._read_relocations()

    def fail(self, problem: str) -> NoReturn:
        """Raise an ImageError that names this file."""
        raise ImageError(f"{self.path}: {problem}")

    def describe(self, number: int) -> str:
        """What a symbol is called in messages: its name, or its section's."""
        if number >= len(self.symbols):
            return f"symbol {number}"
        symbol = self.symbols[number]
        if symbol.name:
            return symbol.name
        if symbol.section:
            return f"section {self.sections[symbol.section].name}"
        return "no symbol"

    def _check(self, section: InputSection) -> None:
        header = section.header
        if header.flags & _SHF_EXCLUDE:
            section.is_discarded = True
        if not section.is_loaded:
            return
        if header.size > _LARGEST:
            section.fail(f"is {header.size:#x} bytes long")
        if header.alignment & (header.alignment - 1) or header.alignment > _LARGEST:
            section.fail(f"has the alignment {header.alignment:#x}, no power of two")
        if section.is_code and section.is_writable:
            section.fail("is both writable and executable; put code and data in separate sections")
        if section.is_thread_local and (section.is_code or not section.is_writable):
            section.fail("is thread-local, but not writable data")
        if header.flags & _SHF_COMPRESSED:
            section.fail("is compressed, although it is loaded")
        if header.name.startswith((".ctors", ".dtors")) and header.size:
            section.fail("holds constructors as GCC before 4.7 made them; use -fuse-init-array")

    def _read_symbols(self) -> list[ObjectSymbol]:
        table = next((header for header in self._headers if header.type == SHT_SYMTAB), None)
        if table is None:
            return [ObjectSymbol(0, "", 0, 0, 0, 0, 0, 0)]
        number = self._headers.index(table)
        strings = self._linked(table, "its symbol table").contents()
        extended = self._extended_indices(number)
        data = self.contents[table.offset : table.offset + table.size - table.size % _SYMBOL.size]
        symbols = [
            self._symbol(number, strings, extended, *entry)
            for number, entry in enumerate(_SYMBOL.iter_unpack(data))
        ]
        return symbols or [ObjectSymbol(0, "", 0, 0, 0, 0, 0, 0)]

    def _symbol(
        self,
        number: int,
        strings: bytes,
        extended: memoryview | None,
        name_offset: int,
        info: int,
        other: int,
        section: int,
        value: int,
        size: int,
    ) -> ObjectSymbol:
        end = strings.find(b"\0", name_offset)
        if end < 0 and name_offset:
            self.fail(f"the name of symbol {number} lies outside its string table")
        name = strings[name_offset:end].decode("utf-8", "surrogateescape") if name_offset else ""
        fields = (number, name, info & 15, info >> 4, other & 3)
        if section == SHN_ABS:
            return ObjectSymbol(*fields, 0, value, size, is_absolute=True)
        if section == SHN_COMMON:
            if info & 15 == STT_TLS:
                self.fail(f"the common symbol {name} is thread-local; compile with -fno-common")
            if value & (value - 1) or value > _LARGEST or size > _LARGEST:
                self.fail(f"the common symbol {name} has senseless sizes")
            return ObjectSymbol(*fields, 0, max(1, value), size, is_common=True)
        if section == _SHN_XINDEX:
            if extended is None or number >= len(extended):
                self.fail(f"the section of symbol {name or number} lies outside its index table")
            section = extended[number]
        elif section >= _SHN_LORESERVE:
            self.fail(f"symbol {name or number} has the unknown section index {section:#x}")
        if section >= len(self.sections):
            self.fail(f"symbol {name or number} is in section {section}, which there is not")
        if section and value > self.sections[section].size:
            self.fail(f"symbol {name or number} lies outside its section")
        holder = self.sections[section]
        if section and info & 15 == STT_TLS and not (holder.is_thread_local and holder.is_loaded):
            self.fail(f"the thread-local symbol {name or number} is in no thread-local section")
        return ObjectSymbol(*fields, section, value, size)

    def _extended_indices(self, symbol_table: int) -> memoryview | None:
        for header in self._headers:
            if header.type == SHT_SYMTAB_SHNDX and header.link == symbol_table:
                data = self.contents[header.offset : header.offset + (header.size & -4)]
                return memoryview(data).cast("I")
        return None

    def _read_groups(self) -> list[Group]:
        groups = []
        for section in self.sections:
            if section.header.type != SHT_GROUP:
                continue
            words = [word for (word,) in iter_unpack("<I", section.contents()[: section.size & -4])]
            if not words or any(word >= len(self.sections) for word in words[1:]):
                section.fail("names sections that there are not")
            if section.header.info >= len(self.symbols):
                section.fail("has a signature outside the symbol table")
            if words[0] & _GRP_COMDAT:
                signature = self.symbols[section.header.info]
                name = signature.name
                if not name and signature.section:
                    name = self.sections[signature.section].name
                groups.append(Group(name, tuple(self.sections[word] for word in words[1:])))
        return groups

    def _read_relocations(self) -> None:
        for section in self.sections:
            header = section.header
            if header.type == _SHT_REL:
                section.fail("holds relocations without addends, which x86-64 does not use")
            if header.type != SHT_RELA:
                continue
            if header.info >= len(self.sections):
                section.fail(f"relocates section {header.info}, which there is not")
            target = self.sections[header.info]
            if target.is_discarded or (target.is_zero and header.size):
                if target.is_zero and target.is_loaded:
                    section.fail(f"relocates {target.name}, which has no bytes")
                continue
            data = self.contents[header.offset : header.offset + header.size]
            for offset, info, addend in iter_unpack(
                "<QQq", data[: header.size - header.size % _RELA_SIZE]
            ):
                relocation = ObjectRelocation(offset, info & 0xFFFFFFFF, info >> 32, addend)
                if relocation.symbol >= len(self.symbols):
                    target.fail("there is no such symbol", relocation)
                target.relocations.append(relocation)

    def _linked(self, header: Section, what: str) -> InputSection:
        if not 0 < header.link < len(self.sections):
            self.fail(f"{what} has no string table")
        return self.sections[header.link]


def read_word(data: bytes | bytearray, offset: int) -> int:
    """The 32-bit word at an offset."""
    value: int = unpack_from("<I", data, offset)[0]
    return value
