"""What an address of an image is called, and what depends on it: sections, as Theseus has them.

A section is a function or a variable by its symbol, or a section of the file where no symbol tells
more. Read from the image's file at the first question about it; nothing of it is in a boot. Names
are as the symbol table spells them.

Dependencies come from relocations: those the loader applied and, of an image that was linked from
relocatable objects (or with ``ld --emit-relocs``), those between its own sections. So they are as
fine as its sections are: compile with -ffunction-sections, as Rust does, for one per function.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import accumulate
from struct import Struct, iter_unpack
from typing import TYPE_CHECKING

from theseus_kit.errors import ImageError
from theseus_kit.image.elf_header import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_TLS,
    SHF_WRITE,
    SHT_DYNSYM,
    SHT_NOBITS,
    SHT_RELA,
    SHT_SYMTAB,
    Section,
)
from theseus_kit.image.objects.relocation_types import R_PC32, R_PLT32, type_name
from theseus_kit.image.relocation import R_IRELATIVE, R_RELATIVE
from theseus_kit.image.symbols import (
    STB_LOCAL,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_NOTYPE,
    STT_OBJECT,
    STT_TLS,
    ElfSymbol,
)
from theseus_kit.values.linkage import CFunction, CObject
from theseus_kit.values.memory import AddressRange, Protection
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.image.image import Image

_SYMBOL = Struct("<IBBHQQ")
_SHN_LORESERVE = 0xFF00
_STT_SECTION = 3
_NAMING_TYPES = frozenset({STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_GNU_IFUNC})


class SectionKind(Enum):
    """What a section holds (Theseus's ``SectionType``)."""

    TEXT = "text"
    READ_ONLY_DATA = "read-only data"
    DATA = "data"
    ZERO_DATA = "zero-initialised data"
    THREAD_LOCAL = "thread-local variables"
    EXCEPTION_TABLE = "landing pads (.gcc_except_table)"
    UNWIND_TABLE = "unwind table (.eh_frame)"


class LoadedSection(NamedTuple):
    """A symbol or a section in memory."""

    name: str
    kind: SectionKind
    range: AddressRange
    """Its guest addresses; of a thread-local variable, offsets in its module's block."""
    image: Image | None
    """None for what a plugin provides."""
    is_symbol: bool = True
    """It is a symbol's, not a section of the file."""
    is_global: bool = True
    """Other images may be bound to it."""

    @property
    def sections_i_depend_on(self) -> Sequence[Dependency]:
        """What this section's relocations refer to, in order of their places."""
        return () if self.image is None else self.image.loaded_sections.dependencies(self)

    @property
    def sections_dependent_on_me(self) -> Sequence[Dependency]:
        """The sections whose relocations refer to this one, of its image and of those it serves."""
        image = self.image
        if image is None or image.namespace is None:
            return ()
        return tuple(
            Dependency(user, dependency.place, dependency.type, dependency.addend)
            for other in (image, *image.namespace.users(image))
            for user, dependency in other.loaded_sections.all_dependencies()
            if dependency.section.image is image
            and dependency.section.kind is self.kind
            and dependency.section.range.start < self.range.end
            and self.range.start < dependency.section.range.end
        )

    def __repr__(self) -> str:
        return f"<LoadedSection {self.name} {self.range.start:#x}-{self.range.end:#x}>"


class Dependency(NamedTuple):
    """That a section depends on another one, by one relocation."""

    section: LoadedSection
    """The other one."""
    place: int
    """The guest address that the relocation wrote."""
    type: str
    """``R_X86_64_PLT32``."""
    addend: int


class ImageSections:
    """The sections of one image; see :attr:`Image.loaded_sections`."""

    def __init__(self, image: Image) -> None:
        self._image = image
        try:
            self._headers = image.sections()
        except ImageError:
            # An image runs without section headers, and with broken ones.
            self._headers = ()
        loaded = [h for h in self._headers if h.flags & SHF_ALLOC and h.size]
        self._files = sorted((h for h in loaded if not _is_zero_thread_local(h)), key=_address)
        if not self._files:
            self._files = _segments_as_sections(image)
        self._table, self._strings = self._symbol_table()
        self._rows = sorted(self._read_rows(), key=_inner_and_global_last)
        self._starts = [row[0] for row in self._rows]
        self._reach = list(accumulate((row[1] for row in self._rows), max))
        self._dependencies: list[tuple[LoadedSection, Dependency]] | None = None

    def at(self, address: int, search_all: bool) -> LoadedSection | None:
        """The symbol that holds a guest address, else its section; code only or any."""
        offset = address - self._image.base
        header = self._file_section_at(offset)
        if header is None or not (search_all or header.flags & SHF_EXECINSTR):
            return None
        index = bisect_right(self._starts, offset) - 1
        while index >= 0 and self._reach[index] > offset:
            start, end, is_global, number = self._rows[index]
            if offset < end:
                return self._symbol(start, end, is_global, number, header)
            index -= 1
        start = self._image.base + header.address
        span = AddressRange.of_size(start, header.size)
        return LoadedSection(header.name, _kind(header), span, self._image, False, False)

    def dependencies(self, section: LoadedSection) -> tuple[Dependency, ...]:
        """What the relocations inside a section refer to."""
        return tuple(
            dependency
            for _, dependency in self.all_dependencies()
            if section.kind is not SectionKind.THREAD_LOCAL and dependency.place in section.range
        )

    def all_dependencies(self) -> Sequence[tuple[LoadedSection, Dependency]]:
        """Every dependency of the image: whose it is, and what it is."""
        if self._dependencies is None:
            self._dependencies = sorted(self._read_dependencies(), key=lambda item: item[1].place)
        return self._dependencies

    def _read_dependencies(self) -> Iterator[tuple[LoadedSection, Dependency]]:
        for place, kind, addend, target in self._references():
            section = self.at(self._image.base + place, True)
            if section is not None and target is not None and target != section:
                address = self._image.base + place
                yield section, Dependency(target, address, type_name(kind), addend)

    def _references(self) -> Iterator[tuple[int, int, int, LoadedSection | None]]:
        """Place, type, addend and target of each relocation: kept ones, else the loader's."""
        kept = [
            header
            for header in self._headers
            if header.type == SHT_RELA
            and not header.flags & SHF_ALLOC
            and header.info < len(self._headers)
            and self._headers[header.info].flags & SHF_ALLOC
        ]
        for header in kept:
            data = self._image.file[header.offset : header.offset + header.size // 24 * 24]
            for place, info, addend in iter_unpack("<QQq", data):
                yield place, info & 0xFFFFFFFF, addend, self._kept_target(info, addend)
        if kept:
            return
        for place, info, addend in self._image.relocations():
            kind, number = info & 0xFFFFFFFF, info >> 32
            if kind in (R_RELATIVE, R_IRELATIVE):
                yield place, kind, addend, self.at(self._image.base + addend, True)
            elif number:
                symbol = self._image.table[number]
                target = self._bound(symbol.name) or (
                    section_of_symbol(self._image, symbol) if symbol.is_defined else None
                )
                yield place, kind, addend, target

    def _kept_target(self, reference: int, addend: int) -> LoadedSection | None:
        number = reference >> 32
        if number * _SYMBOL.size + _SYMBOL.size > len(self._table):
            return None
        name, info, _, section, value, size = _SYMBOL.unpack_from(
            self._table, number * _SYMBOL.size
        )
        if section == 0 or section >= _SHN_LORESERVE:
            return self._bound(self._name(name)) if section == 0 else None
        if info & 15 == STT_TLS:
            span = AddressRange.of_size(value, size)
            kind = SectionKind.THREAD_LOCAL
            return LoadedSection(self._name(name), kind, span, self._image, True, info >> 4 != 0)
        if info & 15 == _STT_SECTION:
            # Relative references count from behind the 4 bytes of their place.
            meant = addend + (4 if reference & 0xFFFFFFFF in (R_PC32, R_PLT32) else 0)
            start = self._image.base + value
            return self.at(start + max(0, meant), True) or self.at(start, True)
        return self.at(self._image.base + value, True)

    def _bound(self, name: str) -> LoadedSection | None:
        binding = self._image.bindings.get(name)
        if binding is None:
            return None
        symbol = binding.image.table.lookup(name)
        return None if symbol is None else section_of_symbol(binding.image, symbol)

    def _symbol(
        self, start: int, end: int, is_global: bool, number: int, header: Section
    ) -> LoadedSection:
        name = self._name(_SYMBOL.unpack_from(self._table, number * _SYMBOL.size)[0])
        base = self._image.base
        span = AddressRange(base + start, base + end)
        return LoadedSection(name, _kind(header), span, self._image, True, is_global)

    def _name(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset)
        return self._strings[offset : end if end >= 0 else None].decode("utf-8", "surrogateescape")

    def _symbol_table(self) -> tuple[bytes, bytes]:
        for wanted in (SHT_SYMTAB, SHT_DYNSYM):
            for header in self._headers:
                if header.type == wanted and header.link < len(self._headers):
                    strings = self._headers[header.link]
                    size = header.size // _SYMBOL.size * _SYMBOL.size
                    return (
                        self._image.file[header.offset : header.offset + size],
                        self._image.file[strings.offset : strings.offset + strings.size],
                    )
        return b"", b""

    def _read_rows(self) -> Iterator[tuple[int, int, bool, int]]:
        """Start, end, whether it is global and number of each symbol that names addresses."""
        for number, (name, info, other, section, value, size) in enumerate(
            _SYMBOL.iter_unpack(self._table)
        ):
            if name and size and 0 < section < _SHN_LORESERVE and info & 15 in _NAMING_TYPES:
                is_global = info >> 4 != STB_LOCAL and other & 3 in (0, 3)
                yield value, value + size, is_global, number

    def _file_section_at(self, offset: int) -> Section | None:
        index = bisect_right(self._files, offset, key=_address) - 1
        if index < 0:
            return None
        header = self._files[index]
        return header if offset < header.address + header.size else None


def section_of_symbol(image: Image, symbol: ElfSymbol) -> LoadedSection:
    """The section that one of an image's own symbols names."""
    if symbol.type == STT_TLS:
        span = AddressRange.of_size(symbol.value, symbol.size)
        return LoadedSection(symbol.name, SectionKind.THREAD_LOCAL, span, image)
    start = symbol.value if symbol.is_absolute else image.base + symbol.value
    found = None if symbol.is_absolute else image.loaded_sections.at(start, True)
    kind = SectionKind.DATA if found is None else found.kind
    return LoadedSection(symbol.name, kind, AddressRange.of_size(start, symbol.size), image)


def provided_section(symbol: CFunction | CObject, address: int) -> LoadedSection:
    """The section that stands for what a plugin provides; a function's size is unknown: 0."""
    if isinstance(symbol, CFunction):
        span = AddressRange(address, address)
        return LoadedSection(symbol.name, SectionKind.TEXT, span, None)
    span = AddressRange.of_size(address, len(symbol.initial))
    return LoadedSection(symbol.name, SectionKind.DATA, span, None)


def _inner_and_global_last(row: tuple[int, int, bool, int]) -> tuple[int, int, bool]:
    """The order of symbols, of which the last one before an address is looked at first."""
    start, end, is_global, _ = row
    return start, -end, is_global


def _address(header: Section) -> int:
    return header.address


def _is_zero_thread_local(header: Section) -> bool:
    """.tbss takes no addresses, whatever its header says."""
    return bool(header.flags & SHF_TLS) and header.type == SHT_NOBITS


def _kind(header: Section) -> SectionKind:
    if header.flags & SHF_EXECINSTR:
        return SectionKind.TEXT
    if header.name.startswith(".gcc_except_table"):
        return SectionKind.EXCEPTION_TABLE
    if header.name == ".eh_frame":
        return SectionKind.UNWIND_TABLE
    if header.flags & SHF_TLS:
        return SectionKind.THREAD_LOCAL
    if not header.flags & SHF_WRITE:
        return SectionKind.READ_ONLY_DATA
    return SectionKind.ZERO_DATA if header.type == SHT_NOBITS else SectionKind.DATA


def _segments_as_sections(image: Image) -> list[Section]:
    """What stands in for the section headers that a file was stripped of."""
    sections = []
    for segment in image.segments:
        flags = SHF_ALLOC
        if segment.protection & Protection.EXECUTE:
            flags |= SHF_EXECINSTR
        if segment.protection & Protection.WRITE:
            flags |= SHF_WRITE
        name = f"segment {segment.protection}"
        sections.append(
            Section(
                *(name, 0, flags, segment.address, segment.offset, segment.memory_size),
                *(0, 0, segment.alignment, 0),
            )
        )
    return sections
