"""Conformance of memory mapping: changing, asking about and locking what is mapped."""

from __future__ import annotations

import errno
import resource
import tempfile
from unittest import SkipTest

from theseus_kit.capabilities import Capability
from theseus_kit.errors import (
    GuestKilled,
    InvalidParameterError,
    ProtectionDeniedError,
    UnmappedRegionError,
)
from theseus_kit.hookspecs import MemoryMapping
from theseus_kit.testing.conformance.host import locked_bytes, resident_bytes
from theseus_kit.testing.conformance.memory_mapping import (
    EVERYTHING,
    GIB,
    NONE,
    PAGE,
    READ,
    READ_EXECUTE,
    READ_WRITE,
    MappingConformance,
)
from theseus_kit.testing.conformance.suite import clause, needs
from theseus_kit.values.exceptions import Access
from theseus_kit.values.memory import (
    AtAddress,
    BytesBacking,
    FileBacking,
    MapRequest,
    Protection,
    Region,
)

STORE_CODE = bytes.fromhex("c60758 c3")
STORE = """
    mov byte ptr [rdi], 0x58
    ret
"""


class MemoryMappingConformance(MappingConformance):
    """The group's whole suite."""

    def pages(self, protections: list[Protection]) -> int:
        """Map pages side by side, one of each protection; return the first one's address."""
        base = self.free_pages(len(protections))
        for index, protection in enumerate(protections):
            self.map(MapRequest(PAGE, protection, AtAddress(base + index * PAGE)))
        return base

    def around_a_hole(self) -> int:
        """Map a read-write page, a hole and a read-only page; return the first one's address."""
        base = self.pages([READ_WRITE, NONE, READ])
        self.hooks.memory_unmap(address=base + PAGE, size=PAGE)
        return base

    @needs(Capability.PARTIAL_RANGES)
    @clause(MemoryMapping.memory_protect, "splitting regions where the range cuts them")
    def test_protecting_part_of_a_region_splits_it(self) -> None:
        base = self.map(MapRequest(4 * PAGE)).base
        self.memory.write(base, b"x" * 4 * PAGE)
        self.hooks.memory_protect(address=base + PAGE, size=PAGE, protection=READ)
        for page, protection in enumerate((READ_WRITE, READ, READ_WRITE, READ_WRITE)):
            region = self.hooks.memory_query(address=base + page * PAGE)
            assert region.protection == protection
            assert self.allows(base + page * PAGE, Protection.WRITE) == (protection != READ)
        assert self.memory.read(base, 4 * PAGE) == b"x" * 4 * PAGE

    @clause(MemoryMapping.memory_protect, "Change the protection of pages")
    def test_a_change_of_protection_is_all_that_allows_from_then_on(self) -> None:
        base = self.map(MapRequest(2 * PAGE, NONE)).base
        for protection in (READ_WRITE, READ, READ_EXECUTE, NONE, READ_WRITE):
            self.hooks.memory_protect(address=base, size=2 * PAGE, protection=protection)
            assert self.hooks.memory_query(address=base + PAGE).protection == protection
            for access in (READ, Protection.WRITE, Protection.EXECUTE):
                assert self.allows(base + 2 * PAGE - 1, access) == bool(protection & access)

    @needs(Capability.PARTIAL_RANGES)
    @clause(MemoryMapping, "Ranges are rounded out to whole pages, as region-rs does")
    def test_protecting_two_bytes_across_a_boundary_changes_both_pages_and_no_other(self) -> None:
        base = self.pages([READ_WRITE] * 4)
        self.hooks.memory_protect(address=base + 2 * PAGE - 1, size=2, protection=READ)
        changed = [not self.allows(base + n * PAGE, Protection.WRITE) for n in range(4)]
        assert changed == [False, True, True, False]

    @clause(MemoryMapping.memory_protect, "Change the protection of pages")
    def test_one_change_of_protection_spans_regions(self) -> None:
        base = self.pages([READ, READ_EXECUTE, READ_WRITE])
        self.hooks.memory_protect(address=base, size=3 * PAGE, protection=READ)
        for page in range(3):
            assert self.hooks.memory_query(address=base + page * PAGE).protection == READ
            assert not self.allows(base + page * PAGE, Protection.WRITE)

    @clause(
        MemoryMapping.memory_protect,
        "Raises UnmappedRegionError if any page of the range is not mapped",
    )
    def test_protecting_an_unmapped_page_is_refused_and_changes_no_page(self) -> None:
        base = self.around_a_hole()
        before = self.regions()
        with self.refused(UnmappedRegionError, errno.ENOMEM):
            self.hooks.memory_protect(address=base, size=3 * PAGE, protection=READ)
        assert self.regions() == before
        assert self.allows(base, READ_WRITE)

    @needs(Capability.MAX_PROTECTION)
    @clause(MapRequest, "The most a later change of protection may allow")
    @clause(ProtectionDeniedError, "More access than the region's max_protection allows (EACCES")
    def test_more_than_the_maximum_is_denied_and_changes_nothing(self) -> None:
        region = self.map(MapRequest(PAGE, READ, max_protection=READ_WRITE))
        with self.refused(ProtectionDeniedError, errno.EACCES):
            self.hooks.memory_protect(address=region.base, size=PAGE, protection=READ_EXECUTE)
        found = self.hooks.memory_query(address=region.base)
        assert (found.protection, found.max_protection) == (READ, READ_WRITE)
        self.hooks.memory_protect(address=region.base, size=PAGE, protection=READ_WRITE)
        with self.refused(InvalidParameterError, errno.EINVAL):
            self.map(MapRequest(PAGE, READ_EXECUTE, max_protection=READ_WRITE))

    @clause(Protection, "What guest code may do with a page")
    def test_guest_code_faults_at_the_exact_byte_from_its_next_access_on(self) -> None:
        base = self.map(MapRequest(PAGE)).base
        store = self.machine.place_code(STORE_CODE, "store")
        self.machine.call(store, (base + 5,))
        assert self.memory.read(base + 5, 1) == b"X"
        self.hooks.memory_protect(address=base, size=PAGE, protection=READ)
        killed = self.raised(GuestKilled, self.machine.call, store, (base + 7,))
        assert killed.context is not None
        fault = killed.context.page_fault
        assert fault is not None
        assert (fault.accessed_address, fault.access) == (base + 7, Access.WRITE)

    @clause(MemoryMapping.memory_unmap, "Unmap every mapped page of the range")
    def test_unmapped_pages_fault_and_are_not_found(self) -> None:
        base = self.map(MapRequest(2 * PAGE)).base
        self.hooks.memory_unmap(address=base, size=2 * PAGE)
        for address in (base, base + 2 * PAGE - 1):
            assert not self.allows(address, READ)
            with self.refused(UnmappedRegionError):
                self.hooks.memory_query(address=address)

    @needs(Capability.PARTIAL_RANGES)
    @clause(MemoryMapping, "Ranges are rounded out to whole pages")
    @clause(MemoryMapping.memory_unmap, "Unmap every mapped page of the range")
    def test_unmapping_the_middle_leaves_both_sides_as_they_were(self) -> None:
        base = self.map(MapRequest(3 * PAGE, label="around")).base
        self.memory.write(base, b"x" * 3 * PAGE)
        self.hooks.memory_unmap(address=base + PAGE + 5, size=1)
        assert [self.allows(base + n * PAGE, READ_WRITE) for n in range(3)] == [True, False, True]
        for page in (base, base + 2 * PAGE):
            assert self.memory.read(page, PAGE) == b"x" * PAGE
            region = self.hooks.memory_query(address=page)
            assert (region.base, region.size) == (page, PAGE)

    @needs(Capability.LENIENT_UNMAP)
    @clause(MemoryMapping.memory_unmap, "pages that are not mapped are no error")
    def test_unmapping_over_holes_and_again_is_no_error(self) -> None:
        base = self.around_a_hole()
        for _ in range(2):
            self.hooks.memory_unmap(address=base, size=3 * PAGE)
        assert not self.hooks.memory_query_range(address=base, size=3 * PAGE)

    @clause(MemoryMapping.memory_unmap, "Unmap every mapped page of the range")
    def test_one_unmapping_takes_the_pages_of_many_regions(self) -> None:
        base = self.pages([READ, READ_WRITE, NONE, READ_WRITE])
        self.hooks.memory_unmap(address=base, size=3 * PAGE)
        assert [self.allows(base + n * PAGE, READ) for n in range(4)] == [False] * 3 + [True]
        assert [r.base for r in self.hooks.memory_query_range(address=base, size=4 * PAGE)] == [
            base + 3 * PAGE
        ]

    @clause(MemoryMapping.memory_map, "Map new pages")
    def test_addresses_that_were_unmapped_can_be_mapped_again_and_read_as_zero(self) -> None:
        base = self.map(MapRequest(PAGE)).base
        self.memory.write(base, b"old")
        self.hooks.memory_unmap(address=base, size=PAGE)
        self.map(MapRequest(PAGE, placement=AtAddress(base)))
        assert self.memory.read(base, PAGE) == bytes(PAGE)

    @needs(Capability.PARTIAL_RANGES)
    @clause(MemoryMapping.memory_discard, "Make pages read as freshly mapped again")
    def test_discarded_pages_read_as_zero_and_keep_their_protection(self) -> None:
        base = self.map(MapRequest(3 * PAGE)).base
        self.memory.write(base, b"x" * 3 * PAGE)
        self.hooks.memory_protect(address=base + PAGE, size=PAGE, protection=READ)
        self.hooks.memory_discard(address=base + PAGE + 5, size=1)
        pages = [self.memory.read(base + n * PAGE, PAGE) for n in range(3)]
        assert pages == [b"x" * PAGE, bytes(PAGE), b"x" * PAGE]
        assert not self.allows(base + PAGE, Protection.WRITE)
        assert self.hooks.memory_query(address=base + PAGE).protection == READ

    @clause(MemoryMapping.memory_discard, "Make pages read as freshly mapped again")
    def test_discarded_pages_of_bytes_read_as_zero(self) -> None:
        base = self.map(MapRequest(PAGE, backing=BytesBacking(b"bytes"))).base
        self.hooks.memory_discard(address=base, size=PAGE)
        assert self.memory.read(base, PAGE) == bytes(PAGE)

    @needs(Capability.FILE_BACKING)
    @clause(MemoryMapping.memory_discard, "Make pages read as freshly mapped again")
    def test_discarded_pages_of_a_file_read_as_the_file(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(b"file")
            file.flush()
            base = self.map(MapRequest(PAGE, backing=FileBacking(file.fileno()))).base
        self.memory.write(base, b"mine")
        self.hooks.memory_discard(address=base, size=PAGE)
        assert self.memory.read(base, 5) == b"file\0"

    @needs(Capability.RETURNS_MEMORY)
    @clause(MemoryMapping.memory_discard, "give their memory back to the host")
    def test_discarded_pages_give_their_memory_back(self) -> None:
        size = 32 << 20
        base = self.map(MapRequest(size)).base
        self.memory.write(base, bytes(b"x" * size))
        before = resident_bytes()
        self.hooks.memory_discard(address=base, size=size)
        assert before - resident_bytes() > size // 2

    @clause(UnmappedRegionError, "An address of the range is not mapped (ENOMEM")
    def test_discarding_an_unmapped_page_is_refused_and_discards_nothing(self) -> None:
        base = self.around_a_hole()
        self.memory.write(base, b"kept")
        with self.refused(UnmappedRegionError, errno.ENOMEM):
            self.hooks.memory_discard(address=base, size=3 * PAGE)
        assert self.memory.read(base, 4) == b"kept"

    @clause(MemoryMapping.memory_query, "Return the region that holds an address")
    def test_a_query_finds_the_region_from_its_first_byte_to_its_last(self) -> None:
        base = self.around_a_hole()
        for address in (base, base + 1, base + PAGE - 1):
            region = self.hooks.memory_query(address=address)
            assert isinstance(region, Region)
            assert address in region.range
            assert region.protection == READ_WRITE

    @clause(MemoryMapping.memory_query, "Raises UnmappedRegionError")
    def test_a_query_of_what_is_not_mapped_is_refused(self) -> None:
        base = self.around_a_hole()
        for address in (base + PAGE, base + 2 * PAGE - 1, 0):
            with self.refused(UnmappedRegionError, errno.ENOMEM):
                self.hooks.memory_query(address=address)

    @clause(
        MemoryMapping.memory_query_range,
        "Return the regions that overlap a range, whole, in order; none if nothing is mapped",
    )
    def test_a_range_query_tells_whole_regions_in_order(self) -> None:
        base = self.around_a_hole()
        found = self.hooks.memory_query_range(address=base + 1, size=2 * PAGE)
        assert [region.base for region in found] == [base, base + 2 * PAGE]
        assert found[0] == self.hooks.memory_query(address=base)
        assert list(self.hooks.memory_query_range(address=base + PAGE, size=PAGE)) == []
        everything = self.regions()
        assert everything == sorted(everything, key=lambda region: region.base)
        assert all(self.hooks.memory_query(address=r.base) == r for r in everything)

    @clause(InvalidParameterError, "A size of zero")
    def test_a_range_of_no_bytes_is_refused_by_every_hook(self) -> None:
        base = self.map(MapRequest(PAGE)).base
        for hook in ("unmap", "discard", "query_range", "lock", "unlock"):
            with self.refused(InvalidParameterError, errno.EINVAL):
                getattr(self.hooks, f"memory_{hook}")(address=base, size=0)
        with self.refused(InvalidParameterError, errno.EINVAL):
            self.hooks.memory_protect(address=base, size=0, protection=READ)
        assert self.allows(base, READ_WRITE)

    @clause(InvalidParameterError, "an overflowing range")
    def test_a_range_past_the_end_of_the_address_space_is_refused(self) -> None:
        for hook in ("unmap", "discard"):
            with self.refused(InvalidParameterError, errno.EINVAL):
                getattr(self.hooks, f"memory_{hook}")(address=PAGE, size=EVERYTHING)
        with self.refused(InvalidParameterError, errno.EINVAL):
            self.hooks.memory_protect(address=PAGE, size=EVERYTHING, protection=READ)

    @needs(Capability.LOCKING)
    @clause(MemoryMapping.memory_lock, "Keep pages in host memory")
    @clause(MemoryMapping.memory_unlock, "Undo memory_lock")
    def test_locked_pages_are_locked_on_the_host_until_they_are_unlocked(self) -> None:
        if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] in range(4 * PAGE):
            raise SkipTest("the host does not let this process lock memory")
        base = self.map(MapRequest(2 * PAGE)).base
        before = locked_bytes()
        self.hooks.memory_lock(address=base, size=2 * PAGE)
        assert locked_bytes() - before == 2 * PAGE
        self.hooks.memory_unlock(address=base, size=2 * PAGE)
        assert locked_bytes() == before

    @clause(MemoryMapping.memory_lock, "Raises UnmappedRegionError")
    @clause(MemoryMapping.memory_unlock, "Raises UnmappedRegionError")
    def test_locking_and_unlocking_an_unmapped_page_is_refused(self) -> None:
        base = self.around_a_hole()
        for hook in (self.hooks.memory_lock, self.hooks.memory_unlock):
            with self.refused(UnmappedRegionError, errno.ENOMEM):
                hook(address=base, size=3 * PAGE)

    @needs(Capability.PARTIAL_RANGES)
    @clause(MemoryMapping, "What region-rs and mmap ask")
    def test_a_linear_memory_grows_as_wasmtime_grows_it(self) -> None:
        reserved, guard = 4 * GIB, 32 << 20
        base = self.map(MapRequest(reserved + 2 * guard, NONE)).base + guard
        for pages in (1, 2, 16):
            self.hooks.memory_protect(address=base, size=pages << 16, protection=READ_WRITE)
            self.memory.write(base + (pages << 16) - 4, b"last")
            assert not self.allows(base + (pages << 16), READ)
        assert not self.allows(base - 1, READ)
        place = AtAddress(base, replace=True)
        self.map(MapRequest(1 << 16, READ_WRITE, place, BytesBacking(b"a new instance's data")))
        assert self.memory.read(base, 5) == b"a new"
        assert self.memory.read((2 << 16) - 4 + base, 4) == b"last"
        self.hooks.memory_discard(address=base, size=16 << 16)
        assert self.memory.read(base, 16 << 16) == bytes(16 << 16)
        self.hooks.memory_unmap(address=base - guard, size=reserved + 2 * guard)
        assert not self.hooks.memory_query_range(address=base - guard, size=reserved + 2 * guard)

    @clause(MemoryMapping, "What region-rs and mmap ask")
    def test_wasmtime_grows_a_memory_and_traps_beyond_it(self) -> None:
        wasmtime = self.platform.wasmtime
        store = wasmtime.Store()
        module = wasmtime.Module(store.engine, GROWING)
        exports = wasmtime.Instance(store, module, []).exports(store)
        assert exports["grow"](store, 3) == 1
        exports["store"](store, (4 << 16) - 4, 42)
        assert exports["load"](store, (4 << 16) - 4) == 42
        trap = self.raised(wasmtime.Trap, exports["store"], store, (4 << 16) - 3, 42)
        assert trap.trap_code is wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS


GROWING = """
(module
  (memory 1)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))
"""
