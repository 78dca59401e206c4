"""Address ranges with values, kept as few as possible: neighbours of equal value are one range.

One operation changes the map, :meth:`RangeMap.replace`; it splits ranges at both ends of what it
replaces and merges what becomes alike. The free addresses of :mod:`.page_allocator` (whose value
is always None, so that merging is coalescing) and the regions of :mod:`.region_map` are both such
maps. Nothing here knows of pages: the callers round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic

from theseus_kit_region.range_tree import Range, RangeTree, Value


class RangeMap(Generic[Value]):
    """Disjoint half-open address ranges. Every operation is O(log n + k), k the ranges touched."""

    __slots__ = ("_tree",)

    def __init__(self) -> None:
        self._tree: RangeTree[Value] = RangeTree()

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._tree)

    def __iter__(self) -> Iterator[Range[Value]]:
        """Every range as (start, size, value), in order. The map must not change meanwhile."""
        return iter(self._tree)

    def find(self, address: int) -> Range[Value] | None:
        """The range that holds an address."""
        leaf, index = self._tree.locate(address)
        if index < 0:
            return None
        start, size = leaf.starts[index], leaf.sizes[index]
        return (start, size, leaf.values[index]) if address < start + size else None

    def first_of_size(self, address: int, size: int) -> Range[Value] | None:
        """The lowest range of at least ``size`` bytes that starts at ``address`` or above."""
        return self._tree.first_of_size(address, size)

    def overlapping(self, start: int, end: int) -> list[Range[Value]]:
        """The ranges that overlap [start, end), whole, in order."""
        leaf, index = self._tree.locate(start)
        if index < 0 or leaf.starts[index] + leaf.sizes[index] <= start:
            index += 1
        found: list[Range[Value]] = []
        while True:
            starts = leaf.starts
            for position in range(index, len(starts)):
                if starts[position] >= end:
                    return found
                found.append((starts[position], leaf.sizes[position], leaf.values[position]))
            if leaf.next is None:
                return found
            leaf, index = leaf.next, 0

    def pieces(self, start: int, end: int) -> list[Range[Value]]:
        """What of the map lies inside [start, end): the overlapping ranges, cut to it."""
        found = self.overlapping(start, end)
        if found:
            first, size, value = found[0]
            if first < start:
                found[0] = (start, first + size - start, value)
            last, size, value = found[-1]
            if last + size > end:
                found[-1] = (last, end - last, value)
        return found

    def replace(self, start: int, end: int, ranges: Sequence[Range[Value]]) -> None:
        """Make ``ranges``, and nothing else, what lies inside [start, end).

        They must be in order, disjoint, not empty and inside it; there may be none of them.
        """
        merged: list[Range[Value]] = []
        # Neighbours that merely touch [start, end) take part too: they may have to merge.
        leaf, index = self._tree.locate(start - 1)
        if index < 0 or leaf.starts[index] + leaf.sizes[index] < start:
            index += 1
        elif leaf.starts[index] < start:
            merged.append((leaf.starts[index], start - leaf.starts[index], leaf.values[index]))
        for item in ranges:
            _append(merged, item)
        count = 0
        current, position = leaf, index
        while True:
            if position >= len(current.starts):
                if current.next is None:
                    break
                current, position = current.next, 0
                continue
            base = current.starts[position]
            if base > end:
                break
            count += 1
            beyond = base + current.sizes[position] - end
            if beyond > 0:
                kept = min(beyond, current.sizes[position])
                _append(merged, (end + beyond - kept, kept, current.values[position]))
                break
            position += 1
        if count or merged:
            self._tree.splice(leaf, index, count, merged)


def _append(merged: list[Range[Value]], item: Range[Value]) -> None:
    """Append a range, as part of the last one where the two touch and are alike."""
    if merged:
        start, size, value = merged[-1]
        if start + size == item[0] and value == item[2]:
            merged[-1] = (start, size + item[1], value)
            return
    merged.append(item)
