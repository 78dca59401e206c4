"""What crosses the memory-mapping hooks: protections, ranges, requests and regions.

All addresses are guest virtual addresses and all sizes are bytes unless a name says pages.
Whether a request can be met is the provider's business; nothing here allocates.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TypeAlias

from theseus_kit.values.marker import Marker
from theseus_kit.values.record import NamedTuple

PAGE_SIZE = 4096
"""Bytes in a page; the only page size of the machines."""


def page_floor(address: int) -> int:
    """Round an address down to its page's first byte: page_floor(4097) returns 4096."""
    return address & -PAGE_SIZE


def page_ceil(address: int) -> int:
    """Round an address up to a page boundary: page_ceil(4097) returns 8192."""
    return (address + PAGE_SIZE - 1) & -PAGE_SIZE


class Protection(IntFlag):
    """What guest code may do with a page. Shown as region-rs shows it: ``r-x``."""

    NONE = 0
    READ = 1
    WRITE = 2
    EXECUTE = 4
    READ_WRITE = 3
    READ_EXECUTE = 5
    READ_WRITE_EXECUTE = 7

    def __str__(self) -> str:
        value = int(self)
        return "".join(c if value & bit else "-" for c, bit in (("r", 1), ("w", 2), ("x", 4)))


class AddressRange(NamedTuple):
    """The half-open range of addresses [start, end)."""

    start: int
    end: int

    @classmethod
    def of_size(cls, start: int, size: int) -> AddressRange:
        return cls(start, start + size)

    @property
    def size(self) -> int:
        return self.end - self.start

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.start <= address < self.end

    def overlaps(self, other: AddressRange) -> bool:
        return self.start < other.end and other.start < self.end

    def __repr__(self) -> str:
        return f"AddressRange({self.start:#x}, {self.end:#x})"


class AnyAddress(Marker):
    """Place the mapping wherever there is room."""


class AtAddress(NamedTuple):
    """Place the mapping exactly here.

    With ``replace`` whatever was mapped there is discarded first (mmap's MAP_FIXED); without,
    a taken address is an error (MAP_FIXED_NOREPLACE).
    """

    address: int
    replace: bool = False


class AlignedTo(NamedTuple):
    """Place the mapping at a multiple of ``alignment`` bytes (a power of two, at least a page)."""

    alignment: int


class WithinRange(NamedTuple):
    """Place the mapping wholly inside ``bounds``."""

    bounds: AddressRange


Placement: TypeAlias = AnyAddress | AtAddress | AlignedTo | WithinRange


class ZeroBacking(Marker):
    """Pages read as zero until written, and cost nothing until touched."""


class BytesBacking(NamedTuple):
    """The mapping starts with a copy of ``data``; the rest of it is zero."""

    data: bytes | memoryview

    def __repr__(self) -> str:
        return f"BytesBacking(<{len(self.data)} bytes>)"


class FileBacking(NamedTuple):
    """A private (copy-on-write) mapping of a host file.

    ``descriptor`` is a host file descriptor that need stay open only during the call; ``offset``
    is in bytes, a multiple of the page size. Bytes past the file's end read as zero.
    """

    descriptor: int
    offset: int = 0


Backing: TypeAlias = ZeroBacking | BytesBacking | FileBacking


class MapRequest(NamedTuple):
    """A request for a new region; ``size`` in bytes is rounded up to whole pages."""

    size: int
    protection: Protection = Protection.READ_WRITE
    placement: Placement = AnyAddress()
    backing: Backing = ZeroBacking()
    label: str = ""
    """What the region is for, shown to people: ``stack of main``, ``libwasmtime.so``."""
    max_protection: Protection = Protection.READ_WRITE_EXECUTE
    """The most a later change of protection may allow."""
    guard: bool = False
    """The region is there to fault when it is touched; its protection must be NONE."""
    shared: bool = False
    """Asked for with MAP_SHARED. One address space is all there is, so only queries tell."""


class Region(NamedTuple):
    """A run of pages that are alike. The fields are region-rs 3.0's, and a label.

    Neighbours that are alike may be merged by the provider, so a region is not a handle on one
    allocation: see :class:`Allocation <theseus_kit_region.Allocation>` for that.
    """

    base: int
    size: int
    protection: Protection
    max_protection: Protection = Protection.READ_WRITE_EXECUTE
    reserved: bool = False
    """Addresses are taken but nothing was committed (mapped with no access, never touched)."""
    guarded: bool = False
    """The region is a guard: touching it is meant to fault."""
    shared: bool = False
    label: str = ""

    @property
    def range(self) -> AddressRange:
        return AddressRange(self.base, self.base + self.size)

    @property
    def is_committed(self) -> bool:
        return not self.reserved

    @property
    def is_readable(self) -> bool:
        return bool(self.protection & Protection.READ)

    @property
    def is_writable(self) -> bool:
        return bool(self.protection & Protection.WRITE)

    @property
    def is_executable(self) -> bool:
        return bool(self.protection & Protection.EXECUTE)

    def __repr__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        return f"<Region {self.base:#x}-{self.base + self.size:#x} {self.protection}{label}>"
