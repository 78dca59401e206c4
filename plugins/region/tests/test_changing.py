"""Protecting, unmapping, discarding and querying pages, and what the guest then may touch."""

import errno
from typing import Any

import pytest

from theseus_kit.errors import (
    InvalidParameterError,
    MemoryFaultError,
    ProtectionDeniedError,
    UnmappedRegionError,
)
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AtAddress,
    MapRequest,
    Protection,
)

NONE, READ, READ_WRITE = Protection.NONE, Protection.READ, Protection.READ_WRITE
READ_EXECUTE = Protection.READ_EXECUTE


def test_protection_splits_a_region_and_the_same_again_merges_it(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(4 * PAGE_SIZE)).base
    mapped.hooks.memory_protect(address=base + PAGE_SIZE, size=PAGE_SIZE, protection=READ)
    assert [(r.size // PAGE_SIZE, r.protection) for r in mapped.regions()] == [
        (1, READ_WRITE),
        (1, READ),
        (2, READ_WRITE),
    ]
    with pytest.raises(MemoryFaultError):
        mapped.memory.write(base + PAGE_SIZE, b"x")
    mapped.hooks.memory_protect(address=base + PAGE_SIZE, size=1, protection=READ_WRITE)
    mapped.memory.write(base + PAGE_SIZE, b"x")
    assert [r.size for r in mapped.regions()] == [4 * PAGE_SIZE]


def test_protection_of_two_bytes_across_a_boundary_changes_both_pages(mapped: Any) -> None:
    base = mapped.map_pages([READ, READ_EXECUTE, READ_WRITE, READ])
    mapped.hooks.memory_protect(address=base + 2 * PAGE_SIZE - 1, size=2, protection=NONE)
    assert [(r.size // PAGE_SIZE, r.protection) for r in mapped.regions()] == [
        (1, READ),
        (2, NONE),
        (1, READ),
    ]


def test_protection_over_an_unmapped_page_changes_nothing(mapped: Any) -> None:
    base = mapped.map_mixed()
    before = mapped.regions()
    with pytest.raises(UnmappedRegionError, match=f"{base + PAGE_SIZE:#x} is not mapped"):
        mapped.hooks.memory_protect(address=base, size=3 * PAGE_SIZE, protection=READ)
    assert mapped.regions() == before
    mapped.memory.write(base, b"still writable")


def test_protection_beyond_the_maximum_is_denied_and_changes_nothing(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, NONE, max_protection=READ_WRITE))
    with pytest.raises(ProtectionDeniedError) as caught:
        mapped.hooks.memory_protect(address=region.base, size=1, protection=READ_EXECUTE)
    assert caught.value.errno == errno.EACCES
    assert mapped.hooks.memory_query(address=region.base).protection == NONE
    mapped.hooks.memory_protect(address=region.base, size=1, protection=READ_WRITE)


def test_a_protection_of_unknown_bits_is_refused(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(1))
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_protect(address=region.base, size=1, protection=Protection(8))
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_map(request=MapRequest(1, Protection(9)))


def test_a_reservation_is_committed_where_access_is_given(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(4 * PAGE_SIZE, NONE)).base
    mapped.hooks.memory_protect(address=base, size=PAGE_SIZE, protection=READ_WRITE)
    mapped.hooks.memory_protect(address=base, size=PAGE_SIZE, protection=NONE)
    assert [(r.size // PAGE_SIZE, r.reserved) for r in mapped.regions()] == [
        (1, False),
        (3, True),
    ]


def test_a_guard_says_so_and_may_not_be_accessible(mapped: Any) -> None:
    guard = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, NONE, guard=True))
    assert mapped.hooks.memory_query(address=guard.base).guarded
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, READ, guard=True))


def test_a_shared_region_says_so(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, shared=True))
    assert mapped.hooks.memory_query(address=region.base).shared


def test_unmapping_makes_pages_fault_and_their_addresses_free(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(3 * PAGE_SIZE)).base
    mapped.memory.write(base + PAGE_SIZE, b"gone")
    mapped.hooks.memory_unmap(address=base + PAGE_SIZE + 5, size=1)
    with pytest.raises(MemoryFaultError):
        mapped.memory.read(base + PAGE_SIZE, 1)
    with pytest.raises(UnmappedRegionError):
        mapped.hooks.memory_query(address=base + PAGE_SIZE)
    again = mapped.hooks.memory_map(
        request=MapRequest(PAGE_SIZE, placement=AtAddress(base + PAGE_SIZE))
    )
    assert mapped.memory.read(again.base, 4) == bytes(4)


def test_unmapping_what_is_not_mapped_is_no_error(mapped: Any) -> None:
    base = mapped.map_mixed()
    mapped.hooks.memory_unmap(address=base, size=3 * PAGE_SIZE)
    mapped.hooks.memory_unmap(address=base, size=3 * PAGE_SIZE)
    mapped.hooks.memory_unmap(address=0, size=PAGE_SIZE)
    assert not mapped.regions()


def test_discarded_pages_read_as_zero_and_stay_mapped(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(3 * PAGE_SIZE)).base
    mapped.memory.write(base, b"x" * 3 * PAGE_SIZE)
    mapped.hooks.memory_discard(address=base + PAGE_SIZE, size=PAGE_SIZE)
    assert mapped.memory.read(base, 3 * PAGE_SIZE) == (
        b"x" * PAGE_SIZE + bytes(PAGE_SIZE) + b"x" * PAGE_SIZE
    )
    assert len(mapped.regions()) == 1


def test_discarding_an_unmapped_page_is_refused_and_discards_nothing(mapped: Any) -> None:
    base = mapped.map_mixed()
    mapped.memory.write(base, b"x")
    with pytest.raises(UnmappedRegionError):
        mapped.hooks.memory_discard(address=base, size=3 * PAGE_SIZE)
    assert mapped.memory.read(base, 1) == b"x"


def test_a_range_query_returns_whole_regions_and_skips_holes(mapped: Any) -> None:
    base = mapped.map_mixed()
    found = mapped.hooks.memory_query_range(address=base + 1, size=2 * PAGE_SIZE)
    assert [r.base for r in found] == [base, base + 2 * PAGE_SIZE]
    assert mapped.hooks.memory_query_range(address=base + PAGE_SIZE, size=PAGE_SIZE) == []


@pytest.mark.parametrize(
    "hook",
    ["memory_unmap", "memory_discard", "memory_query_range", "memory_lock", "memory_unlock"],
)
def test_a_range_of_no_bytes_is_refused(mapped: Any, hook: str) -> None:
    base = mapped.map_mixed()
    with pytest.raises(InvalidParameterError):
        getattr(mapped.hooks, hook)(address=base, size=0)


def test_a_guard_that_is_given_access_is_none_any_more(mapped: Any) -> None:
    guard = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, NONE, guard=True))
    mapped.hooks.memory_protect(address=guard.base, size=1, protection=READ)
    assert not mapped.hooks.memory_query(address=guard.base).guarded
