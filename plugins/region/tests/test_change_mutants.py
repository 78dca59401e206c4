"""The same for the hooks that change, query and lock what is mapped: each mutant is caught."""

import pytest

from theseus_kit.errors import (
    InvalidParameterError,
    UnmappedRegionError,
)
from theseus_kit.hookspecs import hookimpl
from theseus_kit.testing.conformance import MemoryMappingConformance
from theseus_kit.testing.conformance.memory_mapping import MappingConformance
from theseus_kit.testing.conformance.mutants import caught_by, escaped, mutants_in, unproved
from theseus_kit.testing.conformance.suite import names_of_tests
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AtAddress,
    Protection,
    Region,
    page_ceil,
    page_floor,
)

from .mutant import Mutant

READ_WRITE = Protection.READ_WRITE
GIB = 1 << 30


@caught_by("test_protecting_part_of_a_region_splits_it")
class ProtectsTheWholeMapping(Mutant):
    @hookimpl
    def memory_protect(self, address, size, protection):
        region = super().memory_query(address)
        if not region.label:
            address, size = region.base, max(size, region.size)
        super().memory_protect(address, size, protection)


@caught_by("test_a_change_of_protection_is_all_that_allows_from_then_on")
class NeverTakesAccessAway(Mutant):
    @hookimpl
    def memory_protect(self, address, size, protection):
        old = super().memory_query(address)
        super().memory_protect(address, size, protection if old.label else old.protection)


@caught_by("test_protecting_two_bytes_across_a_boundary_changes_both_pages_and_no_other")
class RoundsAddressAndSizeApart(Mutant):
    @hookimpl
    def memory_protect(self, address, size, protection):
        super().memory_protect(page_floor(address), page_ceil(size), protection)


@caught_by("test_one_change_of_protection_spans_regions")
class ProtectsOneRegionOnly(Mutant):
    @hookimpl
    def memory_protect(self, address, size, protection):
        end = super().memory_query(address).range.end
        super().memory_protect(address, min(size, end - address), protection)


@caught_by("test_protecting_an_unmapped_page_is_refused_and_changes_no_page")
class ProtectsUpToTheHole(Mutant):
    @hookimpl
    def memory_protect(self, address, size, protection):
        try:
            super().memory_protect(address, size, protection)
        except UnmappedRegionError:
            super().memory_protect(address, PAGE_SIZE, protection)
            raise


@caught_by("test_more_than_the_maximum_is_denied_and_changes_nothing")
class IgnoresTheMaximum(Mutant):
    def altered(self, request):
        return request._replace(max_protection=Protection.READ_WRITE_EXECUTE)


@caught_by("test_guest_code_faults_at_the_exact_byte_from_its_next_access_on")
class DoesNotTellTheMachine(Mutant):
    @hookimpl
    def memory_protect(self, address, size, protection):
        pieces = self._regions.mapped_pieces(address, address + size)
        changed = [(base, length, old.protected(protection)) for base, length, old in pieces]
        self._regions.replace(address, address + size, changed)


@caught_by("test_unmapped_pages_fault_and_are_not_found")
class LeavesUnmappedPagesAccessible(Mutant):
    def _drop(self, start, end):
        self._regions.replace(start, end, ())
        self._pages.release(start, end)


@caught_by("test_unmapping_the_middle_leaves_both_sides_as_they_were")
class UnmapsTheWholeMapping(Mutant):
    @hookimpl
    def memory_unmap(self, address, size):
        found = super().memory_query_range(address, size)
        for region in found:
            super().memory_unmap(region.base, region.size)


@caught_by("test_unmapping_over_holes_and_again_is_no_error")
class RefusesToUnmapNothing(Mutant):
    @hookimpl
    def memory_unmap(self, address, size):
        if not super().memory_query_range(address, size):
            raise InvalidParameterError("nothing is mapped")
        super().memory_unmap(address, size)


@caught_by("test_one_unmapping_takes_the_pages_of_many_regions")
class UnmapsOneRegionOnly(Mutant):
    @hookimpl
    def memory_unmap(self, address, size):
        for region in super().memory_query_range(address, size)[:1]:
            super().memory_unmap(address, min(size, region.range.end - address))


@caught_by("test_addresses_that_were_unmapped_can_be_mapped_again_and_read_as_zero")
class RemembersWhatWasUnmapped(Mutant):
    def _drop(self, start, end):
        self.old = start, self._memory.read(start, 3) if end - start == PAGE_SIZE else b""
        super()._drop(start, end)

    @hookimpl
    def memory_map(self, request):
        region = super().memory_map(request)
        if request.placement == AtAddress(getattr(self, "old", (0, b""))[0]):
            self._memory.write(region.base, self.old[1])
        return region


@caught_by("test_discarded_pages_read_as_zero_and_keep_their_protection")
class DiscardsProtectionsToo(Mutant):
    @hookimpl
    def memory_discard(self, address, size):
        super().memory_discard(address, size)
        self._memory.protect(page_floor(address), page_ceil(size), READ_WRITE)


@caught_by("test_discarded_pages_of_bytes_read_as_zero")
class BringsBytesBack(Mutant):
    @hookimpl
    def memory_discard(self, address, size):
        kept = self._memory.read(address, 5)
        super().memory_discard(address, size)
        self._memory.write(address, kept)


@caught_by("test_discarded_pages_of_a_file_read_as_the_file")
class DiscardsToZeroAlways(Mutant):
    @hookimpl
    def memory_discard(self, address, size):
        self._memory.map(address, size, super().memory_query(address).protection)


@caught_by("test_discarded_pages_give_their_memory_back")
class WritesZerosInsteadOfDiscarding(Mutant):
    @hookimpl
    def memory_discard(self, address, size):
        super().memory_query(address)
        self._memory.write(address, bytes(size))


@caught_by("test_discarding_an_unmapped_page_is_refused_and_discards_nothing")
class DiscardsAroundHoles(Mutant):
    @hookimpl
    def memory_discard(self, address, size):
        for region in super().memory_query_range(address, size):
            super().memory_discard(region.base, region.size)


@caught_by("test_a_query_finds_the_region_from_its_first_byte_to_its_last")
class MissesTheLastByte(Mutant):
    @hookimpl
    def memory_query(self, address):
        return super().memory_query(address + 1)


@caught_by("test_a_query_of_what_is_not_mapped_is_refused")
class FindsEmptyRegions(Mutant):
    @hookimpl
    def memory_query(self, address):
        try:
            return super().memory_query(address)
        except UnmappedRegionError:
            return Region(page_floor(address), 0, Protection.NONE)


@caught_by("test_a_range_query_tells_whole_regions_in_order")
class CutsRegionsToTheRange(Mutant):
    @hookimpl
    def memory_query_range(self, address, size):
        found = super().memory_query_range(address, size)
        return [
            region._replace(
                base=max(region.base, address),
                size=min(region.range.end, address + size) - max(region.base, address),
            )
            for region in found
        ]


@caught_by("test_a_range_of_no_bytes_is_refused_by_every_hook")
class UnmapsNoBytesHappily(Mutant):
    @hookimpl
    def memory_unmap(self, address, size):
        if size:
            super().memory_unmap(address, size)


@caught_by("test_a_range_past_the_end_of_the_address_space_is_refused")
class CutsOverflowingRanges(Mutant):
    @hookimpl
    def memory_unmap(self, address, size):
        super().memory_unmap(address, min(size, (1 << 64) - address))


@caught_by("test_locked_pages_are_locked_on_the_host_until_they_are_unlocked")
class LocksNothing(Mutant):
    @hookimpl
    def memory_lock(self, address, size):
        super().memory_query(address)


@caught_by("test_locking_and_unlocking_an_unmapped_page_is_refused")
class LocksWhatIsNotThere(Mutant):
    @hookimpl
    def memory_lock(self, address, size):
        super().memory_query(address)

    @hookimpl
    def memory_unlock(self, address, size):
        super().memory_query(address)


@caught_by("test_a_linear_memory_grows_as_wasmtime_grows_it")
class MapsAfreshWhereAccessIsGiven(Mutant):
    @hookimpl
    def memory_protect(self, address, size, protection):
        super().memory_protect(address, size, protection)
        if not super().memory_query(address).label and protection == READ_WRITE:
            self._memory.map(address, size, protection)


@caught_by("test_wasmtime_grows_a_memory_and_traps_beyond_it")
class GivesAccessToReservations(Mutant):
    @hookimpl
    def memory_map(self, request):
        region = super().memory_map(request)
        if request.size > GIB:
            self._memory.protect(region.base, region.size, READ_WRITE)
        return region


MUTANTS = mutants_in(globals())


@pytest.mark.parametrize(
    ("mutant", "test"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS]
)
def test_a_wrong_provider_is_caught(mutant, test):
    assert escaped(mutant, test) == ""


def test_every_test_of_the_suite_catches_a_wrong_provider():
    others = set(names_of_tests(MappingConformance))
    assert set(unproved(MemoryMappingConformance, MUTANTS)) - others == set()
