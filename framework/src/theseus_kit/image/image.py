"""An image: one ELF file in a machine's memory, its symbols and a way to call them.

How it came there is the loader's business; what addresses mean in terms of lines and frames is the
plugins', who find here where to look.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from struct import iter_unpack, unpack_from
from typing import TYPE_CHECKING

from theseus_kit.errors import ImageError
from theseus_kit.image.dynamic import Dynamic
from theseus_kit.image.elf import PT_GNU_EH_FRAME, PT_NOTE, ElfFile, Segment
from theseus_kit.image.elf_header import Section
from theseus_kit.image.relocation import relocation_tables
from theseus_kit.image.symbols import STT_GNU_IFUNC, STT_TLS, ElfSymbol, SymbolTable
from theseus_kit.values.memory import AddressRange
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.image.mapping import MappedSegments
    from theseus_kit.image.namespace import Namespace
    from theseus_kit.image.sections import ImageSections
    from theseus_kit.machine.protocol import Machine

_MASK = (1 << 64) - 1
_NT_GNU_BUILD_ID = 3
_MOST_NOTES = 1 << 16


class Binding(NamedTuple):
    """What a reference to another image is bound to."""

    image: Image
    address: int
    """Of a thread-local variable, its offset in its module's block."""


class Image:
    """A loaded shared object, or one linked from relocatable ones.

    Made by :meth:`Namespace.load`, never directly.

    All addresses are guest addresses, except those inside ``segments``, ``sections()`` and
    ``table``, which are the image's own: add ``base``.
    """

    def __init__(self, elf: ElfFile, mapping: MappedSegments, machine: Machine) -> None:
        self._elf = elf
        self._machine = machine
        self._resolved: dict[int, int] = {}
        self.path: Path = elf.path
        self.name: str = elf.name
        """The file's name, without its directory."""
        self.base: int = mapping.bias
        """The load bias: what is added to the image's own addresses."""
        self.range: AddressRange = mapping.range
        """Every address of the image, with the gaps between its segments."""
        self.segments: tuple[Segment, ...] = elf.loads
        # Tables are read from the file's own mapping, by address: the guest cannot change them,
        # and they outlive the image's memory.
        reader = elf.reader()
        self.dynamic = Dynamic(elf, reader)
        self.table = SymbolTable(reader, self.dynamic)
        self.needed: tuple[str, ...] = self.dynamic.needed
        self.soname: str | None = self.dynamic.soname
        self.symbols: Mapping[str, int] = ExportedSymbols(self)
        """The addresses of its exported functions and variables, by name, looked up on demand."""
        self.tls_module: int | None = None
        """Its number among the modules with thread-local storage, if it has any."""
        self.bindings: Mapping[str, Binding] = {}
        """By name, its references that other images answer."""
        self.namespace: Namespace | None = None
        """The namespace it was loaded in, None before and after."""
        self.missing: tuple[str, ...] = ()
        """Imports that nothing provides, in the order they were met."""
        self.is_loaded = True
        self.is_linked_from_objects = elf.is_linked_from_objects
        """It was made of relocatable objects, of which ``path`` is the first."""

    @property
    def file(self) -> mmap.mmap | bytes:
        """The bytes of its file, mapped: for symbol tables and DWARF. Not guest memory."""
        return self._elf.contents

    @property
    def eh_frame_hdr(self) -> AddressRange | None:
        """Where its unwind tables' index lies in guest memory, None if it has none there."""
        segment = self._elf.segment_of_type(PT_GNU_EH_FRAME)
        if segment is None or not any(
            load.address <= segment.address and segment.end <= load.end for load in self.segments
        ):
            return None
        return AddressRange.of_size(self.base + segment.address, segment.memory_size)

    @property
    def build_id(self) -> str | None:
        """The GNU build ID in hexadecimal, None if it has none."""
        for segment in self._elf.segments:
            if segment.type == PT_NOTE:
                end = segment.offset + min(segment.file_size, _MOST_NOTES)
                found = _build_id(self._elf.contents[segment.offset : end])
                if found is not None:
                    return found
        return None

    def sections(self) -> tuple[Section, ...]:
        """The file's section headers, none where it was stripped of them."""
        return self._elf.sections()

    def relocations(self) -> Iterator[tuple[int, int, int]]:
        """Place, info and addend of each relocation with an addend that the loader applied."""
        for _, table in relocation_tables(self._elf.reader(), self.dynamic):
            yield from iter_unpack("<QQq", table)

    @cached_property
    def loaded_sections(self) -> ImageSections:
        """Its sections in memory, by address; read when first asked for."""
        # Imported here: no boot asks.
        from theseus_kit.image.sections import ImageSections

        return ImageSections(self)

    def segment_at(self, address: int) -> Segment | None:
        """The segment that holds a guest address, None for another image's and for gaps."""
        offset = address - self.base
        return next((s for s in self.segments if s.address <= offset < s.end), None)

    def symbol(self, name: str, version: str | None = None) -> int:
        """The address of an exported symbol, in a version or the default one.

        Raises ImageError if the image exports no such function or variable.
        """
        symbol = self.table.lookup(name, version)
        if symbol is None or symbol.type == STT_TLS:
            wanted = name if version is None else f"{name}@{version}"
            raise ImageError(f"{self.path}: exports no symbol {wanted}")
        return self.address_of(symbol)

    def address_of(self, symbol: ElfSymbol) -> int:
        """The guest address of one of its own symbols; a resolver function is asked, once."""
        if symbol.is_absolute:
            return symbol.value
        address = self.base + symbol.value & _MASK
        if symbol.type != STT_GNU_IFUNC:
            return address
        if address not in self._resolved:
            self._require_loaded()
            self._resolved[address] = self._machine.call(address)
        return self._resolved[address]

    def call(self, symbol: str, *arguments: int) -> int:
        """Call an exported function with integers and pointers; return its rax, unsigned.

        Negative arguments are passed as two's complement. Raises ImageError for an unknown
        symbol, and whatever the machine's call raises.
        """
        self._require_loaded()
        return self._machine.call(self.symbol(symbol), [argument & _MASK for argument in arguments])

    def _require_loaded(self) -> None:
        if not self.is_loaded:
            raise ImageError(f"{self.path}: is not loaded any more")

    def __repr__(self) -> str:
        return f"<Image {self.name} {self.range.start:#x}-{self.range.end:#x}>"


class ExportedSymbols(Mapping[str, int]):
    """The functions and variables an image exports, by name; each looked up when asked for."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def __getitem__(self, name: str) -> int:
        symbol = self._image.table.lookup(name)
        if symbol is None or symbol.type == STT_TLS:
            raise KeyError(name)
        return self._image.address_of(symbol)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        symbol = self._image.table.lookup(name)
        return symbol is not None and symbol.type != STT_TLS

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for symbol in self._image.table.exported():
            if symbol.type != STT_TLS and symbol.name not in seen and symbol.name in self:
                seen.add(symbol.name)
                yield symbol.name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{len(self)} symbols of {self._image.name}>"


def _build_id(notes: bytes) -> str | None:
    """Find the build ID among the notes of one segment (elf(5), "Notes")."""
    position = 0
    while position + 12 <= len(notes):
        name_size, size, kind = unpack_from("<3I", notes, position)
        name = notes[position + 12 : position + 12 + name_size]
        start = position + 12 + (name_size + 3 & -4)
        if kind == _NT_GNU_BUILD_ID and name == b"GNU\0":
            return notes[start : start + size].hex()
        position = start + (size + 3 & -4)
    return None
