"""An image's place in guest memory: its reservation, its segments, their protections.

The whole span of the segments is reserved first, so that nothing else lands in the gaps; then each
segment is mapped over it, from the file and copied only where it is written::

    base + span start                                                     base + span end
    ├── r-- file ──┼╌ gap ╌┼── r-x file ──┼╌ gap ╌┼── rw- file │0│ zero pages ──┤
                     none                   none              ^ p_filesz       ^ p_memsz

While an image is relocated its writable segments are writable and the others have their final
protection already; no page is ever writable and executable at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit.image.elf import PT_GNU_RELRO, ElfFile, Segment
from theseus_kit.image.relocation import Target
from theseus_kit.image.segment_reader import Extent, SegmentReader
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AddressRange,
    AlignedTo,
    AnyAddress,
    AtAddress,
    FileBacking,
    MapRequest,
    Protection,
    page_ceil,
    page_floor,
)

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.image.objects.area import ObjectArea
    from theseus_kit.machine.protocol import Machine


class MappedSegments:
    """The segments of one file, in guest memory. Raises ImageError where the platform refuses.

    With an ``area`` they lie in it.
    """

    def __init__(
        self, elf: ElfFile, machine: Machine, hooks: HookRelay, area: ObjectArea | None = None
    ) -> None:
        self._elf = elf
        self._area = area
        self._view = machine.memory.view
        self._hooks = hooks
        self._text_is_writable = False
        start, end = elf.span
        alignment = elf.alignment
        placement = AnyAddress() if alignment == PAGE_SIZE else AlignedTo(alignment)
        request = MapRequest(end - start, Protection.NONE, placement, label=elf.name)
        try:
            if area is not None:
                base = area.take(end - start, alignment)
            else:
                base = hooks.memory_map(request=request).base
        except PlatformError as error:
            elf.fail(f"needs {end - start:#x} bytes of address space: {error}")
        self.range = AddressRange.of_size(base, end - start)
        """Everything from the first segment to the end of the last one, gaps included."""
        self.bias = base - start
        """What is added to the image's own addresses."""
        try:
            self._map_all()
        except BaseException:
            self.unmap()
            raise

    def targets(self) -> list[Target]:
        """The memory that relocations may change, at the image's own addresses."""
        return [
            Target(
                segment.address,
                segment.end,
                self._view[self.bias + segment.address : self.bias + segment.end],
            )
            for segment in self._elf.loads
            if segment.protection & Protection.WRITE or self._text_is_writable
        ]

    def reader(self) -> SegmentReader:
        """Read by the image's own addresses what guest memory holds of its segments."""
        extents = [
            Extent(segment.address, segment.end, self.bias + segment.address)
            for segment in self._elf.loads
        ]
        return SegmentReader(self._elf.path, self._view, extents)

    def is_readable(self, address: int) -> bool:
        """Whether guest code can read the segment that holds one of the image's own addresses."""
        return any(
            segment.address <= address < segment.end and segment.protection & Protection.READ
            for segment in self._elf.loads
        )

    def make_text_writable(self) -> None:
        """Let relocations change every segment; :meth:`protect` takes it back."""
        self._text_is_writable = True
        for segment in self._elf.loads:
            if not segment.protection & Protection.WRITE:
                self._protect(*segment.pages, Protection.READ_WRITE)

    def protect(self) -> None:
        """Give every segment its final protection, except what resolvers still have to write."""
        for segment in self._elf.loads:
            if segment.protection != self._protection_while_loading(segment):
                self._protect(*segment.pages, segment.protection)
        self._text_is_writable = False

    def protect_relocated(self) -> None:
        """Make read-only what is only written while loading (PT_GNU_RELRO)."""
        relro = self._elf.segment_of_type(PT_GNU_RELRO)
        if relro is None:
            return
        # Whole pages only, as glibc does it: the last one may be shared with variables.
        start, end = page_floor(relro.address), page_floor(relro.end)
        if start >= end:
            return
        first, behind = self._elf.span
        if start < first or end > behind:
            self._elf.fail(f"its read-only data at {relro.address:#x} lie outside its segments")
        self._protect(start, end, Protection.READ)

    def unmap(self) -> None:
        """Give the whole span back."""
        if self._area is not None:
            self._area.give_back(self.range)
            return
        self._hooks.memory_unmap(address=self.range.start, size=self.range.size)

    def _map_all(self) -> None:
        for segment in self._elf.loads:
            self._map(segment)

    def _map(self, segment: Segment) -> None:
        first, behind = segment.pages
        protection = self._protection_while_loading(segment)
        file_end = segment.address + segment.file_size
        zero_from = first
        if segment.file_size:
            zero_from = page_ceil(file_end)
            backing = FileBacking(self._elf.descriptor, page_floor(segment.offset))
            self._map_pages(first, zero_from, protection, backing)
            if segment.memory_size > segment.file_size:
                # The file goes on behind the segment; its variables start as zero.
                tail = self._view[self.bias + file_end : self.bias + zero_from]
                tail[:] = bytes(len(tail))
        if zero_from < behind:
            self._map_pages(zero_from, behind, protection, None)

    def _map_pages(
        self, start: int, end: int, protection: Protection, backing: FileBacking | None
    ) -> None:
        placement = AtAddress(self.bias + start, replace=True)
        label = self._elf.name
        if backing is None:
            request = MapRequest(end - start, protection, placement, label=label)
        else:
            request = MapRequest(end - start, protection, placement, backing, label)
        self._hooks.memory_map(request=request)

    def _protect(self, start: int, end: int, protection: Protection) -> None:
        self._hooks.memory_protect(
            address=self.bias + start, size=end - start, protection=protection
        )

    def _protection_while_loading(self, segment: Segment) -> Protection:
        if self._text_is_writable or (
            segment.memory_size > segment.file_size and not segment.protection & Protection.WRITE
        ):
            return Protection.READ_WRITE
        return segment.protection
