"""What every kind of ELF file has: the file header and the section headers.

Shared objects (``elf``) and relocatable objects (``objects``) are checked and read here alike.
Everything is read with ``struct``, because this is on the way of every boot.

Source: System V ABI, chapter 4; the x86-64 psABI; elf(5).
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from struct import Struct, unpack_from
from typing import NoReturn

from theseus_kit.errors import ImageError
from theseus_kit.values.record import NamedTuple

ET_REL, ET_DYN = 1, 3
ET_NAMES = {
    0: "no file type",
    ET_REL: "a relocatable object",
    2: "an executable",
    ET_DYN: "a shared object",
    4: "a core file",
}
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOTE, SHT_NOBITS = 1, 2, 3, 4, 7, 8
SHT_DYNSYM, SHT_GROUP, SHT_SYMTAB_SHNDX = 11, 17, 18
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_GROUP, SHF_TLS = 1, 2, 4, 0x200, 0x400

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
_SECTION_HEADER = Struct("<IIQQQQIIQQ")


class FileHeader(NamedTuple):
    """What the file header says: its kind, and where its two tables lie."""

    kind: int
    segments: tuple[int, int, int]
    """Offset, number of entries, bytes of one."""
    sections: tuple[int, int, int]
    """Offset, number of entries, index of the names' section."""


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

    @property
    def end(self) -> int:
        return self.address + self.size


def map_file(path: str | os.PathLike[str]) -> tuple[Path, int, mmap.mmap]:
    """Open a host file and map it: its path, a descriptor for the caller to close, its bytes."""
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
            return path, descriptor, mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ImageError(f"{path}: cannot be mapped: {error}") from None
    except BaseException:
        os.close(descriptor)
        raise


def is_relocatable(contents: mmap.mmap | bytes) -> bool:
    """Whether these are the bytes of a relocatable object, as far as the file header says."""
    return contents[:4] == b"\x7fELF" and contents[16:18] == b"\x01\0"


def read_header(path: Path, contents: mmap.mmap | bytes) -> FileHeader:
    """Read the file header of an ELF64 x86-64 Linux file; raises ImageError for any other."""

    def fail(problem: str) -> NoReturn:
        raise ImageError(f"{path}: {problem}")

    if contents[:4] != b"\x7fELF":
        fail("is not an ELF file")
    if len(contents) < _HEADER.size:
        fail("is cut off inside its ELF header")
    ident, kind, machine, _, _, phoff, shoff, _, _, phentsize, phnum, _, shnum, shstrndx = (
        _HEADER.unpack_from(contents)
    )
    if ident[4] == 1:
        machine_name = _MACHINE_NAMES.get(unpack_from("<H", contents, 18)[0], "another")
        fail(f"is a 32-bit file (machine: {machine_name}); x86-64 is needed")
    if ident[4] != 2:
        fail(f"has an unknown ELF class {ident[4]}")
    if ident[5] != 1:
        fail("is big endian; x86-64 is little endian")
    if machine != _EM_X86_64:
        machine_name = _MACHINE_NAMES.get(machine, f"number {machine}")
        fail(f"is for another machine ({machine_name}); x86-64 is needed")
    if ident[7] not in (0, 3):
        fail(f"is for another operating system (ELF OS/ABI {ident[7]}); Linux is needed")
    return FileHeader(kind, (phoff, phnum, phentsize), (shoff, shnum, shstrndx))


def read_sections(
    path: Path, contents: mmap.mmap | bytes, header: FileHeader
) -> tuple[Section, ...]:
    """Read the section headers, none where the file was stripped of them."""

    def fail(problem: str) -> NoReturn:
        raise ImageError(f"{path}: {problem}")

    table, count, names_index = header.sections
    if table == 0:
        return ()
    if table + _SECTION_HEADER.size > len(contents):
        fail(f"its section headers at {table:#x} lie outside the file")
    first = _SECTION_HEADER.unpack_from(contents, table)
    count = count or first[5]
    names_index = first[6] if names_index == 0xFFFF else names_index
    if table + count * _SECTION_HEADER.size > len(contents):
        fail(f"its {count} section headers at {table:#x} reach beyond the file's end")
    raw = [
        _SECTION_HEADER.unpack_from(contents, table + index * _SECTION_HEADER.size)
        for index in range(count)
    ]
    names = b""
    if names_index < count:
        _, _, _, _, offset, size, *_ = raw[names_index]
        names = contents[offset : offset + size]
    sections = []
    for name, kind, flags, address, offset, size, link, info, alignment, entry_size in raw:
        if kind != SHT_NOBITS and offset + size > len(contents):
            fail(f"a section at {offset:#x} reaches beyond the file's end")
        text = names[name : names.find(b"\0", name)].decode("utf-8", "surrogateescape")
        sections.append(
            Section(text, kind, flags, address, offset, size, link, info, alignment, entry_size)
        )
    return tuple(sections)
