"""A B+-tree of disjoint address ranges, ordered by start, each with a value.

It finds, inserts and removes ranges in O(log n), and finds the first range that is large enough
in O(log n) as well, because every inner node knows the largest size below each of its children.
What ranges *mean*, and which neighbours belong together, is :mod:`.range_map`'s business.

::

    inner   separators        [ 0x5000,        0x9000 ]          first start below each child
            children       [ leaf,      leaf,        leaf ]      but the leftmost
            maxima         [ 0x2000,    0x1000,    0x7000 ]      largest size below each child
    leaf    starts, sizes, values: parallel lists, up to LIMIT ranges; leaves are linked

Two decisions keep it short and fast in Python:

- All work within a node is a bisection or a slice of a plain list, which CPython does in C.
- A node is removed only when it is empty, never merged at half: Johnson and Shasha, "B-trees with
  inserts and deletes: why free-at-empty is better than merge-at-half" (1993).

A separator always *equals* the first start to its right. Without that, a range whose start moves
up in place could come to lie on the wrong side of a stale separator.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Generic, TypeAlias, TypeVar

Value = TypeVar("Value")
Range: TypeAlias = tuple[int, int, Value]
"""start, size in bytes, value."""

LIMIT = 32
"""Most entries of a node. Measured from 16 to 64: the search for a size scans nodes, so large ones
cost it more than depth does; below 24 everything else gets slower."""

_FEW = 8


class Leaf(Generic[Value]):
    """Up to LIMIT ranges. Empty only as the root of an empty tree."""

    __slots__ = ("next", "parent", "previous", "sizes", "starts", "values")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.sizes: list[int] = []
        self.values: list[Value] = []
        self.parent: _Inner[Value] | None = None
        self.previous: Leaf[Value] | None = None
        self.next: Leaf[Value] | None = None


class _Inner(Generic[Value]):
    __slots__ = ("children", "maxima", "parent", "separators")

    def __init__(self) -> None:
        self.separators: list[int] = []
        self.children: list[Leaf[Value] | _Inner[Value]] = []
        self.maxima: list[int] = []
        self.parent: _Inner[Value] | None = None


Position: TypeAlias = tuple[Leaf[Value], int]
"""A leaf and an index into it; good until the next :meth:`RangeTree.splice`."""


class RangeTree(Generic[Value]):
    """Disjoint ranges by start address."""

    __slots__ = ("_count", "_first", "_root")

    def __init__(self) -> None:
        self._first: Leaf[Value] = Leaf()
        self._root: Leaf[Value] | _Inner[Value] = self._first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Range[Value]]:
        """Every range in order. The tree must not change meanwhile."""
        leaf: Leaf[Value] | None = self._first
        while leaf is not None:
            yield from zip(leaf.starts, leaf.sizes, leaf.values, strict=True)
            leaf = leaf.next

    def locate(self, address: int) -> Position[Value]:
        """The last range that starts at or below an address; index -1 if there is none."""
        node = self._root
        while isinstance(node, _Inner):
            node = node.children[bisect_right(node.separators, address)]
        return node, bisect_right(node.starts, address) - 1

    def first_of_size(self, address: int, size: int) -> Range[Value] | None:
        """The lowest range of at least ``size`` bytes among those that start at ``address`` or
        above."""
        starts = self._first.starts
        if starts and address <= starts[0]:
            return _first_below(self._root, size)
        leaf, index = self.locate(address)
        if index < 0 or leaf.starts[index] < address:
            index += 1
        sizes = leaf.sizes
        for found in range(index, len(sizes)):
            if sizes[found] >= size:
                return leaf.starts[found], sizes[found], leaf.values[found]
        node = self._next_of_size(leaf, size) if leaf.starts else None
        return None if node is None else _first_below(node, size)

    def _next_of_size(self, leaf: Leaf[Value], size: int) -> Leaf[Value] | _Inner[Value] | None:
        """The lowest subtree right of a leaf that holds a range of at least ``size`` bytes."""
        key = leaf.starts[0]
        parent = leaf.parent
        while parent is not None:
            maxima = parent.maxima
            for index in range(bisect_right(parent.separators, key) + 1, len(maxima)):
                if maxima[index] >= size:
                    return parent.children[index]
            parent = parent.parent
        return None

    def splice(
        self, leaf: Leaf[Value], index: int, count: int, ranges: Sequence[Range[Value]]
    ) -> None:
        """Replace ``count`` ranges from a position on, in following leaves too, by others.

        The new ranges must be in order and lie between the neighbours of the old ones.
        """
        self._count += len(ranges) - count
        key = leaf.starts[0] if leaf.starts else 0
        here = min(count, len(leaf.starts) - index)
        following = leaf.next
        if len(ranges) > _FEW:
            _put_many(leaf, index, index + here, ranges)
        else:
            _put_few(leaf, index, index + here, ranges)
        count -= here
        while count and following is not None:
            after = following.next
            first_key = following.starts[0]
            here = min(count, len(following.starts))
            del following.starts[:here], following.sizes[:here], following.values[:here]
            self._settle(following, first_key)
            count -= here
            following = after
        self._settle(leaf, key)

    def _settle(self, leaf: Leaf[Value], key: int) -> None:
        """Mend the tree above a changed leaf; ``key`` is the first start it had before."""
        if not leaf.starts:
            self._remove(leaf, key)
            return
        if len(leaf.starts) > LIMIT:
            # Tell the tree of the new first start before bisecting separators by it.
            self._ascend(leaf, key, leaf.starts[0], max(leaf.sizes))
            self._split_leaf(leaf)
            return
        if leaf.parent is not None:
            self._ascend(leaf, key, leaf.starts[0], max(leaf.sizes))

    def _ascend(
        self, node: Leaf[Value] | _Inner[Value], key: int, first: int, largest: int
    ) -> None:
        """Carry a node's new first start and largest size up, as far as they matter."""
        moved = first != key
        parent = node.parent
        while parent is not None:
            index = bisect_right(parent.separators, key)
            if moved and index:
                parent.separators[index - 1] = first
                moved = False
            if parent.maxima[index] != largest:
                parent.maxima[index] = largest
                largest = max(parent.maxima)
            elif not moved:
                return
            else:
                largest = max(parent.maxima)
            parent = parent.parent

    def _split_leaf(self, leaf: Leaf[Value]) -> None:
        """Cut an overfull leaf into leaves about half full, from its end on."""
        half = LIMIT // 2
        while len(leaf.starts) > LIMIT:
            cut = len(leaf.starts) - half
            right: Leaf[Value] = Leaf()
            right.starts, leaf.starts = leaf.starts[cut:], leaf.starts[:cut]
            right.sizes, leaf.sizes = leaf.sizes[cut:], leaf.sizes[:cut]
            right.values, leaf.values = leaf.values[cut:], leaf.values[:cut]
            right.previous, right.next = leaf, leaf.next
            if leaf.next is not None:
                leaf.next.previous = right
            leaf.next = right
            self._insert_right(leaf, right, right.starts[0], max(leaf.sizes), max(right.sizes))

    def _insert_right(
        self,
        left: Leaf[Value] | _Inner[Value],
        right: Leaf[Value] | _Inner[Value],
        separator: int,
        left_largest: int,
        right_largest: int,
    ) -> None:
        """Hang a node that was split off another into the tree, just right of it."""
        parent = left.parent
        if parent is None:
            parent = _Inner()
            parent.children.append(left)
            parent.maxima.append(left_largest)
            left.parent = parent
            self._root = parent
        index = bisect_right(parent.separators, separator)
        right.parent = parent
        parent.separators.insert(index, separator)
        parent.children.insert(index + 1, right)
        parent.maxima[index] = left_largest
        parent.maxima.insert(index + 1, right_largest)
        if len(parent.children) > LIMIT:
            self._split_inner(parent)

    def _split_inner(self, node: _Inner[Value]) -> None:
        half = len(node.children) // 2
        right: _Inner[Value] = _Inner()
        separator = node.separators[half - 1]
        right.separators, node.separators = node.separators[half:], node.separators[: half - 1]
        right.children, node.children = node.children[half:], node.children[:half]
        right.maxima, node.maxima = node.maxima[half:], node.maxima[:half]
        for child in right.children:
            child.parent = right
        self._insert_right(node, right, separator, max(node.maxima), max(right.maxima))

    def _remove(self, leaf: Leaf[Value], key: int) -> None:
        """Take an empty leaf out of the tree, with every ancestor that this leaves empty."""
        if leaf.parent is None:
            return
        if leaf.previous is not None:
            leaf.previous.next = leaf.next
        elif leaf.next is not None:
            self._first = leaf.next
        if leaf.next is not None:
            leaf.next.previous = leaf.previous
        parent: _Inner[Value] | None = leaf.parent
        while parent is not None and len(parent.children) == 1:
            parent = parent.parent
        if parent is None:
            self._first = Leaf()
            self._root = self._first
            return
        index = bisect_right(parent.separators, key)
        first = parent.separators[0] if index == 0 else key
        del parent.separators[max(index - 1, 0)]
        del parent.children[index], parent.maxima[index]
        self._ascend(parent, key, first, max(parent.maxima))
        while isinstance(self._root, _Inner) and len(self._root.children) == 1:
            self._root = self._root.children[0]
            self._root.parent = None


def _put_few(leaf: Leaf[Value], index: int, end: int, ranges: Sequence[Range[Value]]) -> None:
    """Replace leaf[index:end] by overwriting in place: half the time of slicing for one or two."""
    starts, sizes, values = leaf.starts, leaf.sizes, leaf.values
    for start, size, value in ranges:
        if index < end:
            starts[index] = start
            sizes[index] = size
            values[index] = value
        else:
            starts.insert(index, start)
            sizes.insert(index, size)
            values.insert(index, value)
        index += 1
    if index < end:
        del starts[index:end], sizes[index:end], values[index:end]


def _put_many(leaf: Leaf[Value], index: int, end: int, ranges: Sequence[Range[Value]]) -> None:
    leaf.starts[index:end] = [start for start, _, _ in ranges]
    leaf.sizes[index:end] = [size for _, size, _ in ranges]
    leaf.values[index:end] = [value for _, _, value in ranges]


def _first_below(node: Leaf[Value] | _Inner[Value], size: int) -> Range[Value] | None:
    """The lowest range of at least ``size`` bytes at or below a node."""
    while isinstance(node, _Inner):
        index = _first_at_least(node.maxima, size)
        if index < 0:
            return None
        node = node.children[index]
    index = _first_at_least(node.sizes, size)
    return None if index < 0 else (node.starts[index], node.sizes[index], node.values[index])


def _first_at_least(sizes: list[int], size: int) -> int:
    for index, candidate in enumerate(sizes):
        if candidate >= size:
            return index
    return -1
