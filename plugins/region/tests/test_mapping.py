"""memory_map: where pages go, what they hold, what is refused."""

import errno
import os
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
    WithinRange,
)

NONE, READ, READ_WRITE = Protection.NONE, Protection.READ, Protection.READ_WRITE
READ_EXECUTE = Protection.READ_EXECUTE
GIB = 1 << 30


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
    assert [(r.size, r.label) for r in mapped.regions()] == [
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
    assert len(mapped.regions()) == 1


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
    assert [(r.label, r.size) for r in mapped.regions()] == [
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
    assert not mapped.regions()


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
    assert [r.size for r in mapped.regions()] == [2 * PAGE_SIZE, PAGE_SIZE]


def test_a_file_offset_inside_a_page_is_refused(mapped: Any, tmp_path: Path) -> None:
    with (tmp_path / "data").open("wb+") as file, pytest.raises(InvalidParameterError):
        mapped.hooks.memory_map(
            request=MapRequest(PAGE_SIZE, READ, backing=FileBacking(file.fileno(), 5))
        )


def test_a_bad_descriptor_is_the_error_the_host_gives(mapped: Any) -> None:
    with pytest.raises(PlatformError) as caught:
        mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE, READ, backing=FileBacking(-1)))
    assert caught.value.errno == errno.EBADF
    assert not mapped.regions()


def test_a_request_beyond_its_own_maximum_is_refused(mapped: Any) -> None:
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_map(request=MapRequest(1, READ_EXECUTE, max_protection=READ_WRITE))


def test_only_untouched_zero_pages_count_as_reserved(mapped: Any) -> None:
    region = mapped.hooks.memory_map(request=MapRequest(1, NONE, backing=BytesBacking(b"x")))
    assert not region.reserved


def test_a_mapping_whose_bytes_cannot_be_copied_is_taken_back(mapped: Any) -> None:
    every_other = memoryview(b"abcd")[::2]
    with pytest.raises(TypeError):
        mapped.hooks.memory_map(request=MapRequest(1, backing=BytesBacking(every_other)))
    assert not mapped.regions()
    start = mapped.memory.territory.start
    with pytest.raises(MemoryFaultError):
        mapped.memory.read(start + PAGE_SIZE, 1)
