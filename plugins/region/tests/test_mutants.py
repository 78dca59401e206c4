"""Providers with one thing wrong, each caught by the conformance test of the clause it breaks."""

import ctypes

import pytest

from theseus_kit.errors import (
    InvalidParameterError,
    OutOfMemoryError,
    PlatformError,
    UnmappedRegionError,
)
from theseus_kit.hookspecs import hookimpl
from theseus_kit.testing.conformance import MemoryMappingConformance
from theseus_kit.testing.conformance.mutants import caught_by, escaped, mutants_in, unproved
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AlignedTo,
    AnyAddress,
    AtAddress,
    BytesBacking,
    FileBacking,
    Protection,
    Region,
    WithinRange,
    ZeroBacking,
    page_ceil,
    page_floor,
)
from theseus_kit_region import RegionPlugin

READ_WRITE = Protection.READ_WRITE
GIB = 1 << 30


class Mutant(RegionPlugin):
    """What they have alike: the platform's own mappings are labelled, and are left alone, so
    that a platform there is."""

    def altered(self, request):
        return request

    @hookimpl
    def memory_map(self, request):
        return super().memory_map(request if request.label else self.altered(request))


@caught_by("test_new_pages_read_as_zero_and_keep_what_is_written")
class LeavesOldBytes(Mutant):
    @hookimpl
    def memory_map(self, request):
        region = super().memory_map(request)
        if not request.label and request.protection == READ_WRITE:
            self._memory.write(region.base + region.size - 4, b"junk")
        return region


@caught_by("test_a_size_is_rounded_up_to_whole_pages")
class KeepsTheSizeAsItIs(Mutant):
    @hookimpl
    def memory_map(self, request):
        return super().memory_map(request)._replace(size=request.size)


@caught_by("test_new_pages_allow_what_was_asked_for_and_nothing_else")
class CannotExpressNoAccess(Mutant):
    @hookimpl
    def memory_map(self, request):
        region = super().memory_map(request)
        if not request.label and not request.protection:
            self._memory.protect(region.base, region.size, Protection.READ)
        return region


@caught_by("test_mappings_that_are_placed_anywhere_lie_apart_inside_the_territory")
class GivesTheSamePlaceAgain(Mutant):
    last = None

    @hookimpl
    def memory_map(self, request):
        if not request.label and self.last is not None and request.placement == AnyAddress():
            request = request._replace(placement=AtAddress(self.last, replace=True))
        region = super().memory_map(request)
        if not request.label:
            self.last = region.base
        return region


@caught_by("test_what_is_returned_is_what_was_mapped_and_not_what_it_was_merged_with")
class ReturnsTheMergedRegion(Mutant):
    @hookimpl
    def memory_map(self, request):
        return self.memory_query(super().memory_map(request).base)


@caught_by("test_reserving_a_terabyte_costs_nothing_until_a_page_is_touched")
class TouchesWhatItReserves(Mutant):
    @hookimpl
    def memory_map(self, request):
        region = super().memory_map(request)
        if request.size > GIB and request.protection == READ_WRITE:
            self._memory.write(region.base, bytes(128 << 20))
        return region


@caught_by("test_a_mapping_without_access_is_reserved_until_access_is_given")
class NeverSaysReserved(Mutant):
    @hookimpl
    def memory_map(self, request):
        return super().memory_map(request)._replace(reserved=False)


@caught_by("test_an_exact_place_that_is_free_is_taken")
class TakesAnExactPlaceForAHint(Mutant):
    def altered(self, request):
        return request._replace(placement=AnyAddress())


@caught_by("test_an_exact_place_inside_a_page_is_rounded_out")
class RoundsAnExactPlaceDownOnly(Mutant):
    def altered(self, request):
        place = request.placement
        if not isinstance(place, AtAddress):
            return request
        return request._replace(placement=place._replace(address=page_floor(place.address)))


@caught_by("test_a_place_that_is_taken_in_part_is_refused_and_keeps_its_pages")
class ReplacesUnasked(Mutant):
    def altered(self, request):
        place = request.placement
        if not isinstance(place, AtAddress):
            return request
        return request._replace(placement=place._replace(replace=True))


@caught_by("test_replacing_discards_just_what_lies_in_the_way")
class KeepsWhatItReplaces(Mutant):
    @hookimpl
    def memory_map(self, request):
        place = request.placement
        if request.label or not isinstance(place, AtAddress) or not place.replace:
            return super().memory_map(request)
        kept = self._memory.read(place.address, PAGE_SIZE)
        region = super().memory_map(request)
        self._memory.protect(region.base, PAGE_SIZE, READ_WRITE)
        self._memory.write(region.base, kept)
        self._memory.protect(region.base, PAGE_SIZE, request.protection)
        return region


@caught_by("test_an_aligned_mapping_starts_at_a_multiple")
class IgnoresAlignment(Mutant):
    def altered(self, request):
        is_aligned = isinstance(request.placement, AlignedTo)
        return request._replace(placement=AnyAddress()) if is_aligned else request


@caught_by("test_a_bounded_mapping_lies_inside_its_bounds_or_is_refused")
class IgnoresBounds(Mutant):
    def altered(self, request):
        is_bounded = isinstance(request.placement, WithinRange)
        return request._replace(placement=AnyAddress()) if is_bounded else request


@caught_by("test_what_has_no_room_is_out_of_memory")
class SaysInvalidForNoRoom(Mutant):
    @hookimpl
    def memory_map(self, request):
        try:
            return super().memory_map(request)
        except OutOfMemoryError as error:
            raise InvalidParameterError(str(error)) from error


@caught_by("test_a_mapping_of_no_bytes_is_refused")
class MapsAPageForNoBytes(Mutant):
    def altered(self, request):
        return request._replace(size=max(request.size, 1))


@caught_by("test_a_place_that_runs_past_the_end_of_the_address_space_is_refused")
class SaysNoRoomForAnOverflow(Mutant):
    @hookimpl
    def memory_map(self, request):
        place = request.placement
        if isinstance(place, AtAddress) and place.address + request.size > 1 << 64:
            raise OutOfMemoryError
        return super().memory_map(request)


@caught_by("test_bytes_are_there_from_the_start_even_where_nothing_may_be_written")
class LeavesBytesWritable(Mutant):
    @hookimpl
    def memory_map(self, request):
        region = super().memory_map(request)
        if not request.label and isinstance(request.backing, BytesBacking):
            self._memory.protect(region.base, region.size, READ_WRITE)
        return region


@caught_by("test_a_file_is_mapped_from_its_offset_and_zero_past_its_end")
class MapsFilesFromTheirStart(Mutant):
    def altered(self, request):
        if isinstance(request.backing, FileBacking) and request.backing.offset == PAGE_SIZE:
            return request._replace(backing=request.backing._replace(offset=0))
        return request


@caught_by("test_what_is_written_to_a_file_s_pages_stays_out_of_the_file")
class SharesFilesPages(Mutant):
    @hookimpl
    def memory_map(self, request):
        region = super().memory_map(request)
        if not request.label and isinstance(request.backing, FileBacking):
            libc = ctypes.CDLL(None, use_errno=True)
            libc.mmap.restype = ctypes.c_void_p
            read_write, shared_and_fixed = 3, 0x11
            libc.mmap(
                *(ctypes.c_void_p(region.base), ctypes.c_size_t(region.size), read_write),
                *(shared_and_fixed, request.backing.descriptor, ctypes.c_long(0)),
            )
        return region


@caught_by("test_a_file_that_cannot_be_mapped_is_refused_and_nothing_is_mapped")
class LeavesPagesWhereAFileIsRefused(Mutant):
    @hookimpl
    def memory_map(self, request):
        try:
            return super().memory_map(request)
        except PlatformError:
            super().memory_map(request._replace(backing=ZeroBacking()))
            raise


@caught_by("test_a_label_and_shared_are_told_by_queries")
class ForgetsLabels(Mutant):
    @hookimpl
    def memory_query(self, address):
        return super().memory_query(address)._replace(label="")


@caught_by("test_a_guard_says_so_and_allows_nothing")
class TakesGuardsForPages(Mutant):
    def altered(self, request):
        return request._replace(guard=False)


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
    assert unproved(MemoryMappingConformance, MUTANTS) == []
