"""The dynamic section: the tags by which an image tells a loader where its tables are.

Read by virtual address through a :class:`~theseus_kit.image.segment_reader.SegmentReader`, from
mapped memory or from a file: addresses and file offsets are different numbers. Values that are
addresses are the image's own, without the load bias.

Source: System V ABI, chapter 5, "Dynamic Section"; the GNU extensions as glibc's elf.h has them.
"""

from __future__ import annotations

from struct import iter_unpack

from theseus_kit.image.elf import PT_DYNAMIC, ElfFile
from theseus_kit.image.segment_reader import SegmentReader

DT_NEEDED = 1
DT_PLTRELSZ = 2
DT_HASH = 4
DT_STRTAB = 5
DT_SYMTAB = 6
DT_RELA = 7
DT_RELASZ = 8
DT_RELAENT = 9
DT_STRSZ = 10
DT_SYMENT = 11
DT_INIT = 12
DT_FINI = 13
DT_SONAME = 14
DT_SYMBOLIC = 16
DT_REL = 17
DT_PLTREL = 20
DT_TEXTREL = 22
DT_JMPREL = 23
DT_INIT_ARRAY = 25
DT_FINI_ARRAY = 26
DT_INIT_ARRAYSZ = 27
DT_FINI_ARRAYSZ = 28
DT_FLAGS = 30
DT_PREINIT_ARRAY = 32
DT_PREINIT_ARRAYSZ = 33
DT_RELRSZ = 35
DT_RELR = 36
DT_RELRENT = 37
DT_GNU_HASH = 0x6FFFFEF5
DT_VERSYM = 0x6FFFFFF0
DT_RELACOUNT = 0x6FFFFFF9
DT_FLAGS_1 = 0x6FFFFFFB
DT_VERDEF = 0x6FFFFFFC
DT_VERDEFNUM = 0x6FFFFFFD
DT_VERNEED = 0x6FFFFFFE
DT_VERNEEDNUM = 0x6FFFFFFF

_DF_SYMBOLIC = 2
_DF_TEXTREL = 4
_DF_STATIC_TLS = 16
_DF_1_PIE = 0x08000000

_ENTRY_SIZES = {DT_RELAENT: 24, DT_SYMENT: 24, DT_RELRENT: 8}


class Dynamic:
    """An image's dynamic section. Of a tag that occurs more than once the last counts."""

    def __init__(self, elf: ElfFile, reader: SegmentReader) -> None:
        segment = elf.segment_of_type(PT_DYNAMIC)
        if segment is None:
            elf.fail("has no dynamic section: it is statically linked")
        table = reader.window(segment.address, segment.memory_size & -16, "the dynamic section")
        self._values: dict[int, int] = {}
        needed: list[int] = []
        for tag, value in iter_unpack("<QQ", table):
            if tag == 0:
                break
            if tag == DT_NEEDED:
                needed.append(value)
            self._values[tag] = value
        for tag, size in _ENTRY_SIZES.items():
            if self._values.get(tag, size) != size:
                elf.fail(f"has table entries of {self._values[tag]} bytes instead of {size}")
        if DT_REL in self._values or self._values.get(DT_PLTREL, DT_RELA) != DT_RELA:
            elf.fail("has relocations without addends, which x86-64 does not use")
        if self._values.get(DT_FLAGS_1, 0) & _DF_1_PIE:
            elf.fail("is a position-independent executable; a shared object is needed")
        self.strings = self._read_strings(reader)
        self.needed = tuple(self.strings.text(offset) for offset in needed)
        soname = self._values.get(DT_SONAME)
        self.soname = None if soname is None else self.strings.text(soname)

    def get(self, tag: int, default: int = 0) -> int:
        """The value of a tag, or the default where the section does not have it."""
        return self._values.get(tag, default)

    def __contains__(self, tag: int) -> bool:
        return tag in self._values

    @property
    def is_symbolic(self) -> bool:
        """The image's own definitions come first for its own references (-Bsymbolic)."""
        return DT_SYMBOLIC in self._values or bool(self.get(DT_FLAGS) & _DF_SYMBOLIC)

    @property
    def relocates_text(self) -> bool:
        """Relocations change segments that are not writable."""
        return DT_TEXTREL in self._values or bool(self.get(DT_FLAGS) & _DF_TEXTREL)

    @property
    def uses_static_tls(self) -> bool:
        """The image's thread-local variables must lie at fixed offsets from the thread pointer."""
        return bool(self.get(DT_FLAGS) & _DF_STATIC_TLS)

    def _read_strings(self, reader: SegmentReader) -> StringTable:
        address, size = self.get(DT_STRTAB), self.get(DT_STRSZ)
        if not address:
            return StringTable(reader, b"\0")
        return StringTable(reader, bytes(reader.window(address, size, "its string table")))


class StringTable:
    """Strings that end in a zero byte, found by their offset. Not UTF-8: surrogate escapes."""

    def __init__(self, reader: SegmentReader, data: bytes) -> None:
        self._reader = reader
        self.data = data

    def text(self, offset: int) -> str:
        """The string at an offset. Raises ImageError if it does not lie wholly in the table."""
        end = self.data.find(b"\0", offset)
        if end < 0:
            self._reader.fail(f"a name at {offset:#x} lies outside its string table")
        return self.data[offset:end].decode("utf-8", "surrogateescape")
