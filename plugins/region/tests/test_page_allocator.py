"""The page allocator: Theseus's requests and values, and a search that misses nothing."""

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from theseus_kit.errors import AddressInUseError, InvalidParameterError, OutOfMemoryError
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AddressRange,
    AlignedTo,
    AnyAddress,
    AtAddress,
    Placement,
    WithinRange,
)
from theseus_kit_region import AllocatedPages, PageAllocator

BASE = 0x10_0000_3000
PAGES = 64
TERRITORY = AddressRange(BASE, BASE + PAGES * PAGE_SIZE)


@pytest.fixture
def allocator() -> PageAllocator:
    return PageAllocator(TERRITORY)


def test_pages_placed_anywhere_come_from_the_lowest_free_addresses(
    allocator: PageAllocator,
) -> None:
    first, second = allocator.allocate(3), allocator.allocate(2)
    assert first.range == AddressRange(BASE, BASE + 3 * PAGE_SIZE)
    assert second.start_address == BASE + 3 * PAGE_SIZE
    assert second.size_in_pages == 2


def test_an_allocation_of_no_pages_is_refused(allocator: PageAllocator) -> None:
    with pytest.raises(InvalidParameterError):
        allocator.allocate(0)
    with pytest.raises(InvalidParameterError):
        allocator.allocate_by_bytes(0, AtAddress(BASE + 5))


def test_bytes_are_rounded_up_to_pages(allocator: PageAllocator) -> None:
    assert allocator.allocate_by_bytes(1).size_in_bytes == PAGE_SIZE
    assert allocator.allocate_by_bytes(PAGE_SIZE + 1).size_in_pages == 2


def test_bytes_at_an_address_are_counted_from_that_very_address(allocator: PageAllocator) -> None:
    pages = allocator.allocate_by_bytes(PAGE_SIZE, AtAddress(BASE + PAGE_SIZE + 1))
    assert pages.start_address == BASE + PAGE_SIZE
    assert pages.size_in_pages == 2


def test_an_address_that_is_taken_is_refused(allocator: PageAllocator) -> None:
    allocator.allocate(1, AtAddress(BASE + 4 * PAGE_SIZE))
    with pytest.raises(AddressInUseError):
        allocator.allocate(3, AtAddress(BASE + 2 * PAGE_SIZE))


def test_an_address_outside_the_territory_is_no_memory(allocator: PageAllocator) -> None:
    with pytest.raises(OutOfMemoryError):
        allocator.allocate(1, AtAddress(BASE - PAGE_SIZE))
    with pytest.raises(OutOfMemoryError):
        allocator.allocate(2, AtAddress(TERRITORY.end - PAGE_SIZE))


def test_aligned_pages_start_at_a_multiple_of_the_alignment(allocator: PageAllocator) -> None:
    pages = allocator.allocate(2, AlignedTo(8 * PAGE_SIZE))
    assert pages.start_address % (8 * PAGE_SIZE) == 0


@pytest.mark.parametrize("alignment", [0, 1, 2048, 3 * PAGE_SIZE, -PAGE_SIZE])
def test_an_alignment_that_is_no_power_of_two_of_pages_is_refused(
    allocator: PageAllocator, alignment: int
) -> None:
    with pytest.raises(InvalidParameterError):
        allocator.allocate(1, AlignedTo(alignment))


def test_an_aligned_range_is_found_even_where_only_a_tight_one_is_left() -> None:
    start = 16 * PAGE_SIZE
    allocator = PageAllocator(AddressRange(start, start + 16 * PAGE_SIZE))
    allocator.claim(start + 10 * PAGE_SIZE, start + 16 * PAGE_SIZE)
    allocator.claim(start, start + 8 * PAGE_SIZE)
    assert allocator.allocate(2, AlignedTo(8 * PAGE_SIZE)).start_address == start + 8 * PAGE_SIZE


def test_a_request_within_a_range_stays_inside_it(allocator: PageAllocator) -> None:
    bounds = AddressRange(BASE + 5 * PAGE_SIZE + 1, BASE + 9 * PAGE_SIZE - 1)
    assert allocator.allocate(2, WithinRange(bounds)).start_address == BASE + 6 * PAGE_SIZE
    with pytest.raises(OutOfMemoryError):
        allocator.allocate(1, WithinRange(bounds))


def test_a_range_as_large_as_the_request_is_enough(allocator: PageAllocator) -> None:
    assert allocator.allocate(PAGES).range == TERRITORY


def test_guard_gaps_separate_pages_until_there_is_no_room_for_them() -> None:
    allocator = PageAllocator(AddressRange(0, 8 * PAGE_SIZE), guard_gap=1)
    starts = [allocator.allocate(1).start_address // PAGE_SIZE for _ in range(8)]
    assert starts[:3] == [1, 3, 5]
    assert sorted(starts) == list(range(8))


def test_splitting_gives_two_owners_of_the_same_pages(allocator: PageAllocator) -> None:
    pages = allocator.allocate(5)
    first, second = pages.split(BASE + 2 * PAGE_SIZE)
    assert (first.size_in_pages, second.size_in_pages) == (2, 3)
    assert second.start_address == first.range.end
    pages.free()
    assert not allocator.is_free(BASE, BASE + PAGE_SIZE)


def test_splitting_at_either_end_leaves_one_side_empty(allocator: PageAllocator) -> None:
    empty, whole = allocator.allocate(2).split(BASE)
    assert (empty.size_in_pages, whole.size_in_pages) == (0, 2)
    whole, empty = whole.split(BASE + 2 * PAGE_SIZE)
    assert (whole.size_in_pages, empty.size_in_pages) == (2, 0)


@pytest.mark.parametrize("at", [BASE - PAGE_SIZE, BASE + 3 * PAGE_SIZE, BASE + 1])
def test_splitting_elsewhere_is_refused_and_keeps_the_pages(
    allocator: PageAllocator, at: int
) -> None:
    pages = allocator.allocate(2)
    with pytest.raises(InvalidParameterError):
        pages.split(at)
    assert pages.size_in_pages == 2


def test_merging_takes_over_the_pages_that_follow(allocator: PageAllocator) -> None:
    first, second = allocator.allocate(5).split(BASE + 2 * PAGE_SIZE)
    assert first.merge(second) is None
    assert first.size_in_pages == 5
    assert second.size_in_pages == 0


def test_pages_that_do_not_follow_come_back_from_a_merge(allocator: PageAllocator) -> None:
    first, second = allocator.allocate(5).split(BASE + 2 * PAGE_SIZE)
    assert second.merge(first) is first
    assert (first.size_in_pages, second.size_in_pages) == (2, 3)


def test_pages_of_another_allocator_come_back_from_a_merge(allocator: PageAllocator) -> None:
    other = PageAllocator(TERRITORY)
    other.claim(BASE, BASE + PAGE_SIZE)
    stranger = other.allocate(1)
    assert allocator.allocate(1).merge(stranger) is stranger


def test_freed_pages_coalesce_with_their_neighbours(allocator: PageAllocator) -> None:
    pages = [allocator.allocate(1) for _ in range(PAGES)]
    assert not list(allocator.free_ranges())
    for owned in pages[::2] + pages[1::2]:
        owned.free()
    assert list(allocator.free_ranges()) == [TERRITORY]


def test_leaving_a_with_block_frees_pages(allocator: PageAllocator) -> None:
    with allocator.allocate(PAGES) as pages:
        assert pages.size_in_pages == PAGES
    assert list(allocator.free_ranges()) == [TERRITORY]


def test_freeing_twice_frees_nobody_elses_pages(allocator: PageAllocator) -> None:
    pages = allocator.allocate(1)
    pages.free()
    again = allocator.allocate(1)
    pages.free()
    assert not allocator.is_free(again.start_address, again.range.end)


def test_a_range_taken_out_of_an_owner_is_not_freed_with_it(allocator: PageAllocator) -> None:
    with allocator.allocate(2) as pages:
        taken = pages.into_range()
    assert not allocator.is_free(taken.start, taken.end)


def test_a_territory_without_a_whole_page_is_refused() -> None:
    with pytest.raises(InvalidParameterError):
        PageAllocator(AddressRange(1, 2 * PAGE_SIZE - 1))


def placements() -> st.SearchStrategy[Placement]:
    addresses = st.integers(BASE - PAGE_SIZE, TERRITORY.end)
    return st.one_of(
        st.just(AnyAddress()),
        st.builds(lambda page: AtAddress(BASE + page * PAGE_SIZE), st.integers(-1, PAGES)),
        st.builds(lambda power: AlignedTo(PAGE_SIZE << power), st.integers(0, 5)),
        st.builds(
            lambda a, b: WithinRange(AddressRange(min(a, b), max(a, b))), addresses, addresses
        ),
    )


class PageAllocatorMachine(RuleBasedStateMachine):
    """Against a set of the page numbers that are taken, searched page by page."""

    owned = Bundle("owned")

    def __init__(self) -> None:
        super().__init__()
        self.allocator = PageAllocator(TERRITORY)
        self.taken: set[int] = set()

    def pages_of(self, pages: AllocatedPages) -> set[int]:
        return set(range(pages.start_address, pages.range.end, PAGE_SIZE))

    def possible_starts(self, pages: int, placement: Placement) -> list[int]:
        starts = []
        for start in range(BASE, TERRITORY.end - pages * PAGE_SIZE + 1, PAGE_SIZE):
            wanted = AddressRange.of_size(start, pages * PAGE_SIZE)
            if isinstance(placement, AtAddress) and start != placement.address:
                continue
            if isinstance(placement, AlignedTo) and start % placement.alignment:
                continue
            if isinstance(placement, WithinRange) and not (
                placement.bounds.start <= start and wanted.end <= placement.bounds.end
            ):
                continue
            if self.taken.isdisjoint(range(wanted.start, wanted.end, PAGE_SIZE)):
                starts.append(start)
        return starts

    @rule(target=owned, pages=st.integers(1, 12), placement=placements())
    def allocate(self, pages: int, placement: Placement) -> object:
        possible = self.possible_starts(pages, placement)
        try:
            got = self.allocator.allocate(pages, placement)
        except (AddressInUseError, OutOfMemoryError):
            assert not possible
            return multiple()
        if isinstance(placement, AlignedTo) and placement.alignment > PAGE_SIZE:
            assert got.start_address in possible
        else:
            assert got.start_address == possible[0]
        assert got.size_in_pages == pages
        self.taken |= self.pages_of(got)
        return got

    @rule(pages=consumes(owned))
    def free(self, pages: AllocatedPages) -> None:
        self.taken -= self.pages_of(pages)
        pages.free()

    @rule(target=owned, pages=consumes(owned), at=st.integers(0, 12))
    def split(self, pages: AllocatedPages, at: int) -> object:
        cut = pages.start_address + min(at, pages.size_in_pages) * PAGE_SIZE
        if not pages.size_in_pages:
            return multiple()
        return multiple(*pages.split(cut))

    @rule(target=owned, pages=consumes(owned), other=consumes(owned))
    def merge(self, pages: AllocatedPages, other: AllocatedPages) -> object:
        follows = pages.range.end == other.start_address
        expected = self.pages_of(pages) | self.pages_of(other)
        if pages.merge(other) is None:
            assert follows
            assert self.pages_of(pages) == expected
            return pages
        assert not follows
        return multiple(pages, other)

    @invariant()
    def free_ranges_are_what_nobody_has_and_never_touch(self) -> None:
        ranges = list(self.allocator.free_ranges())
        free = {page for r in ranges for page in range(r.start, r.end, PAGE_SIZE)}
        assert free == set(range(BASE, TERRITORY.end, PAGE_SIZE)) - self.taken
        assert all(a.end < b.start for a, b in pairwise(ranges))


TestPageAllocatorAgainstAPageSet = PageAllocatorMachine.TestCase
TestPageAllocatorAgainstAPageSet.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None
)
