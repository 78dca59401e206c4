"""region-rs's operations: its own test cases, and what Python decides where Rust drops."""

from typing import Any

import pytest

from theseus_kit.errors import InvalidParameterError, UnmappedRegionError
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, AlignedTo, Protection
from theseus_kit_region import RegionOperations

NONE, READ, READ_WRITE = Protection.NONE, Protection.READ, Protection.READ_WRITE
READ_EXECUTE = Protection.READ_EXECUTE


@pytest.fixture
def region(mapped: Any) -> RegionOperations:
    operations: RegionOperations = mapped.operations
    return operations


def alloc_pages(region: RegionOperations, protections: list[Protection]) -> int:
    base, _ = region.alloc(len(protections) * PAGE_SIZE, NONE).into_raw_parts()
    for index, protection in enumerate(protections):
        region.protect(base + index * PAGE_SIZE, PAGE_SIZE, protection)
    return base


def test_alloc_size_is_aligned_to_page_size(region: RegionOperations) -> None:
    assert len(region.alloc(1, NONE)) == region.page.size()


def test_alloc_rejects_empty_allocation(region: RegionOperations) -> None:
    with pytest.raises(InvalidParameterError):
        region.alloc(0, NONE)
    with pytest.raises(InvalidParameterError):
        region.alloc_at(PAGE_SIZE, 0, NONE)


def test_alloc_obtains_correct_properties(region: RegionOperations) -> None:
    memory = region.alloc(1, READ_WRITE)
    found = region.query(memory.base)
    assert found.protection == READ_WRITE
    assert found.size >= len(memory)
    assert not found.guarded
    assert not found.shared
    assert found.is_committed


def test_alloc_frees_memory_when_closed(region: RegionOperations) -> None:
    with region.alloc(1, READ_WRITE) as memory:
        region.query(memory.base)
    with pytest.raises(UnmappedRegionError):
        region.query(memory.base)


def test_closing_an_allocation_twice_frees_nobody_elses_pages(region: RegionOperations) -> None:
    memory = region.alloc(1, READ_WRITE)
    memory.close()
    again = region.alloc(1, READ_WRITE)
    memory.close()
    assert again.base == memory.base
    region.query(again.base)


def test_an_allocation_without_references_stays_mapped(region: RegionOperations) -> None:
    base = region.alloc(1, READ_WRITE).base
    assert region.query(base).size == PAGE_SIZE


def test_alloc_can_allocate_unused_region(region: RegionOperations) -> None:
    with region.alloc(1, NONE) as memory:
        base = memory.base
    assert region.alloc_at(base, 1, READ_WRITE).range == AddressRange(base, base + PAGE_SIZE)


def test_alloc_at_replaces_what_was_there(region: RegionOperations, mapped: Any) -> None:
    memory = region.alloc(1, READ_WRITE)
    mapped.memory.write(memory.base, b"x")
    region.alloc_at(memory.base + 5, 1, READ)
    assert mapped.memory.read(memory.base, 1) == bytes(1)


def test_alloc_takes_any_placement(region: RegionOperations) -> None:
    assert region.alloc(1, NONE, AlignedTo(1 << 21)).base % (1 << 21) == 0


def test_query_returns_unmapped_for_out_of_bounds_addresses(region: RegionOperations) -> None:
    for address in (0, (1 << 64) - 1):
        with pytest.raises(UnmappedRegionError):
            region.query(address)


def test_query_is_not_off_by_one(region: RegionOperations) -> None:
    base = alloc_pages(region, [READ, READ_EXECUTE, READ])
    middle = region.query(base + PAGE_SIZE)
    assert (middle.protection, middle.size) == (READ_EXECUTE, PAGE_SIZE)
    below = region.query(base + PAGE_SIZE - 1)
    assert (below.protection, below.size) == (READ, PAGE_SIZE)


def test_query_range_does_not_return_unmapped_regions(region: RegionOperations) -> None:
    assert region.query_range(0, 1) == []


def test_query_range_returns_both_regions_for_straddling_range(region: RegionOperations) -> None:
    base = alloc_pages(region, [READ_EXECUTE, READ_WRITE])
    found = region.query_range(base + PAGE_SIZE - 1, 2)
    assert [r.protection for r in found] == [READ_EXECUTE, READ_WRITE]


def test_query_range_has_inclusive_lower_and_exclusive_upper_bound(
    region: RegionOperations,
) -> None:
    base = alloc_pages(region, [READ, READ_WRITE, READ])
    assert [r.protection for r in region.query_range(base, PAGE_SIZE)] == [READ]
    assert [r.protection for r in region.query_range(base, PAGE_SIZE + 1)] == [READ, READ_WRITE]


def test_query_range_can_iterate_over_the_entire_address_space(region: RegionOperations) -> None:
    alloc_pages(region, [READ, READ_WRITE, READ])
    found = region.query_range(0, (1 << 64) - 1)
    assert [r.protection for r in found] == [READ, READ_WRITE, READ]


def test_protect_rejects_an_empty_range(region: RegionOperations) -> None:
    with pytest.raises(InvalidParameterError):
        region.protect(0, 0, NONE)


def test_protect_with_handle_resets_protection(region: RegionOperations) -> None:
    base = alloc_pages(region, [READ])
    with region.protect_with_handle(base, PAGE_SIZE, READ_WRITE):
        assert region.query(base).protection == READ_WRITE
    assert region.query(base).protection == READ


def test_protect_with_handle_only_alters_protection_of_affected_pages(
    region: RegionOperations,
) -> None:
    pages = [READ_WRITE, READ, READ_WRITE, READ_EXECUTE, NONE]
    base = alloc_pages(region, pages)
    second = base + PAGE_SIZE
    with region.protect_with_handle(second, 3 * PAGE_SIZE, READ):
        assert region.query(second).range == AddressRange(second, second + 3 * PAGE_SIZE)
    found = region.query_range(base, len(pages) * PAGE_SIZE)
    assert found[0].base == base
    assert [r.protection for r in found] == pages


def test_protect_with_handle_that_is_forgotten_keeps_the_new_protection(
    region: RegionOperations,
) -> None:
    base = alloc_pages(region, [READ])
    region.protect_with_handle(base, PAGE_SIZE, READ_WRITE).forget()
    assert region.query(base).protection == READ_WRITE


def test_protect_with_handle_over_a_hole_changes_nothing(region: RegionOperations) -> None:
    base = alloc_pages(region, [READ])
    with pytest.raises(UnmappedRegionError):
        region.protect_with_handle(base, 2 * PAGE_SIZE, READ_WRITE)
    assert region.query(base).protection == READ


def test_locks_end_with_their_guard(region: RegionOperations, mapped: Any) -> None:
    memory = region.alloc(1, READ_WRITE)
    with region.lock(memory.base, 1), pytest.raises(InvalidParameterError):
        mapped.hooks.memory_discard(address=memory.base, size=1)
    mapped.hooks.memory_discard(address=memory.base, size=1)


def test_a_forgotten_lock_is_undone_by_unlock(region: RegionOperations, mapped: Any) -> None:
    memory = region.alloc(1, READ_WRITE)
    region.lock(memory.base, 1).forget()
    region.unlock(memory.base, 1)
    mapped.hooks.memory_discard(address=memory.base, size=1)


def test_a_protect_guard_gives_back_no_protection_outside_its_range(
    region: RegionOperations,
) -> None:
    base = alloc_pages(region, [READ_WRITE] * 3)
    with region.protect_with_handle(base + PAGE_SIZE, PAGE_SIZE, NONE):
        region.protect(base, PAGE_SIZE, READ)
        region.protect(base + 2 * PAGE_SIZE, PAGE_SIZE, READ)
    found = region.query_range(base, 3 * PAGE_SIZE)
    assert [r.protection for r in found] == [READ, READ_WRITE, READ]
