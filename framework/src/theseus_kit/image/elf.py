"""ELF files as they lie on the host: the file header, program headers and section headers.

Everything is read with ``struct``, because this file is on the way of every boot. What the headers
say is checked here once, so that nothing behind it meets an offset outside the file. The dynamic
section and what hangs on it are read by virtual address: see ``segment_reader`` and ``dynamic``.

Source: System V ABI, chapters 4 and 5; the x86-64 psABI; elf(5).
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from struct import Struct, unpack_from
from typing import NamedTuple, NoReturn

from theseus_kit.errors import ImageError
from theseus_kit.image.segment_reader import Extent, SegmentReader
from theseus_kit.values.memory import PAGE_SIZE, Protection, page_ceil, page_floor

PT_LOAD = 1
PT_DYNAMIC = 2
PT_NOTE = 4
PT_TLS = 7
PT_GNU_EH_FRAME = 0x6474E550
PT_GNU_RELRO = 0x6474E552

SHT_NOBITS = 8

_PF_X, _PF_W, _PF_R = 1, 2, 4
_ET_NAMES = {0: "no file type", 1: "a relocatable object", 2: "an executable", 4: "a core file"}
_ET_DYN = 3
_EM_X86_64 = 62
_MACHINE_NAMES = {
    2: "SPARC",
    3: "32-bit x86",
    8: "MIPS",
    20: "PowerPC",
    21: "64-bit PowerPC",
    22: "s390",
    40: "ARM",
    183: "AArch64",
    243: "RISC-V",
    258: "LoongArch",
}
_HEADER = Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = Struct("<IIQQQQQQ")
_SECTION_HEADER = Struct("<IIQQQQIIQQ")
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


class Section(NamedTuple):
    """A section header. ``address`` is the image's own; 0 for sections that are not loaded."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class ElfFile:
    """An ELF64 x86-64 shared object, its headers checked. Raises ImageError where they are not.

    ``contents`` is the whole file, mapped and not read: it costs nothing until it is looked at. A
    file that shrinks while it is mapped ends the process, as it does for every dynamic loader.
    ``descriptor`` stays open until :meth:`close`, so that guest memory is mapped from the very
    file that was checked; ``contents`` stays readable after it.
    """

    def __init__(self, path: Path, contents: mmap.mmap | bytes, descriptor: int = -1) -> None:
        self.path = path
        self.name = path.name
        self.contents = contents
        self.descriptor = descriptor
        self._header = self._read_header()
        self.segments = self._read_segments()
        self.loads = tuple(segment for segment in self.segments if segment.type == PT_LOAD)
        self._check_loads()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ElfFile:
        """Map a host file and check its headers."""
        path = Path(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ImageError(f"{path}: cannot be opened: {reason}") from None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{path}: is not a regular file")
            if status.st_size == 0:
                raise ImageError(f"{path}: is empty")
            try:
                contents = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise ImageError(f"{path}: cannot be mapped: {error}") from None
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
        table, count, names_index = self._header.sections
        if table == 0:
            return ()
        if table + _SECTION_HEADER.size > len(self.contents):
            self.fail(f"its section headers at {table:#x} lie outside the file")
        first = _SECTION_HEADER.unpack_from(self.contents, table)
        count = count or first[5]
        names_index = first[6] if names_index == 0xFFFF else names_index
        if table + count * _SECTION_HEADER.size > len(self.contents):
            self.fail(f"its {count} section headers at {table:#x} reach beyond the file's end")
        raw = [
            _SECTION_HEADER.unpack_from(self.contents, table + index * _SECTION_HEADER.size)
            for index in range(count)
        ]
        names = b""
        if names_index < count:
            _, _, _, _, offset, size, *_ = raw[names_index]
            names = self.contents[offset : offset + size]
        sections = []
        for name, kind, flags, address, offset, size, link, info, alignment, entry_size in raw:
            if kind != SHT_NOBITS and offset + size > len(self.contents):
                self.fail(f"a section at {offset:#x} reaches beyond the file's end")
            text = names[name : names.find(b"\0", name)].decode("utf-8", "surrogateescape")
            sections.append(
                Section(text, kind, flags, address, offset, size, link, info, alignment, entry_size)
            )
        return tuple(sections)

    def section(self, name: str) -> Section | None:
        """The section of a name, None if there is none."""
        return next((section for section in self.sections() if section.name == name), None)

    def _read_header(self) -> _Header:
        contents = self.contents
        if contents[:4] != b"\x7fELF":
            self.fail("is not an ELF file")
        if len(contents) < _HEADER.size:
            self.fail("is cut off inside its ELF header")
        ident, kind, machine, _, _, phoff, shoff, _, _, phentsize, phnum, _, shnum, shstrndx = (
            _HEADER.unpack_from(contents)
        )
        if ident[4] == 1:
            machine_name = _MACHINE_NAMES.get(unpack_from("<H", contents, 18)[0], "another")
            self.fail(f"is a 32-bit file (machine: {machine_name}); x86-64 is needed")
        if ident[4] != 2:
            self.fail(f"has an unknown ELF class {ident[4]}")
        if ident[5] != 1:
            self.fail("is big endian; x86-64 is little endian")
        if machine != _EM_X86_64:
            machine_name = _MACHINE_NAMES.get(machine, f"number {machine}")
            self.fail(f"is for another machine ({machine_name}); x86-64 is needed")
        if ident[7] not in (0, 3):
            self.fail(f"is for another operating system (ELF OS/ABI {ident[7]}); Linux is needed")
        if kind != _ET_DYN:
            what = _ET_NAMES.get(kind, f"of the unknown ELF type {kind}")
            self.fail(f"is {what}; a shared object is needed")
        if phnum == 0:
            self.fail("has no program headers")
        if phnum == _PN_XNUM:
            self.fail("has more program headers than an image can use")
        if phentsize != _PROGRAM_HEADER.size:
            self.fail(f"has program headers of {phentsize} bytes instead of {_PROGRAM_HEADER.size}")
        if phoff + phnum * phentsize > len(contents):
            self.fail(f"is cut off: its program headers at {phoff:#x} lie outside the file")
        return _Header((phoff, phnum), (shoff, shnum, shstrndx))

    def _read_segments(self) -> tuple[Segment, ...]:
        table, count = self._header.segments
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


class _Header(NamedTuple):
    """What the file header says of its two tables."""

    segments: tuple[int, int]
    sections: tuple[int, int, int]
