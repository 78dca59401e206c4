"""The memory-mapping hooks on a machine: what they answer, and what the guest then may touch."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from theseus_kit.errors import (
    AddressInUseError,
    AssemblyError,
    InvalidParameterError,
    MemoryFaultError,
    OutOfMemoryError,
    PlatformError,
    ProtectionDeniedError,
    UnmappedRegionError,
)
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AddressRange,
    AlignedTo,
    AtAddress,
    BytesBacking,
    FileBacking,
    MapRequest,
    Protection,
    Region,
    WithinRange,
)

NONE, READ, READ_WRITE = Protection.NONE, Protection.READ, Protection.READ_WRITE
READ_EXECUTE = Protection.READ_EXECUTE
GIB = 1 << 30


def regions_of(mapped: Any) -> list[Region]:
    return list(mapped.hooks.memory_query_range(address=0, size=(1 << 64) - 1))


def map_pages(mapped: Any, protections: list[Protection]) -> int:
    """Map pages side by side, one of each protection; return the first one's address."""
    base: int = mapped.hooks.memory_map(request=MapRequest(len(protections) * PAGE_SIZE, NONE)).base
    for index, protection in enumerate(protections):
        mapped.hooks.memory_map(
            request=MapRequest(
                PAGE_SIZE, protection, AtAddress(base + index * PAGE_SIZE, replace=True)
            )
        )
    return base


def map_mixed(mapped: Any) -> int:
    """Read-write, hole, read-only."""
    base = map_pages(mapped, [READ_WRITE, NONE, READ])
    mapped.hooks.memory_unmap(address=base + PAGE_SIZE, size=PAGE_SIZE)
    return base


def test_new_pages_read_as_zero_and_may_be_written(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(10))
    assert region.size == PAGE_SIZE
    assert mapped.memory.read(region.base, PAGE_SIZE) == bytes(PAGE_SIZE)
    mapped.memory.write(region.base + PAGE_SIZE - 1, b"x")
    assert mapped.memory.read(region.base + PAGE_SIZE - 1, 1) == b"x"


def test_the_byte_after_a_mapping_is_not_mapped(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE))
    mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE))
    with pytest.raises(MemoryFaultError) as caught:
        mapped.memory.write(region.base + PAGE_SIZE - 1, b"ab")
    assert caught.value.address == region.base + PAGE_SIZE


def test_without_a_guard_gap_mappings_that_are_alike_become_one_region(
    make_mapped: Callable[..., Any],
) -> None:
    mapped = make_mapped(guard_gap=0)
    first = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, label="a"))
    second = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, label="a"))
    mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, label="b"))
    assert second.base == first.base + PAGE_SIZE
    assert second.size == PAGE_SIZE
    assert [(r.size, r.label) for r in regions_of(mapped)] == [
        (2 * PAGE_SIZE, "a"),
        (PAGE_SIZE, "b"),
    ]


def test_a_negative_guard_gap_is_refused(make_mapped: Callable[..., Any]) -> None:
    with pytest.raises(AssemblyError, match="guard_gap"):
        make_mapped(guard_gap=-1)


@pytest.mark.parametrize("size", [0, -1])
def test_a_mapping_of_no_bytes_is_refused(mapped: Any, size: int) -> None:
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_map(request=MapRequest(size))


def test_a_mapping_larger_than_the_territory_is_out_of_memory(mapped: Any) -> None:
    with pytest.raises(OutOfMemoryError):
        mapped.hooks.memory_map(request=MapRequest(mapped.memory.territory.size + 1))


def test_reserving_terabytes_takes_no_host_memory(mapped: Any) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_SIZE

    before = resident()
    region = mapped.hooks.memory_map(request=MapRequest(1024 * GIB, NONE))
    assert region.reserved
    assert not region.is_committed
    mapped.hooks.memory_protect(address=region.base + 500 * GIB, size=1, protection=READ_WRITE)
    mapped.memory.write(region.base + 500 * GIB, b"x")
    assert resident() - before < 16 << 20


def test_a_mapping_may_be_placed_exactly(mapped: Any) -> None:
    address = mapped.memory.territory.start + 100 * PAGE_SIZE
    region = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, placement=AtAddress(address)))
    assert region.base == address


def test_an_exact_place_is_rounded_out_to_whole_pages(mapped: Any) -> None:
    address = mapped.memory.territory.start + 100 * PAGE_SIZE
    region = mapped.hooks.memory_map(
        request=MapRequest(PAGE_SIZE, placement=AtAddress(address + 1))
    )
    assert region.range == AddressRange(address, address + 2 * PAGE_SIZE)


def test_a_taken_place_is_refused_and_keeps_its_content(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE))
    mapped.memory.write(region.base, b"kept")
    with pytest.raises(AddressInUseError) as caught:
        mapped.hooks.memory_map(
            request=MapRequest(2 * PAGE_SIZE, placement=AtAddress(region.base - PAGE_SIZE))
        )
    assert caught.value.errno == errno.EEXIST
    assert mapped.memory.read(region.base, 4) == b"kept"
    assert len(regions_of(mapped)) == 1


def test_replacing_discards_what_was_there_and_takes_what_was_free(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(2 * PAGE_SIZE, READ_WRITE, label="old"))
    mapped.memory.write(region.base, b"x" * 2 * PAGE_SIZE)
    mapped.hooks.memory_map(
        request=MapRequest(
            2 * PAGE_SIZE,
            READ,
            AtAddress(region.base + PAGE_SIZE, replace=True),
            label="new",
        )
    )
    assert mapped.memory.read(region.base + PAGE_SIZE, 2 * PAGE_SIZE) == bytes(2 * PAGE_SIZE)
    assert [(r.label, r.size) for r in regions_of(mapped)] == [
        ("old", PAGE_SIZE),
        ("new", 2 * PAGE_SIZE),
    ]


@pytest.mark.parametrize("replace", [True, False])
def test_a_place_outside_the_territory_is_out_of_memory(mapped: Any, replace: bool) -> None:
    with pytest.raises(OutOfMemoryError):
        mapped.hooks.memory_map(
            request=MapRequest(PAGE_SIZE, placement=AtAddress(PAGE_SIZE, replace))
        )


def test_a_place_past_the_address_space_is_refused(mapped: Any) -> None:
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_map(
            request=MapRequest(2 * PAGE_SIZE, placement=AtAddress((1 << 64) - PAGE_SIZE))
        )


def test_aligned_and_bounded_mappings_are_where_they_were_asked_for(mapped: Any) -> None:
    aligned = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, placement=AlignedTo(GIB)))
    assert aligned.base % GIB == 0
    start = mapped.memory.territory.start + 64 * GIB
    bounds = AddressRange(start, start + 2 * PAGE_SIZE)
    bounded = mapped.hooks.memory_map(
        request=MapRequest(2 * PAGE_SIZE, placement=WithinRange(bounds))
    )
    assert bounded.range == bounds


def test_bytes_are_there_from_the_start_and_the_rest_is_zero(mapped: Any) -> None:
    region = mapped.hooks.memory_map(
        request=MapRequest(2 * PAGE_SIZE, READ_EXECUTE, backing=BytesBacking(b"\xc3" * 5))
    )
    assert mapped.memory.read(region.base, 8) == b"\xc3" * 5 + bytes(3)
    with pytest.raises(MemoryFaultError):
        mapped.memory.write(region.base, b"x")


def test_more_bytes_than_pages_are_refused(mapped: Any) -> None:
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_map(request=MapRequest(1, backing=BytesBacking(bytes(PAGE_SIZE + 1))))
    assert not regions_of(mapped)


def test_a_file_is_mapped_from_its_offset_and_zero_past_its_end(
    mapped: Any, tmp_path: Path
) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"a" * PAGE_SIZE + b"b" * 10)
    descriptor = os.open(path, os.O_RDONLY)
    region = mapped.hooks.memory_map(
        request=MapRequest(3 * PAGE_SIZE, READ_WRITE, backing=FileBacking(descriptor, PAGE_SIZE))
    )
    os.close(descriptor)
    assert mapped.memory.read(region.base, 12) == b"b" * 10 + bytes(2)
    assert mapped.memory.read(region.base + 2 * PAGE_SIZE, 1) == bytes(1)


def test_writing_to_a_file_mapping_leaves_the_file_alone_and_discarding_brings_it_back(
    mapped: Any, tmp_path: Path
) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"file")
    with path.open("rb") as file:
        region = mapped.hooks.memory_map(
            request=MapRequest(PAGE_SIZE, READ_WRITE, backing=FileBacking(file.fileno()))
        )
    mapped.memory.write(region.base, b"mine")
    assert path.read_bytes() == b"file"
    mapped.hooks.memory_discard(address=region.base, size=PAGE_SIZE)
    assert mapped.memory.read(region.base, 4) == b"file"


def test_pages_of_one_file_are_one_region_only_where_the_file_goes_on(
    mapped: Any, tmp_path: Path
) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(4 * PAGE_SIZE))
    base = mapped.hooks.memory_map(request=MapRequest(3 * PAGE_SIZE, NONE)).base
    with path.open("rb") as file:
        for page, offset in enumerate((0, PAGE_SIZE, 3 * PAGE_SIZE)):
            mapped.hooks.memory_map(
                request=MapRequest(
                    PAGE_SIZE,
                    READ,
                    AtAddress(base + page * PAGE_SIZE, replace=True),
                    FileBacking(file.fileno(), offset),
                )
            )
    assert [r.size for r in regions_of(mapped)] == [2 * PAGE_SIZE, PAGE_SIZE]


def test_a_file_offset_inside_a_page_is_refused(mapped: Any, tmp_path: Path) -> None:
    with (tmp_path / "data").open("wb+") as file, pytest.raises(InvalidParameterError):
        mapped.hooks.memory_map(
            request=MapRequest(PAGE_SIZE, READ, backing=FileBacking(file.fileno(), 5))
        )


def test_a_bad_descriptor_is_the_error_the_host_gives(mapped: Any) -> None:
    with pytest.raises(PlatformError) as caught:
        mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, READ, backing=FileBacking(-1)))
    assert caught.value.errno == errno.EBADF
    assert not regions_of(mapped)


def test_protection_splits_a_region_and_the_same_again_merges_it(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(4 * PAGE_SIZE)).base
    mapped.hooks.memory_protect(address=base + PAGE_SIZE, size=PAGE_SIZE, protection=READ)
    assert [(r.size // PAGE_SIZE, r.protection) for r in regions_of(mapped)] == [
        (1, READ_WRITE),
        (1, READ),
        (2, READ_WRITE),
    ]
    with pytest.raises(MemoryFaultError):
        mapped.memory.write(base + PAGE_SIZE, b"x")
    mapped.hooks.memory_protect(address=base + PAGE_SIZE, size=1, protection=READ_WRITE)
    mapped.memory.write(base + PAGE_SIZE, b"x")
    assert [r.size for r in regions_of(mapped)] == [4 * PAGE_SIZE]


def test_protection_of_two_bytes_across_a_boundary_changes_both_pages(mapped: Any) -> None:
    base = map_pages(mapped, [READ, READ_EXECUTE, READ_WRITE, READ])
    mapped.hooks.memory_protect(address=base + 2 * PAGE_SIZE - 1, size=2, protection=NONE)
    assert [(r.size // PAGE_SIZE, r.protection) for r in regions_of(mapped)] == [
        (1, READ),
        (2, NONE),
        (1, READ),
    ]


def test_protection_over_an_unmapped_page_changes_nothing(mapped: Any) -> None:
    base = map_mixed(mapped)
    before = regions_of(mapped)
    with pytest.raises(UnmappedRegionError, match=f"{base + PAGE_SIZE:#x} is not mapped"):
        mapped.hooks.memory_protect(address=base, size=3 * PAGE_SIZE, protection=READ)
    assert regions_of(mapped) == before
    mapped.memory.write(base, b"still writable")


def test_protection_beyond_the_maximum_is_denied_and_changes_nothing(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, NONE, max_protection=READ_WRITE))
    with pytest.raises(ProtectionDeniedError) as caught:
        mapped.hooks.memory_protect(address=region.base, size=1, protection=READ_EXECUTE)
    assert caught.value.errno == errno.EACCES
    assert mapped.hooks.memory_query(address=region.base).protection == NONE
    mapped.hooks.memory_protect(address=region.base, size=1, protection=READ_WRITE)


def test_a_request_beyond_its_own_maximum_is_refused(mapped: Any) -> None:
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_map(request=MapRequest(1, READ_EXECUTE, max_protection=READ_WRITE))


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
    assert [(r.size // PAGE_SIZE, r.reserved) for r in regions_of(mapped)] == [
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
    base = map_mixed(mapped)
    mapped.hooks.memory_unmap(address=base, size=3 * PAGE_SIZE)
    mapped.hooks.memory_unmap(address=base, size=3 * PAGE_SIZE)
    mapped.hooks.memory_unmap(address=0, size=PAGE_SIZE)
    assert not regions_of(mapped)


def test_discarded_pages_read_as_zero_and_stay_mapped(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(3 * PAGE_SIZE)).base
    mapped.memory.write(base, b"x" * 3 * PAGE_SIZE)
    mapped.hooks.memory_discard(address=base + PAGE_SIZE, size=PAGE_SIZE)
    assert mapped.memory.read(base, 3 * PAGE_SIZE) == (
        b"x" * PAGE_SIZE + bytes(PAGE_SIZE) + b"x" * PAGE_SIZE
    )
    assert len(regions_of(mapped)) == 1


def test_discarding_an_unmapped_page_is_refused_and_discards_nothing(mapped: Any) -> None:
    base = map_mixed(mapped)
    mapped.memory.write(base, b"x")
    with pytest.raises(UnmappedRegionError):
        mapped.hooks.memory_discard(address=base, size=3 * PAGE_SIZE)
    assert mapped.memory.read(base, 1) == b"x"


def test_a_range_query_returns_whole_regions_and_skips_holes(mapped: Any) -> None:
    base = map_mixed(mapped)
    found = mapped.hooks.memory_query_range(address=base + 1, size=2 * PAGE_SIZE)
    assert [r.base for r in found] == [base, base + 2 * PAGE_SIZE]
    assert mapped.hooks.memory_query_range(address=base + PAGE_SIZE, size=PAGE_SIZE) == []


@pytest.mark.parametrize(
    "hook",
    ["memory_unmap", "memory_discard", "memory_query_range", "memory_lock", "memory_unlock"],
)
def test_a_range_of_no_bytes_is_refused(mapped: Any, hook: str) -> None:
    base = map_mixed(mapped)
    with pytest.raises(InvalidParameterError):
        getattr(mapped.hooks, hook)(address=base, size=0)


def locked_kilobytes(address: int) -> int:
    """What the host's kernel says is locked at an address (proc_pid_smaps(5))."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if bounds:
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("Locked:"):
            return int(line.split()[1])
    raise AssertionError(f"{address:#x} is not in the host's address space")


def test_locked_pages_are_locked_by_the_host_until_unlocked(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(2 * PAGE_SIZE)).base
    mapped.hooks.memory_lock(address=base, size=2 * PAGE_SIZE)
    assert locked_kilobytes(base) == 8
    mapped.hooks.memory_unlock(address=base, size=2 * PAGE_SIZE)
    assert locked_kilobytes(base) == 0


def test_unmapping_and_replacing_locked_pages_unlocks_them(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(2 * PAGE_SIZE)).base
    mapped.hooks.memory_lock(address=base, size=2 * PAGE_SIZE)
    mapped.hooks.memory_unmap(address=base, size=PAGE_SIZE)
    mapped.hooks.memory_map(
        request=MapRequest(PAGE_SIZE, placement=AtAddress(base + PAGE_SIZE, replace=True))
    )
    mapped.hooks.memory_discard(address=base + PAGE_SIZE, size=PAGE_SIZE)
    assert locked_kilobytes(base) == 0


def test_locked_pages_cannot_be_discarded(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE)).base
    mapped.memory.write(base, b"x")
    mapped.hooks.memory_lock(address=base, size=1)
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_discard(address=base, size=1)
    assert mapped.memory.read(base, 1) == b"x"


def test_locking_pages_that_may_not_be_touched_is_refused(mapped: Any) -> None:
    base = map_pages(mapped, [READ_WRITE, NONE])
    with pytest.raises(PlatformError) as caught:
        mapped.hooks.memory_lock(address=base, size=2 * PAGE_SIZE)
    assert caught.value.errno == errno.ENOMEM
    assert locked_kilobytes(base) == 0


def test_locking_unmapped_pages_is_refused(mapped: Any) -> None:
    base = map_mixed(mapped)
    with pytest.raises(UnmappedRegionError):
        mapped.hooks.memory_lock(address=base, size=3 * PAGE_SIZE)
    with pytest.raises(UnmappedRegionError):
        mapped.hooks.memory_unlock(address=base, size=3 * PAGE_SIZE)


def test_closing_the_platform_unlocks_what_was_locked(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE)).base
    mapped.hooks.memory_lock(address=base, size=1)
    mapped.hooks.platform_closed()
    assert locked_kilobytes(base) == 0


def test_only_untouched_zero_pages_count_as_reserved(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(1, NONE, backing=BytesBacking(b"x")))
    assert not region.reserved


def test_a_guard_that_is_given_access_is_none_any_more(mapped: Any) -> None:
    guard = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, NONE, guard=True))
    mapped.hooks.memory_protect(address=guard.base, size=1, protection=READ)
    assert not mapped.hooks.memory_query(address=guard.base).guarded


def test_a_lock_that_the_host_refuses_halfway_locks_nothing(mapped: Any, tmp_path: Path) -> None:
    base = map_pages(mapped, [READ_WRITE, NONE])
    with (tmp_path / "data").open("wb+") as file:
        file.truncate(PAGE_SIZE)
        mapped.hooks.memory_map(
            request=MapRequest(
                PAGE_SIZE,
                READ,
                AtAddress(base + PAGE_SIZE, replace=True),
                FileBacking(file.fileno()),
            )
        )
        file.truncate(0)  # the host cannot bring the second page in any more
        with pytest.raises(PlatformError) as caught:
            mapped.hooks.memory_lock(address=base, size=2 * PAGE_SIZE)
    assert caught.value.errno == errno.ENOMEM
    assert locked_kilobytes(base) == 0
    mapped.hooks.memory_discard(address=base, size=1)


def test_a_mapping_whose_bytes_cannot_be_copied_is_taken_back(mapped: Any) -> None:
    every_other = memoryview(b"abcd")[::2]
    with pytest.raises(TypeError):
        mapped.hooks.memory_map(request=MapRequest(1, backing=BytesBacking(every_other)))
    assert not regions_of(mapped)
    start = mapped.memory.territory.start
    with pytest.raises(MemoryFaultError):
        mapped.memory.read(start + PAGE_SIZE, 1)
