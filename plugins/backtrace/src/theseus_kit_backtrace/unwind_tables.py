"""Which unwind rules hold at an address: the images' .eh_frame, then tables of run-time code, then
what the instructions of code tell that the platform placed.

An image's table is never parsed whole: the linker's search table in .eh_frame_hdr leads to the one
FDE that is asked for (5.7 s against 30 µs for the 26,628 FDEs of the Wasmtime library). Rows are
kept for the addresses that were asked about, because stacks repeat themselves.

    .eh_frame_hdr (LSB Core 5.0, 10.6.2), with the encodings that linkers write
    ┌───┬──────┬──────┬──────┬──────────────┬───────────┬─────────────┬─────────────┬───
    │ 1 │ 0x1b │ 0x03 │ 0x3b │ .eh_frame s32│ count u32 │ pc s32, FDE │ pc s32, FDE │ …
    └───┴──────┴──────┴──────┴──────────────┴───────────┴─────────────┴─────────────┴───
                              from itself                  both from the header's start, by pc
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from struct import Struct, unpack_from
from typing import TYPE_CHECKING, Protocol

from theseus_kit_backtrace.call_frame_information import (
    CommonInformation,
    FrameDescription,
    Row,
    Window,
    read_frame_description,
    row_at,
    scan,
)
from theseus_kit_backtrace.dwarf_reading import BROKEN, read_pointer
from theseus_kit_backtrace.run_time_tables import RunTimeTables

if TYPE_CHECKING:
    from theseus_kit.image import Image, Namespace
    from theseus_kit_backtrace.placed_code import PlacedFrames

_SORTED_TABLE = 0x3B
_INDEX_ENTRY = Struct("<ii")
_MOST_ROWS = 1 << 14
"""Rows kept; an address more and all are dropped, which costs a walk 30 µs a frame once."""

_start = attrgetter("start")


class _Index(Protocol):
    """Finds FDEs in one .eh_frame."""

    def find(self, address: int) -> FrameDescription | None: ...


class UnwindTables:
    """The unwind rules of one platform: its images', those registered at run time, and those of
    placed code."""

    def __init__(self, namespace: Namespace, run_time: RunTimeTables, placed: PlacedFrames) -> None:
        self._namespace = namespace
        self._run_time = run_time
        self._placed = placed
        self._changes = run_time.changes
        self._images: dict[Image, _Index | None] = {}
        self._rows: dict[int, tuple[FrameDescription, Row] | None] = {}

    def find(self, address: int) -> tuple[FrameDescription, Row] | None:
        """The FDE of an address and the row that holds there; None if no table covers it."""
        if self._changes != self._run_time.changes or len(self._rows) >= _MOST_ROWS:
            self._changes = self._run_time.changes
            self._rows.clear()
        try:
            return self._rows[address]
        except KeyError:
            found = self._rows[address] = self._look(address)
            return found

    def forget(self, image: Image) -> None:
        """Drop what is kept of an image that goes."""
        self._images.pop(image, None)
        self._rows.clear()

    def _look(self, address: int) -> tuple[FrameDescription, Row] | None:
        try:
            frame = self._frame(address)
            return self._placed.find(address) if frame is None else (frame, row_at(frame, address))
        except BROKEN:
            return None

    def _frame(self, address: int) -> FrameDescription | None:
        image = self._namespace.image_at(address)
        if image is None:
            return self._run_time.find(address)
        if image not in self._images:
            self._images[image] = _index_of(image)
        index = self._images[image]
        return None if index is None else index.find(address)


class _SortedIndex:
    """The binary search table that the linker put in .eh_frame_hdr."""

    def __init__(self, window: Window, header: int, table: int, count: int) -> None:
        self._window = window
        self._header = header
        self._table = table
        self._count = count
        self._commons: dict[int, CommonInformation] = {}

    def find(self, address: int) -> FrameDescription | None:
        index = bisect_right(range(self._count), address - self._header, key=self._text_at) - 1
        if index < 0:
            return None
        _, offset = _INDEX_ENTRY.unpack_from(self._window.data, self._position(index))
        position = self._header + offset - self._window.start
        frame = read_frame_description(self._window, position, self._commons)
        return frame if frame.start <= address < frame.end else None

    def _position(self, index: int) -> int:
        return self._table + index * _INDEX_ENTRY.size

    def _text_at(self, index: int) -> int:
        value: int = _INDEX_ENTRY.unpack_from(self._window.data, self._position(index))[0]
        return value


class _ScannedIndex:
    """An index made by reading a table from one end to the other."""

    def __init__(self, window: Window, position: int, end: int) -> None:
        self._frames = sorted(scan(window, position, end), key=_start)

    def find(self, address: int) -> FrameDescription | None:
        index = bisect_right(self._frames, address, key=_start) - 1
        if index < 0 or address >= self._frames[index].end:
            return None
        return self._frames[index]


def _index_of(image: Image) -> _Index | None:
    """The index of an image's .eh_frame, read from its file, which the guest cannot change."""
    header = image.eh_frame_hdr
    if header is None:
        return None
    segment = image.segment_at(header.start)
    if segment is None:
        return None
    # Positions in this window are offsets in the file; one segment holds both tables.
    window = Window(image.file, image.base + segment.address - segment.offset)
    position = header.start - window.start
    data = window.data
    version, frames_encoding, count_encoding, table_encoding = unpack_from("<4B", data, position)
    if version != 1:
        return None
    position += 4
    frames, position = read_pointer(
        data, position, frames_encoding, window.start + position, header.start
    )
    if table_encoding == _SORTED_TABLE:
        count, position = read_pointer(data, position, count_encoding, 0)
        count = min(count, (segment.offset + segment.file_size - position) // _INDEX_ENTRY.size)
        return _SortedIndex(window, header.start, position, count)
    end = segment.offset + segment.file_size
    return _ScannedIndex(window, frames - window.start, end)
