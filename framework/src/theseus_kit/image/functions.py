"""Which function of an image file holds an address, without reading all of its tables.

Bounds come from the binary search table of ``.eh_frame_hdr``, which stripped files have too::

    .eh_frame_hdr:  version │ encodings │ eh_frame │ count │ (function, FDE) (function, FDE) …
                                                                 sorted by function ▲

    FDE in .eh_frame:  length │ distance back to its CIE │ function │ length of function │ …

and, where there is no such table or it has no entry, from the symbol tables. Names come from
``.symtab`` where the file has one, else from the dynamic symbols. Frame instructions are not read:
unwinding is the plugins'.

Source: Linux Standard Base 10.6, "Exception Frames"; DWARF 5, 6.4; System V ABI, chapter 4.
"""

from __future__ import annotations

from bisect import bisect_right
from struct import calcsize, error, iter_unpack, unpack_from

from theseus_kit.errors import ImageError
from theseus_kit.image.elf import PT_GNU_EH_FRAME, ElfFile
from theseus_kit.image.segment_reader import SegmentReader
from theseus_kit.values.record import NamedTuple

_DATAREL_SDATA4 = 0x3B
_UDATA4 = 0x03
_PCREL = 0x10
_POINTER_FORMATS = {0x00: "<Q", 0x03: "<I", 0x04: "<Q", 0x0B: "<i", 0x0C: "<q"}
_HIGHEST = 1 << 47
_STT_FUNC, _STT_GNU_IFUNC = 2, 10
_SHT_SYMTAB, _SHT_DYNSYM = 2, 11


class FunctionRange(NamedTuple):
    """The addresses [start, end) of one function; the image's own, without load bias."""

    start: int
    end: int


class Functions:
    """The functions of one image file."""

    def __init__(self, elf: ElfFile) -> None:
        self._elf = elf
        self._reader = elf.reader()
        self._frames = _FrameIndex.of(elf, self._reader)
        self._starts: list[int] = []
        self._named: list[tuple[int, int, str]] = []
        self._names_read = False

    def containing(self, address: int) -> FunctionRange | None:
        """The function that holds an address, None if no table knows one."""
        if self._frames is not None:
            found = self._frames.containing(address)
            if found is not None:
                return found
        named = self._symbol_at(address)
        return None if named is None else FunctionRange(named[0], named[0] + named[1])

    def uncovered(self, address: int, bounds: FunctionRange) -> FunctionRange:
        """The part of ``bounds`` around an address that lies between two known functions."""
        if self._frames is None:
            return bounds
        start, end = self._frames.neighbours(address)
        return FunctionRange(max(start, bounds.start), min(end, bounds.end))

    @property
    def has_frame_index(self) -> bool:
        """Whether the file says where (all but hand-written) functions are."""
        return self._frames is not None

    def name(self, address: int) -> str | None:
        """The (mangled) name of the function that holds an address."""
        named = self._symbol_at(address)
        return None if named is None else named[2]

    def _symbol_at(self, address: int) -> tuple[int, int, str] | None:
        if not self._names_read:
            self._named = sorted(_function_symbols(self._elf))
            self._starts = [start for start, _, _ in self._named]
            self._names_read = True
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        start, size, _ = self._named[index]
        return self._named[index] if address < start + size else None


class _FrameIndex:
    """The binary search table of .eh_frame_hdr."""

    def __init__(self, reader: SegmentReader, address: int, table: memoryview) -> None:
        self._reader = reader
        self._address = address
        words = table.cast("i")
        self._starts: list[int] = words[0::2].tolist()
        self._entries: list[int] = words[1::2].tolist()

    @classmethod
    def of(cls, elf: ElfFile, reader: SegmentReader) -> _FrameIndex | None:
        """The table, None where the file has none or one in an encoding no linker writes."""
        segment = elf.segment_of_type(PT_GNU_EH_FRAME)
        if segment is None or segment.memory_size < 12:
            return None
        window = reader.window(segment.address, segment.memory_size, "its frame index")
        version, _, count_encoding, table_encoding = window[:4]
        if (version, count_encoding, table_encoding) != (1, _UDATA4, _DATAREL_SDATA4):
            return None
        (count,) = unpack_from("<I", window, 8)
        if 12 + count * 8 > len(window):
            elf.fail(f"its frame index of {count} entries reaches beyond its segment")
        return cls(reader, segment.address, window[12 : 12 + count * 8])

    def containing(self, address: int) -> FunctionRange | None:
        index = bisect_right(self._starts, address - self._address) - 1
        if index < 0:
            return None
        start = self._starts[index] + self._address
        end = start + self._size(index)
        return FunctionRange(start, end) if address < end else None

    def neighbours(self, address: int) -> tuple[int, int]:
        """The end of the function before an address, and the start of the one behind it."""
        following = bisect_right(self._starts, address - self._address)
        end = _HIGHEST if following == len(self._starts) else self._starts[following]
        if following == 0:
            return 0, end + self._address
        previous = following - 1
        size = self._size(previous)
        return self._starts[previous] + self._address + size, end + self._address

    def _size(self, index: int) -> int:
        entry = self._entries[index] + self._address
        try:
            return self._function_size(entry)
        except error:
            self._reader.fail(f"its frame table at {entry:#x} is cut off")

    def _function_size(self, entry: int) -> int:
        window = self._reader.window_to_end(entry, "its frame table")
        length, back = unpack_from("<II", window)
        if length in (0, 0xFFFFFFFF):
            self._reader.fail(f"its frame table at {entry:#x} is damaged")
        layout = _POINTER_FORMATS.get(self._pointer_encoding(entry + 4 - back) & 0x0F)
        if layout is None:
            self._reader.fail(f"its frame table at {entry:#x} has pointers of an unknown encoding")
        size: int
        (size,) = unpack_from(layout.upper(), window, 8 + calcsize(layout))
        return size

    def _pointer_encoding(self, address: int) -> int:
        """How a CIE says that its FDEs spell addresses: the ``R`` of its augmentation."""
        window = bytes(self._reader.window_to_end(address, "its frame table")[:64])
        end = window.find(b"\0", 9)
        augmentation = window[9:end]
        if end < 0 or not augmentation.startswith(b"z"):
            return 0
        position = end + 1
        for _ in range(3):  # code and data alignment, return address register
            position = _skip_leb128(window, position)
        position = _skip_leb128(window, position)  # the augmentation data's length
        for letter in augmentation[1:]:
            if letter == ord("R"):
                return window[position] if position < len(window) else 0
            if letter == ord("L"):
                position += 1
            elif letter == ord("P"):
                layout = _POINTER_FORMATS.get(window[position] & 0x0F, "<Q")
                position += 1 + calcsize(layout)
        return 0


def _skip_leb128(data: bytes, position: int) -> int:
    while position < len(data) and data[position] & 0x80:
        position += 1
    return position + 1


def _function_symbols(elf: ElfFile) -> list[tuple[int, int, str]]:
    """(address, size, name) of every function symbol, from .symtab or else from .dynsym."""
    sections = elf.sections()
    table = next((s for s in sections if s.type == _SHT_SYMTAB), None) or next(
        (s for s in sections if s.type == _SHT_DYNSYM), None
    )
    if table is None:
        return []
    if table.link >= len(sections):
        raise ImageError(f"{elf.path}: its symbol table has no string table")
    strings = sections[table.link]
    names = elf.contents[strings.offset : strings.offset + strings.size]
    entries = memoryview(elf.contents)[table.offset : table.offset + table.size // 24 * 24]
    return [
        (value, size, names[name : names.find(b"\0", name)].decode("utf-8", "surrogateescape"))
        for name, info, _, section, value, size in iter_unpack("<IBBHQQ", entries)
        if info & 15 in (_STT_FUNC, _STT_GNU_IFUNC) and section and size
    ]
