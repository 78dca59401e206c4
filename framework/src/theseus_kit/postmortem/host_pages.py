"""Which pages of guest memory hold anything: the others need not be read, let alone written.

Guest memory is host memory at the same address, so the host's kernel knows. Reading a page that
was never touched would cost a page fault each, and a guest reserves far more than it touches.

Sources: Documentation/admin-guide/mm/pagemap.rst of Linux 6; proc_pid_maps(5).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from theseus_kit.values.memory import PAGE_SIZE, AddressRange

_ENTRY_SIZE = 8
_ENTRIES_AT_ONCE = 1 << 16
_HAS_CONTENT = 0b11 << 62
"""Present in memory, or swapped out."""


class HostPages:
    """A look at the host's page tables; use it as a context manager.

    On a host that does not show them every page counts as touched.
    """

    def __init__(self) -> None:
        self._files = _file_mappings()
        self._starts = [mapping.start for mapping in self._files]
        self._pagemap: FileIO | None
        try:
            self._pagemap = FileIO("/proc/self/pagemap")
        except OSError:
            self._pagemap = None

    def __enter__(self) -> HostPages:
        return self

    def __exit__(self, *details: object) -> None:
        if self._pagemap is not None:
            self._pagemap.close()

    def touched(self, wanted: AddressRange) -> Iterator[AddressRange]:
        """Yield the runs of pages in a range that may hold something else than zeros.

        Pages of files always do: what was never touched is still in the file.
        """
        position = wanted.start
        for mapping in self._mappings_in(wanted):
            if position < mapping.start:
                yield from self._touched_anonymous(AddressRange(position, mapping.start))
            yield AddressRange(max(position, mapping.start), min(mapping.end, wanted.end))
            position = mapping.end
        if position < wanted.end:
            yield from self._touched_anonymous(AddressRange(position, wanted.end))

    def _mappings_in(self, wanted: AddressRange) -> Iterator[AddressRange]:
        first = max(0, bisect_right(self._starts, wanted.start) - 1)
        for mapping in self._files[first:]:
            if mapping.start >= wanted.end:
                return
            if mapping.overlaps(wanted):
                yield mapping

    def _touched_anonymous(self, wanted: AddressRange) -> Iterator[AddressRange]:
        if self._pagemap is None:
            yield wanted
            return
        run_start: int | None = None
        position = wanted.start
        while position < wanted.end:
            count = min((wanted.end - position) // PAGE_SIZE, _ENTRIES_AT_ONCE)
            self._pagemap.seek(position // PAGE_SIZE * _ENTRY_SIZE)
            entries = array("Q")
            entries.frombytes(self._pagemap.read(count * _ENTRY_SIZE))
            if not any(entries):  # the usual answer for a reservation, found at C's speed
                if run_start is not None:
                    yield AddressRange(run_start, position)
                    run_start = None
                position += count * PAGE_SIZE
                continue
            for entry in entries:
                if entry & _HAS_CONTENT:
                    if run_start is None:
                        run_start = position
                elif run_start is not None:
                    yield AddressRange(run_start, position)
                    run_start = None
                position += PAGE_SIZE
        if run_start is not None:
            yield AddressRange(run_start, wanted.end)


def _file_mappings() -> list[AddressRange]:
    """The host's mappings that have a file behind them, in order of address."""
    mappings = []
    maps = Path("/proc/self/maps")
    with maps.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
            if inode != "0":
                start, _, end = addresses.partition("-")
                mappings.append(AddressRange(int(start, 16), int(end, 16)))
    return mappings
