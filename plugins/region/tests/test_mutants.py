"""Providers with one thing wrong, each caught by the conformance test of the clause it breaks."""

import ctypes

import pytest

from theseus_kit.errors import (
    InvalidParameterError,
    OutOfMemoryError,
    PlatformError,
)
from theseus_kit.hookspecs import hookimpl
from theseus_kit.testing.conformance.memory_mapping import MappingConformance
from theseus_kit.testing.conformance.mutants import caught_by, escaped, mutants_in, unproved
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AlignedTo,
    AnyAddress,
    AtAddress,
    BytesBacking,
    FileBacking,
    Protection,
    WithinRange,
    ZeroBacking,
    page_floor,
)

from .mutant import Mutant

READ_WRITE = Protection.READ_WRITE
GIB = 1 << 30


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


MUTANTS = mutants_in(globals())


@pytest.mark.parametrize(
    ("mutant", "test"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS]
)
def test_a_wrong_provider_is_caught(mutant, test):
    assert escaped(mutant, test) == ""


def test_every_test_of_the_suite_catches_a_wrong_provider():
    assert unproved(MappingConformance, MUTANTS) == []
