"""Shared objects as they lie on the host: their program headers, checked.

Everything is read with ``struct``, because this file is on the way of every boot. What the headers
say is checked here once, so that nothing behind it meets an offset outside the file. The dynamic
section and what hangs on it are read by virtual address: see ``segment_reader`` and ``dynamic``.

Source: System V ABI, chapters 4 and 5; the x86-64 psABI; elf(5).
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from struct import Struct
from typing import NoReturn

from theseus_kit.errors import ImageError
from theseus_kit.image.elf_header import (
    ET_DYN,
    ET_NAMES,
    SHF_ALLOC,
    FileHeader,
    Section,
    map_file,
    read_header,
    read_sections,
)
from theseus_kit.image.segment_reader import Extent, SegmentReader
from theseus_kit.values.memory import PAGE_SIZE, Protection, page_ceil, page_floor
from theseus_kit.values.record import NamedTuple

PT_LOAD = 1
PT_DYNAMIC = 2
PT_NOTE = 4
PT_TLS = 7
PT_GNU_EH_FRAME = 0x6474E550
PT_GNU_RELRO = 0x6474E552

_PF_X, _PF_W, _PF_R = 1, 2, 4
_PROGRAM_HEADER = Struct("<IIQQQQQQ")
_PN_XNUM = 0xFFFF
_HIGHEST_ADDRESS = 1 << 47
"""User addresses end here: the canonical half below the sign extension."""


class Segment(NamedTuple):
    """A program header: a run of the file, and where the image wants it.

    Addresses are the image's own, counted from its load bias.
    """

    type: int
    protection: Protection
    offset: int
    address: int
    file_size: int
    memory_size: int
    alignment: int

    @property
    def end(self) -> int:
        return self.address + self.memory_size

    @property
    def pages(self) -> tuple[int, int]:
        """The first byte of its first page, and the first byte behind its last page."""
        return page_floor(self.address), page_ceil(self.end)

    def __repr__(self) -> str:
        return (
            f"<Segment {self.protection} {self.address:#x}-{self.end:#x} at file "
            f"{self.offset:#x}-{self.offset + self.file_size:#x}>"
        )


class ElfFile:
    """An ELF64 x86-64 shared object, its headers checked. Raises ImageError where they are not.

    ``contents`` is the whole file, mapped and not read: it costs nothing until it is looked at. A
    file that shrinks while it is mapped ends the process, as it does for every dynamic loader.
    ``descriptor`` stays open until :meth:`close`, so that guest memory is mapped from the very
    file that was checked; ``contents`` stays readable after it.
    """

    def __init__(
        self,
        path: Path,
        contents: mmap.mmap | bytes,
        descriptor: int = -1,
        *,
        is_linked_from_objects: bool = False,
    ) -> None:
        self.path = path
        self.name = path.name
        self.contents = contents
        self.descriptor = descriptor
        self.is_linked_from_objects = is_linked_from_objects
        """It is no file of the host's, but was made of the relocatable object at ``path``."""
        self._header = self._read_header()
        self.segments = self._read_segments()
        self.loads = tuple(segment for segment in self.segments if segment.type == PT_LOAD)
        self._check_loads()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ElfFile:
        """Map a host file and check its headers."""
        path, descriptor, contents = map_file(path)
        try:
            return cls(path, contents, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Close the file descriptor. Doing it twice is nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> ElfFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def fail(self, problem: str) -> NoReturn:
        """Raise an ImageError that names this file."""
        raise ImageError(f"{self.path}: {problem}")

    @property
    def alignment(self) -> int:
        """The alignment its load bias must have, at least a page."""
        return max(PAGE_SIZE, *(segment.alignment for segment in self.loads))

    @property
    def span(self) -> tuple[int, int]:
        """The addresses its segments lie between, rounded out to its alignment and to pages."""
        return self.loads[0].address & -self.alignment, page_ceil(self.loads[-1].end)

    def segment_of_type(self, kind: int) -> Segment | None:
        """The first segment of a type, None if there is none."""
        return next((segment for segment in self.segments if segment.type == kind), None)

    def reader(self) -> SegmentReader:
        """Read by virtual address what the file holds of its segments."""
        extents = [
            Extent(segment.address, segment.address + segment.file_size, segment.offset)
            for segment in self.loads
            if segment.file_size
        ]
        return SegmentReader(self.path, memoryview(self.contents), extents)

    def sections(self) -> tuple[Section, ...]:
        """The section headers, none where the file was stripped of them."""
        return read_sections(self.path, self.contents, self._header)

    def section(self, name: str) -> Section | None:
        """The section of a name, None if there is none."""
        return next((section for section in self.sections() if section.name == name), None)

    def locate(self, address: int) -> str:
        """One of its own addresses for a message: ``section .text at 0x12``, or the number."""
        try:
            sections = self.sections()
        except ImageError:
            sections = ()
        for section in sections:
            if section.flags & SHF_ALLOC and section.address <= address < section.end:
                return f"section {section.name} at {address - section.address:#x}"
        return hex(address)

    def _read_header(self) -> FileHeader:
        header = read_header(self.path, self.contents)
        if header.kind != ET_DYN:
            what = ET_NAMES.get(header.kind, f"of the unknown ELF type {header.kind}")
            self.fail(f"is {what}; a shared object is needed")
        table, count, size = header.segments
        if count == 0:
            self.fail("has no program headers")
        if count == _PN_XNUM:
            self.fail("has more program headers than an image can use")
        if size != _PROGRAM_HEADER.size:
            self.fail(f"has program headers of {size} bytes instead of {_PROGRAM_HEADER.size}")
        if table + count * size > len(self.contents):
            self.fail(f"is cut off: its program headers at {table:#x} lie outside the file")
        return header

    def _read_segments(self) -> tuple[Segment, ...]:
        table, count, _ = self._header.segments
        segments = []
        for index in range(count):
            kind, flags, offset, address, _, file_size, memory_size, alignment = (
                _PROGRAM_HEADER.unpack_from(self.contents, table + index * _PROGRAM_HEADER.size)
            )
            protection = Protection(
                (Protection.READ if flags & _PF_R else 0)
                | (Protection.WRITE if flags & _PF_W else 0)
                | (Protection.EXECUTE if flags & _PF_X else 0)
            )
            segments.append(
                Segment(kind, protection, offset, address, file_size, memory_size, alignment)
            )
        return tuple(segments)

    def _check_loads(self) -> None:
        if not any(segment.memory_size for segment in self.loads):
            self.fail("has nothing to load")
        self.loads = tuple(segment for segment in self.loads if segment.memory_size)
        previous_end = 0
        for segment in self.loads:
            where = f"its segment at {segment.address:#x}"
            if segment.end > _HIGHEST_ADDRESS:
                self.fail(f"{where} of {segment.memory_size:#x} bytes ends beyond user addresses")
            if segment.file_size > segment.memory_size:
                self.fail(f"{where} has more bytes in the file than in memory")
            if segment.offset + segment.file_size > len(self.contents):
                self.fail(f"is cut off: {where} reaches beyond the file's end")
            if segment.alignment & (segment.alignment - 1) or segment.alignment > _HIGHEST_ADDRESS:
                self.fail(f"{where} has the alignment {segment.alignment:#x}, no power of two")
            if segment.file_size and (segment.offset - segment.address) % PAGE_SIZE:
                self.fail(f"{where} and its file offset {segment.offset:#x} differ within a page")
            if segment.protection & Protection.WRITE and segment.protection & Protection.EXECUTE:
                self.fail(
                    f"{where} is both writable and executable; "
                    "link it with separate code and data segments"
                )
            first, behind = segment.pages
            if first < previous_end:
                self.fail(f"{where} overlaps the one before it, or is out of order")
            previous_end = behind
