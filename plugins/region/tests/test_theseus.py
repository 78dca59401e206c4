"""The quirks of Theseus's ports, one by one, and what they leave alone."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import assemble
from theseus_kit.errors import (
    AddressInUseError,
    InvalidParameterError,
    MemoryFaultError,
    UnmappedRegionError,
)
from theseus_kit.machine import create_machine, machine_names
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AtAddress,
    FileBacking,
    MapRequest,
    Protection,
    Region,
    WithinRange,
)
from theseus_kit_region import RegionOperations, TheseusRegionOptions, TheseusRegionPlugin
from theseus_kit_region.theseus import NoAccess

NONE, READ, READ_WRITE = Protection.NONE, Protection.READ, Protection.READ_WRITE
PAGE = PAGE_SIZE

Make = Callable[..., Any]


@pytest.fixture(params=machine_names())
def make(request: pytest.FixtureRequest, mapped_machine: Any) -> Iterator[Make]:
    with ExitStack() as stack:

        def make(**options: Any) -> Any:
            machine = create_machine(request.param, {})
            stack.callback(machine.close)
            return mapped_machine(machine, TheseusRegionOptions(**options), TheseusRegionPlugin)

        yield make


@pytest.fixture
def theseus(make: Make) -> Any:
    return make()


def mmap(theseus: Any, pages: int, protection: Protection = READ_WRITE, **more: Any) -> Region:
    request = MapRequest(pages * PAGE, protection, label="mmap", **more)
    region: Region = theseus.hooks.memory_map(request=request)
    return region


def test_protecting_a_page_protects_the_whole_mapping(theseus: Any) -> None:
    region = mmap(theseus, 4)
    theseus.hooks.memory_protect(address=region.base + PAGE, size=1, protection=READ)

    assert [(r.base, r.size, r.protection) for r in theseus.regions()] == [
        (region.base, 4 * PAGE, READ)
    ]
    with pytest.raises(MemoryFaultError):
        theseus.memory.write(region.base, b"x")


def test_protecting_past_the_mapping_s_end_protects_the_mapping_alone(
    theseus: Any,
) -> None:
    low, high = mmap(theseus, 1), mmap(theseus, 1)
    theseus.hooks.memory_protect(address=low.base, size=1 << 20, protection=READ)

    assert theseus.hooks.memory_query(address=low.base).protection == READ
    assert theseus.hooks.memory_query(address=high.base).protection == READ_WRITE


def test_freeing_a_page_frees_the_whole_mapping(theseus: Any) -> None:
    region = mmap(theseus, 4)
    theseus.hooks.memory_unmap(address=region.base + 2 * PAGE, size=PAGE)

    assert theseus.regions() == []
    with pytest.raises(MemoryFaultError):
        theseus.memory.read(region.base, 1)


def test_unmapping_what_is_in_no_mapping_is_einval(theseus: Any) -> None:
    region = mmap(theseus, 1)
    theseus.hooks.memory_unmap(address=region.base, size=PAGE)

    with pytest.raises(InvalidParameterError) as refused:
        theseus.hooks.memory_unmap(address=region.base, size=PAGE)
    assert refused.value.errno == errno.EINVAL


def test_protecting_what_is_in_no_mapping_is_refused(theseus: Any) -> None:
    with pytest.raises(UnmappedRegionError):
        theseus.hooks.memory_protect(
            address=theseus.memory.territory.start, size=PAGE, protection=READ
        )


def test_pages_without_access_can_be_read(theseus: Any) -> None:
    region = mmap(theseus, 2, NONE)
    theseus.hooks.memory_protect(address=region.base, size=PAGE, protection=NONE)

    assert region.protection == READ
    assert theseus.memory.read(region.base + 2 * PAGE - 4, 4) == bytes(4)
    with pytest.raises(MemoryFaultError):
        theseus.memory.write(region.base, b"x")


def test_pages_without_access_are_refused_where_that_is_chosen(make: Make) -> None:
    theseus = make(no_access=NoAccess.REFUSED)
    region = mmap(theseus, 1)

    with pytest.raises(InvalidParameterError, match="cannot be expressed"):
        mmap(theseus, 1, NONE)
    with pytest.raises(InvalidParameterError, match="cannot be expressed"):
        theseus.hooks.memory_protect(address=region.base, size=PAGE, protection=NONE)
    theseus.memory.write(region.base, b"still writable")


@pytest.mark.parametrize("replace", [False, True])
def test_mmap_at_a_taken_address_maps_anywhere_else(theseus: Any, replace: bool) -> None:
    taken = mmap(theseus, 2)
    theseus.memory.write(taken.base, b"kept")
    region = mmap(theseus, 1, placement=AtAddress(taken.base + PAGE, replace))

    assert region.base not in taken.range
    assert theseus.memory.read(taken.base, 4) == b"kept"


def test_mmap_at_a_free_address_maps_there(theseus: Any) -> None:
    free = mmap(theseus, 2)
    theseus.hooks.memory_unmap(address=free.base, size=PAGE)

    assert mmap(theseus, 1, placement=AtAddress(free.base + PAGE)).base == free.base + PAGE


@pytest.mark.parametrize("label", ["", "allocation"])
def test_alloc_at_a_taken_address_is_refused(theseus: Any, label: str) -> None:
    taken = mmap(theseus, 2)
    place = AtAddress(taken.base, replace=True)

    with pytest.raises(AddressInUseError):
        theseus.hooks.memory_map(request=MapRequest(PAGE, placement=place, label=label))


def test_mmap_of_a_file_maps_zeros(theseus: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        region = mmap(theseus, 1, backing=FileBacking(file.fileno(), 123))

    assert theseus.memory.read(region.base, PAGE) == bytes(PAGE)


def test_locking_does_nothing_wherever_it_is(theseus: Any) -> None:
    theseus.hooks.memory_lock(address=theseus.memory.territory.start, size=PAGE)
    theseus.hooks.memory_unlock(address=theseus.memory.territory.start, size=PAGE)


def test_queries_tell_of_shared_mappings_that_nobody_merges(make: Make) -> None:
    theseus = make(guard_gap=0)
    regions = [mmap(theseus, 1) for _ in range(3)]

    assert [region.base - regions[0].base for region in regions] == [0, PAGE, 2 * PAGE]
    assert theseus.regions() == regions
    assert all(r.shared and not r.reserved and not r.guarded for r in theseus.regions())
    assert theseus.hooks.memory_query(address=regions[1].base + 5) == regions[1]


def test_what_is_guarded_or_bounded_in_protection_is_not(theseus: Any) -> None:
    region = mmap(theseus, 1, READ, max_protection=READ, guard=False)
    guard = mmap(theseus, 1, NONE, guard=True)
    theseus.hooks.memory_protect(address=region.base, size=PAGE, protection=READ_WRITE)

    theseus.memory.write(region.base, b"x")
    assert guard.protection == READ


def test_what_the_platform_maps_for_itself_is_exact(theseus: Any) -> None:
    base = theseus.hooks.memory_map(request=MapRequest(4 * PAGE, NONE, label="stack")).base
    place = AtAddress(base + PAGE, replace=True)
    theseus.hooks.memory_map(request=MapRequest(PAGE, placement=place, label="stack"))
    theseus.hooks.memory_unmap(address=base + 3 * PAGE, size=PAGE)

    assert [(r.size // PAGE, r.protection) for r in theseus.regions()] == [
        (1, NONE),
        (1, READ_WRITE),
        (1, NONE),
    ]


def test_the_page_allocator_s_bounds_are_kept(theseus: Any) -> None:
    free = mmap(theseus, 8)
    theseus.hooks.memory_unmap(address=free.base, size=1)

    assert mmap(theseus, 1, placement=WithinRange(free.range)).base in free.range


def test_region_rs_s_operations_see_the_quirks(theseus: Any) -> None:
    region = RegionOperations(theseus.hooks)
    with region.alloc(3 * PAGE, READ_WRITE) as memory:
        with region.protect_with_handle(memory.base, PAGE, READ):
            assert region.query(memory.base + 2 * PAGE).protection == READ
        assert region.query(memory.base + 2 * PAGE).protection == READ_WRITE
    with pytest.raises(UnmappedRegionError):
        region.query(memory.base)


MODULE = """
(module (memory (export "memory") 1)
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "store") (param i32) (i32.store (local.get 0) (i32.const 7)))
  (func (export "grow") (result i32) (memory.grow (i32.const 1))))"""
BEYOND = 70_000
QUIRKY = ["region-theseus", "signals", "backtrace", "path", "tlibc"]


@pytest.mark.parametrize("machine", machine_names())
def test_wasmtime_s_loads_out_of_bounds_read_zero(machine: str) -> None:
    with assemble(QUIRKY, machine=machine) as platform:
        exports, store = _instance(platform, {})

        assert exports["load"](store, BEYOND) == 0
        assert exports["grow"](store) == 1
        exports["store"](store, 3 * BEYOND)
        assert exports["load"](store, 3 * BEYOND) == 7


@pytest.mark.parametrize("machine", machine_names())
def test_wasmtime_traps_where_its_code_checks_bounds(machine: str) -> None:
    settings = ("memory_reservation", "memory_guard_size", "memory_reservation_for_growth")
    with assemble(QUIRKY, machine=machine) as platform:
        exports, store = _instance(platform, dict.fromkeys(settings, 0))
        trap = platform.wasmtime.Trap

        with pytest.raises(trap, match="out of bounds"):
            exports["load"](store, BEYOND)
        assert exports["grow"](store) == 1
        assert exports["load"](store, BEYOND) == 0
        with pytest.raises(trap, match="out of bounds"):
            exports["store"](store, 3 * BEYOND)


@pytest.mark.parametrize("machine", machine_names())
def test_wasmtime_makes_no_memory_where_no_access_is_refused(machine: str) -> None:
    options = {"region-theseus": {"no_access": "refused"}}
    with assemble(QUIRKY, machine=machine, options=options) as platform:
        error = platform.wasmtime.WasmtimeError
        with pytest.raises(error, match="Invalid argument"):
            _instance(platform, {})


def _instance(platform: Any, settings: dict[str, int]) -> tuple[Any, Any]:
    wasmtime = platform.wasmtime
    config = wasmtime.Config()
    for name, value in settings.items():
        setattr(config, name, value)
    store = wasmtime.Store(wasmtime.Engine(config))
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, MODULE), [])
    return instance.exports(store), store
