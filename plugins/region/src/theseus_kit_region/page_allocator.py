"""Theseus's page allocator: who owns which addresses. It maps nothing and touches no memory.

The semantics are those of Theseus ``kernel/page_allocator``; its four requests (Any,
AtVirtualAddress, AlignedTo, WithinRange) are the kit's placements. Three things differ:

- Ownership ends by :meth:`AllocatedPages.free` or by leaving a ``with`` block, where Rust drops.
  There is no finaliser: pages must not vanish from under a guest because a Python reference did.
- Freed pages coalesce at once, so free space is never more scattered than it must be.
- Theseus demands one page more than a request needs, by an off-by-one; here an exact fit fits.

Placement is first fit, lowest address first, in O(log n) of the free ranges. A request for an
alignment first looks for a range so large that it fits wherever the alignment falls; only where
none is left are smaller ones tried one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from theseus_kit.errors import AddressInUseError, InvalidParameterError, OutOfMemoryError
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AddressRange,
    AlignedTo,
    AnyAddress,
    AtAddress,
    Placement,
    WithinRange,
    page_ceil,
    page_floor,
)
from theseus_kit_region.range_map import RangeMap

ANYWHERE = AnyAddress()


class AllocatedPages:
    """Pages somebody owns; made by a :class:`PageAllocator`. Splitting and merging consume.

    A consumed or freed object owns no pages: its size is 0 and freeing it again does nothing.
    """

    __slots__ = ("_allocator", "_end", "_start")

    def __init__(self, allocator: PageAllocator, start: int, end: int) -> None:
        self._allocator = allocator
        self._start = start
        self._end = end

    @property
    def start_address(self) -> int:
        return self._start

    @property
    def size_in_bytes(self) -> int:
        return self._end - self._start

    @property
    def size_in_pages(self) -> int:
        return (self._end - self._start) // PAGE_SIZE

    @property
    def range(self) -> AddressRange:
        return AddressRange(self._start, self._end)

    def split(self, at: int) -> tuple[AllocatedPages, AllocatedPages]:
        """Consume these pages and return those below the address ``at`` and those from it on.

        Either may be empty. Raises InvalidParameterError, and keeps the pages, unless ``at`` is a
        page boundary from the first page's start to the last one's end.
        """
        if at % PAGE_SIZE or not self._start <= at <= self._end or self._start == self._end:
            raise InvalidParameterError(f"{self!r} cannot be split at {at:#x}")
        first = AllocatedPages(self._allocator, self._start, at)
        second = AllocatedPages(self._allocator, at, self._end)
        self._end = self._start
        return first, second

    def merge(self, other: AllocatedPages) -> AllocatedPages | None:
        """Take over the pages that come right after these; return None.

        Pages that are not contiguous, or another allocator's, come back unchanged.
        """
        if other._start != self._end or other._allocator is not self._allocator or other is self:
            return other
        self._end = other._end
        other._start = other._end
        return None

    def into_range(self) -> AddressRange:
        """Give up ownership without freeing; whoever takes the range must release it."""
        owned = self.range
        self._end = self._start
        return owned

    def free(self) -> None:
        """Give the pages back to the allocator."""
        if self._start != self._end:
            self._allocator.release(self._start, self._end)
            self._end = self._start

    def __enter__(self) -> AllocatedPages:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.free()

    def __repr__(self) -> str:
        return f"<AllocatedPages {self._start:#x}-{self._end:#x}>"


class PageAllocator:
    """Hands out the pages of a territory.

    ``guard_gap`` is how many pages to leave free on either side of pages it places by its own
    choice, as long as there is room for that: what runs over its end then faults.
    """

    def __init__(self, territory: AddressRange, guard_gap: int = 0) -> None:
        start, end = page_ceil(territory.start), page_floor(territory.end)
        if start >= end:
            raise InvalidParameterError(f"{territory!r} holds no whole page")
        self.territory = AddressRange(start, end)
        self._gap = guard_gap * PAGE_SIZE
        self._free: RangeMap[None] = RangeMap()
        self._free.replace(start, end, [(start, end - start, None)])

    def allocate(self, pages: int, placement: Placement = ANYWHERE) -> AllocatedPages:
        """Take a number of pages. ``AtAddress`` means the page that holds the address.

        Raises InvalidParameterError for no pages, AddressInUseError, OutOfMemoryError.
        """
        if isinstance(placement, AtAddress):
            placement = AtAddress(page_floor(placement.address))
        return self._allocate(pages * PAGE_SIZE, placement)

    def allocate_by_bytes(self, size: int, placement: Placement = ANYWHERE) -> AllocatedPages:
        """Take the pages that a number of bytes fills, counted from the very address asked for."""
        if isinstance(placement, AtAddress) and size > 0:
            size += placement.address % PAGE_SIZE
            placement = AtAddress(page_floor(placement.address))
        return self._allocate(page_ceil(size), placement)

    def _allocate(self, size: int, placement: Placement) -> AllocatedPages:
        start = self.find(size, placement)
        self.claim(start, start + size)
        return AllocatedPages(self, start, start + size)

    def find(self, size: int, placement: Placement) -> int:
        """Where such a request would be placed; takes nothing. ``size`` is whole pages, in bytes.

        Raises as :meth:`allocate`.
        """
        if size <= 0:
            raise InvalidParameterError("an allocation must have at least one page")
        territory = self.territory
        if isinstance(placement, AnyAddress):
            start = self._first_fit(size, territory.start, territory.end, PAGE_SIZE)
        elif isinstance(placement, AtAddress):
            start = self._exactly_at(placement.address, size)
        elif isinstance(placement, AlignedTo):
            alignment = placement.alignment
            if alignment < PAGE_SIZE or alignment & (alignment - 1):
                raise InvalidParameterError(
                    f"an alignment must be a power of two of at least {PAGE_SIZE}: {alignment}"
                )
            start = self._first_fit(size, territory.start, territory.end, alignment)
        elif isinstance(placement, WithinRange):
            low = max(page_ceil(placement.bounds.start), territory.start)
            high = min(page_floor(placement.bounds.end), territory.end)
            start = self._first_fit(size, low, high, PAGE_SIZE)
        else:
            raise InvalidParameterError(f"not a placement: {placement!r}")
        if start is None:
            raise OutOfMemoryError(f"no {size} free bytes for {placement!r}")
        return start

    def _exactly_at(self, start: int, size: int) -> int | None:
        end = start + size
        if start < self.territory.start or end > self.territory.end:
            return None
        if not self.is_free(start, end):
            raise AddressInUseError(f"{start:#x}-{end:#x} is taken, wholly or in part")
        return start

    def _first_fit(self, size: int, low: int, high: int, alignment: int) -> int | None:
        if low + size > high:
            return None
        start = self._first_fit_apart(size, low, high, alignment, self._gap)
        if start is None and self._gap:
            start = self._first_fit_apart(size, low, high, alignment, 0)
        return start

    def _first_fit_apart(
        self, size: int, low: int, high: int, alignment: int, gap: int
    ) -> int | None:
        """The lowest free range of ``size`` inside [low, high), ``gap`` away from what is taken.

        ::

            free range  ├──────────────────────────────────────┤
                        ├─gap─┼─up to the alignment─┼─size─┼─gap┤
        """
        free = self._free
        smallest = size + 2 * gap
        at_low = free.find(low) if low > self.territory.start else None
        if at_low is not None:
            start = _align(max(at_low[0] + gap, low), alignment)
            if start + size <= high and start + size + gap <= at_low[0] + at_low[1]:
                return start
        certain = free.first_of_size(low, smallest + alignment - PAGE_SIZE)
        if certain is not None:
            start = _align(certain[0] + gap, alignment)
            if start + size <= high:
                return start
        if alignment > PAGE_SIZE:
            hole = free.first_of_size(low, smallest)
            while hole is not None and hole[0] < high:
                hole_end = hole[0] + hole[1]
                start = _align(hole[0] + gap, alignment)
                if start + size <= high and start + size + gap <= hole_end:
                    return start
                hole = free.first_of_size(hole_end, smallest)
        return None

    def is_free(self, start: int, end: int) -> bool:
        """Whether nobody owns any page of a range inside the territory."""
        hole = self._free.find(start)
        return hole is not None and hole[0] + hole[1] >= end

    def claim(self, start: int, end: int) -> None:
        """Take whatever of a range is still free; its other pages have an owner already."""
        self._free.replace(start, end, ())

    def release(self, start: int, end: int) -> None:
        """Make every page of a range free, and coalesce it with the free pages around it."""
        self._free.replace(start, end, [(start, end - start, None)])

    def free_ranges(self) -> Iterator[AddressRange]:
        """The free ranges, in order; no two of them touch."""
        for start, size, _ in self._free:
            yield AddressRange(start, start + size)


def _align(address: int, alignment: int) -> int:
    return (address + alignment - 1) & -alignment
