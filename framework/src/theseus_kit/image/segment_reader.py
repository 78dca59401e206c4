"""Reads an image's tables by virtual address, with every access checked.

The same tables are read from two places: from guest memory once an image is mapped, and from the
file where nothing is mapped at all. In the file, a virtual address and an offset differ by another
amount in each segment::

    addresses  ├─ segment 0 ─┤      ├─── segment 1 ───┤   ├ 2 ┤
                     │ start of extent - offset │
    bytes      ├─ segment 0 ─┼─── segment 1 ───┼ 2 ┤

so a reader is a list of extents over one memoryview. In guest memory all extents are displaced by
the load bias. What the tables mean is the business of those who read them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from theseus_kit.errors import ImageError
from theseus_kit.values.record import NamedTuple


class Extent(NamedTuple):
    """The virtual addresses [start, end), kept in the view from index ``position`` on."""

    start: int
    end: int
    position: int


class SegmentReader:
    """Windows on an image's bytes. A window outside its segments is an ImageError."""

    def __init__(self, path: Path, view: memoryview, extents: Sequence[Extent]) -> None:
        self.path = path
        self._view = view
        self._extents = extents
        self._starts = [extent.start for extent in extents]

    def window(self, address: int, size: int, what: str) -> memoryview:
        """The bytes [address, address + size); ``what`` names them in the error."""
        extent = self._extent(address)
        if extent is None or size < 0 or address + size > extent.end:
            self.fail(f"{what} at {address:#x} ({size:#x} bytes) lies outside its segments")
        start = extent.position + address - extent.start
        return self._view[start : start + size]

    def window_to_end(self, address: int, what: str) -> memoryview:
        """The bytes from an address to the end of the segment that holds it."""
        extent = self._extent(address)
        if extent is None:
            self.fail(f"{what} at {address:#x} lies outside its segments")
        return self._view[
            extent.position + address - extent.start : extent.position + extent.end - extent.start
        ]

    def fail(self, problem: str) -> NoReturn:
        """Raise an ImageError that names the file."""
        raise ImageError(f"{self.path}: {problem}")

    def _extent(self, address: int) -> Extent | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._extents[index].end:
            return None
        return self._extents[index]
