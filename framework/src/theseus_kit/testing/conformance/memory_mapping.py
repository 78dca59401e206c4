"""Conformance of memory mapping: what is mapped where, with what behind it.

The other hooks, which change what is mapped, are
:mod:`~theseus_kit.testing.conformance.memory_changes`'s; authors inherit both as
``MemoryMappingConformance``.
"""

from __future__ import annotations

import errno
import os
import tempfile
from itertools import pairwise

from theseus_kit.capabilities import Capability
from theseus_kit.errors import (
    AddressInUseError,
    InvalidParameterError,
    MemoryFaultError,
    OutOfMemoryError,
    PlatformError,
)
from theseus_kit.hookspecs import Group, MemoryMapping
from theseus_kit.testing.conformance.host import resident_bytes
from theseus_kit.testing.conformance.suite import Conformance, clause, needs
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AddressRange,
    AlignedTo,
    AnyAddress,
    AtAddress,
    BytesBacking,
    FileBacking,
    MapRequest,
    Protection,
    Region,
    WithinRange,
    ZeroBacking,
)

NONE, READ, READ_WRITE = Protection.NONE, Protection.READ, Protection.READ_WRITE
READ_EXECUTE = Protection.READ_EXECUTE
GIB = 1 << 30
PAGE = PAGE_SIZE
EVERYTHING = (1 << 64) - 1
"""The size of a range from address 0 that holds all."""


class MappingConformance(Conformance):
    """What ``memory_map`` answers, and what all of the group's hooks have alike."""

    group = Group.MEMORY_MAPPING

    def map(self, request: MapRequest) -> Region:
        region: Region = self.hooks.memory_map(request=request)
        return region

    def regions(self) -> list[Region]:
        """Everything that is mapped."""
        return list(self.hooks.memory_query_range(address=0, size=EVERYTHING))

    def allows(self, address: int, protection: Protection) -> bool:
        """Whether guest code could make these accesses to a byte."""
        try:
            self.memory.check(address, 1, protection)
        except MemoryFaultError:
            return False
        return True

    def free_pages(self, count: int) -> int:
        """The address of so many pages that were mapped a moment ago and are free now."""
        region = self.map(MapRequest(count * PAGE, NONE))
        self.hooks.memory_unmap(address=region.base, size=region.size)
        return region.base

    @clause(MemoryMapping.memory_map, "Map new pages and return them")
    @clause(ZeroBacking, "Pages read as zero until written")
    def test_new_pages_read_as_zero_and_keep_what_is_written(self) -> None:
        region = self.map(MapRequest(3 * PAGE))
        assert self.memory.read(region.base, 3 * PAGE) == bytes(3 * PAGE)
        self.memory.write(region.base + PAGE - 2, b"over")
        assert self.memory.read(region.base + PAGE - 2, 4) == b"over"

    @clause(MapRequest, "``size`` in bytes is rounded up to whole pages")
    def test_a_size_is_rounded_up_to_whole_pages(self) -> None:
        for size, pages in ((1, 1), (PAGE, 1), (PAGE + 1, 2), (3 * PAGE - 1, 3)):
            region = self.map(MapRequest(size))
            assert region.base % PAGE == 0
            assert region.size == pages * PAGE
            assert self.memory.read(region.base + region.size - 1, 1) == b"\0"

    @clause(Protection, "What guest code may do with a page")
    def test_new_pages_allow_what_was_asked_for_and_nothing_else(self) -> None:
        for protection in (NONE, READ, READ_WRITE, READ_EXECUTE):
            region = self.map(MapRequest(2 * PAGE, protection))
            assert region.protection == protection
            for address in (region.base, region.base + region.size - 1):
                for access in (READ, Protection.WRITE, Protection.EXECUTE):
                    assert self.allows(address, access) == bool(protection & access)

    @clause(AnyAddress, "Place the mapping wherever there is room")
    def test_mappings_that_are_placed_anywhere_lie_apart_inside_the_territory(self) -> None:
        regions = [self.map(MapRequest(size * PAGE)) for size in (1, 5, 2, 1, 9)]
        territory = self.memory.territory
        for region in regions:
            assert territory.start <= region.base
            assert region.range.end <= territory.end
        for lower, upper in pairwise(sorted(regions, key=lambda region: region.base)):
            assert lower.range.end <= upper.base

    @clause(MemoryMapping.memory_map, "return them")
    @clause(Region, "Neighbours that are alike may be merged by the provider")
    def test_what_is_returned_is_what_was_mapped_and_not_what_it_was_merged_with(self) -> None:
        base = self.free_pages(2)
        for page in (base, base + PAGE):
            region = self.map(MapRequest(PAGE, placement=AtAddress(page)))
            assert (region.base, region.size) == (page, PAGE)

    @clause(MemoryMapping.memory_map, "reserving costs nothing until pages are touched")
    @clause(ZeroBacking, "cost nothing until touched")
    def test_reserving_a_terabyte_costs_nothing_until_a_page_is_touched(self) -> None:
        self.map(MapRequest(PAGE))
        before = resident_bytes()
        for protection in (NONE, READ_WRITE):
            region = self.map(MapRequest(512 * GIB, protection))
            assert region.size == 512 * GIB
        self.memory.write(region.base + 300 * GIB, b"touched")
        assert self.memory.read(region.base + 300 * GIB, 8) == b"touched\0"
        assert resident_bytes() - before < 64 << 20

    @clause(Region, "Addresses are taken but nothing was committed")
    def test_a_mapping_without_access_is_reserved_until_access_is_given(self) -> None:
        region = self.map(MapRequest(PAGE, NONE))
        assert region.reserved
        assert self.hooks.memory_query(address=region.base).reserved
        assert not self.map(MapRequest(PAGE, READ)).reserved
        self.hooks.memory_protect(address=region.base, size=PAGE, protection=READ_WRITE)
        self.hooks.memory_protect(address=region.base, size=PAGE, protection=NONE)
        assert not self.hooks.memory_query(address=region.base).reserved

    @clause(AtAddress, "Place the mapping exactly here")
    def test_an_exact_place_that_is_free_is_taken(self) -> None:
        address = self.free_pages(64) + 32 * PAGE  # where nothing would be placed by itself
        region = self.map(MapRequest(2 * PAGE, placement=AtAddress(address)))
        assert (region.base, region.size) == (address, 2 * PAGE)

    @clause(MemoryMapping, "Ranges are rounded out to whole pages")
    def test_an_exact_place_inside_a_page_is_rounded_out(self) -> None:
        address = self.free_pages(3)
        region = self.map(MapRequest(PAGE, placement=AtAddress(address + 1)))
        assert (region.base, region.size) == (address, 2 * PAGE)

    @needs(Capability.EXACT_PLACEMENT)
    @clause(AtAddress, "a taken address is an error (MAP_FIXED_NOREPLACE)")
    @clause(MemoryMapping.memory_map, "AddressInUseError")
    def test_a_place_that_is_taken_in_part_is_refused_and_keeps_its_pages(self) -> None:
        base = self.free_pages(3)
        self.map(MapRequest(PAGE, placement=AtAddress(base + PAGE)))
        self.memory.write(base + PAGE, b"kept")
        for address, size in ((base + PAGE, PAGE), (base, 2 * PAGE), (base + PAGE, 2 * PAGE)):
            before = self.regions()
            with self.refused(AddressInUseError, errno.EEXIST):
                self.map(MapRequest(size, placement=AtAddress(address)))
            assert self.regions() == before
        assert self.memory.read(base + PAGE, 4) == b"kept"

    @clause(AtAddress, "With ``replace`` whatever was mapped there is discarded first")
    def test_replacing_discards_just_what_lies_in_the_way(self) -> None:
        base = self.free_pages(4)
        self.map(MapRequest(3 * PAGE, placement=AtAddress(base)))
        self.memory.write(base, b"x" * 3 * PAGE)
        place = AtAddress(base + PAGE, replace=True)
        region = self.map(MapRequest(3 * PAGE, READ, place))
        assert region.range == AddressRange(base + PAGE, base + 4 * PAGE)
        assert self.memory.read(base, PAGE) == b"x" * PAGE
        assert self.memory.read(base + PAGE, 3 * PAGE) == bytes(3 * PAGE)
        assert self.allows(base, READ_WRITE)
        assert not self.allows(base + PAGE, READ_WRITE)

    @clause(AlignedTo, "Place the mapping at a multiple of ``alignment`` bytes")
    def test_an_aligned_mapping_starts_at_a_multiple(self) -> None:
        for alignment in (PAGE, 1 << 16, 2 << 20, GIB):
            region = self.map(MapRequest(PAGE, placement=AlignedTo(alignment)))
            assert region.base % alignment == 0

    @needs(Capability.PLACEMENT_BOUNDS)
    @clause(WithinRange, "Place the mapping wholly inside ``bounds``")
    def test_a_bounded_mapping_lies_inside_its_bounds_or_is_refused(self) -> None:
        base = self.free_pages(8)
        bounds = AddressRange(base + PAGE, base + 4 * PAGE)
        for _ in range(3):
            region = self.map(MapRequest(PAGE, placement=WithinRange(bounds)))
            assert bounds.start <= region.base
            assert region.range.end <= bounds.end
        with self.refused(OutOfMemoryError, errno.ENOMEM):
            self.map(MapRequest(PAGE, placement=WithinRange(bounds)))

    @clause(MemoryMapping.memory_map, "OutOfMemoryError")
    @clause(OutOfMemoryError, "No room that fits the request (ENOMEM)")
    def test_what_has_no_room_is_out_of_memory(self) -> None:
        size = self.memory.territory.size
        with self.refused(OutOfMemoryError, errno.ENOMEM):
            self.map(MapRequest(size + PAGE, NONE))
        for replace in (False, True):
            with self.refused(OutOfMemoryError, errno.ENOMEM):
                self.map(MapRequest(PAGE, placement=AtAddress(16 * PAGE, replace)))

    @clause(MemoryMapping.memory_map, "Raises InvalidParameterError")
    @clause(InvalidParameterError, "A size of zero")
    def test_a_mapping_of_no_bytes_is_refused(self) -> None:
        before = self.regions()
        with self.refused(InvalidParameterError, errno.EINVAL):
            self.map(MapRequest(0))
        assert self.regions() == before

    @clause(InvalidParameterError, "an overflowing range")
    def test_a_place_that_runs_past_the_end_of_the_address_space_is_refused(self) -> None:
        place = AtAddress((1 << 64) - PAGE)
        with self.refused(InvalidParameterError, errno.EINVAL):
            self.map(MapRequest(2 * PAGE, placement=place))

    @clause(BytesBacking, "The mapping starts with a copy of ``data``; the rest of it is zero")
    def test_bytes_are_there_from_the_start_even_where_nothing_may_be_written(self) -> None:
        data = bytearray(b"\xc3" * 5)
        for protection in (READ, READ_EXECUTE):
            request = MapRequest(2 * PAGE, protection, backing=BytesBacking(memoryview(data)))
            region = self.map(request)
            data[0] ^= 0xFF  # a copy does not see this
            assert self.memory.read(region.base, 2 * PAGE)[1:] == b"\xc3" * 4 + bytes(2 * PAGE - 5)
            assert self.memory.read(region.base, 1) != data[:1]
            assert not self.allows(region.base, Protection.WRITE)

    @needs(Capability.FILE_BACKING)
    @clause(FileBacking, "``offset`` is in bytes, a multiple of the page size")
    @clause(FileBacking, "Bytes past the file's end read as zero")
    @clause(FileBacking, "need stay open only during the call")
    def test_a_file_is_mapped_from_its_offset_and_zero_past_its_end(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(b"a" * PAGE + b"b" * 10)
            file.flush()
            backing = FileBacking(file.fileno(), PAGE)
            region = self.map(MapRequest(2 * PAGE, READ, backing=backing))
        assert self.memory.read(region.base, 2 * PAGE) == b"b" * 10 + bytes(2 * PAGE - 10)

    @needs(Capability.FILE_BACKING)
    @clause(FileBacking, "A private (copy-on-write) mapping of a host file")
    def test_what_is_written_to_a_file_s_pages_stays_out_of_the_file(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(b"file" * 1024)
            file.flush()
            backing = FileBacking(file.fileno())
            first, second = (self.map(MapRequest(PAGE, backing=backing)) for _ in range(2))
            self.memory.write(first.base, b"mine")
            assert os.pread(file.fileno(), 8, 0) == b"filefile"
        assert self.memory.read(first.base, 8) == b"minefile"
        assert self.memory.read(second.base, 8) == b"filefile"

    @needs(Capability.FILE_BACKING)
    @clause(FileBacking, "a multiple of the page size")
    def test_a_file_that_cannot_be_mapped_is_refused_and_nothing_is_mapped(self) -> None:
        before = self.regions()
        with tempfile.TemporaryFile() as file, self.refused(InvalidParameterError, errno.EINVAL):
            self.map(MapRequest(PAGE, READ, backing=FileBacking(file.fileno(), 5)))
        with self.refused(PlatformError, errno.EBADF):
            self.map(MapRequest(PAGE, READ, backing=FileBacking(-1)))
        assert self.regions() == before

    @needs(Capability.LABELS)
    @clause(MapRequest, "What the region is for, shown to people")
    @clause(MapRequest, "so only queries tell")
    def test_a_label_and_shared_are_told_by_queries(self) -> None:
        for label, shared in (("a heap", False), ("another", True)):
            region = self.map(MapRequest(PAGE, label=label, shared=shared))
            found = self.hooks.memory_query(address=region.base)
            assert (region.label, found.label) == (label, label)
            assert (region.shared, found.shared) == (shared, shared)

    @needs(Capability.LABELS)
    @clause(MapRequest, "The region is there to fault when it is touched")
    @clause(MapRequest, "its protection must be NONE")
    def test_a_guard_says_so_and_allows_nothing(self) -> None:
        guard = self.map(MapRequest(PAGE, NONE, guard=True))
        assert self.hooks.memory_query(address=guard.base).guarded
        assert not self.allows(guard.base, READ)
        assert not self.hooks.memory_query(address=self.map(MapRequest(PAGE)).base).guarded
        with self.refused(InvalidParameterError, errno.EINVAL):
            self.map(MapRequest(PAGE, READ, guard=True))
