"""The range map and the tree beneath it, against a list with one entry for each address."""

from itertools import groupby

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from theseus_kit_region import range_tree
from theseus_kit_region.range_map import RangeMap
from theseus_kit_region.range_tree import Range

EXTENT = 300
"""Addresses of the model; with nodes of 4 entries enough for a tree four levels deep."""


def assert_the_tree_is_sound(tree: range_tree.RangeTree[str]) -> None:
    """Separators equal first starts, maxima are maxima, leaves are linked, counts agree."""
    leaves: list[object] = []

    def walk(node: object) -> tuple[int | None, int]:
        if isinstance(node, range_tree.Leaf):
            leaves.append(node)
            assert len(node.starts) == len(node.sizes) == len(node.values) <= range_tree.LIMIT
            assert node.starts or node is tree._root
            return (node.starts[0] if node.starts else None), max(node.sizes, default=0)
        assert isinstance(node, range_tree._Inner)
        assert 0 < len(node.children) <= range_tree.LIMIT
        below = [walk(child) for child in node.children]
        assert all(child.parent is node for child in node.children)
        assert node.separators == [first for first, _ in below[1:]]
        assert node.maxima == [largest for _, largest in below]
        return below[0][0], max(node.maxima)

    walk(tree._root)
    linked: list[object] = []
    leaf: range_tree.Leaf[str] | None = tree._first
    while leaf is not None:
        assert leaf.previous is (linked[-1] if linked else None)
        linked.append(leaf)
        leaf = leaf.next
    assert linked == leaves
    assert len(list(tree)) == len(tree)


class RangeMapMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.map: RangeMap[str] = RangeMap()
        self.model: list[str | None] = [None] * EXTENT

    @rule(
        start=st.integers(0, EXTENT - 1),
        length=st.one_of(st.integers(1, 4), st.integers(1, EXTENT)),
        values=st.lists(st.sampled_from(["a", "b", None]), max_size=12),
    )
    def replace(self, start: int, length: int, values: list[str | None]) -> None:
        """The range starts with one-address pieces of these values and is empty after them."""
        end = min(start + length, EXTENT)
        cut = values[: end - start]
        self.map.replace(
            start, end, [(start + i, 1, value) for i, value in enumerate(cut) if value]
        )
        self.model[start:end] = cut + [None] * (end - start - len(cut))

    @rule(start=st.integers(0, EXTENT - 1), step=st.integers(2, 3))
    def scatter(self, start: int, step: int) -> None:
        """Many ranges at once, none touching the next: nodes split."""
        addresses = range(start, EXTENT, step)
        self.map.replace(start, EXTENT, [(address, 1, "a") for address in addresses])
        self.model[start:] = [
            "a" if (address - start) % step == 0 else None for address in range(start, EXTENT)
        ]

    def expected(self) -> list[Range[str]]:
        ranges = []
        address = 0
        for value, run in groupby(self.model):
            length = len(list(run))
            if value is not None:
                ranges.append((address, length, value))
            address += length
        return ranges

    @rule(start=st.integers(0, EXTENT - 1), length=st.integers(1, EXTENT))
    def overlapping_and_pieces(self, start: int, length: int) -> None:
        end = start + length
        whole = [r for r in self.expected() if r[0] < end and r[0] + r[1] > start]
        assert self.map.overlapping(start, end) == whole
        assert self.map.pieces(start, end) == [
            (max(base, start), min(base + size, end) - max(base, start), value)
            for base, size, value in whole
        ]

    @rule(address=st.integers(0, EXTENT - 1), size=st.integers(1, 40))
    def first_of_size(self, address: int, size: int) -> None:
        large = (r for r in self.expected() if r[0] >= address and r[1] >= size)
        assert self.map.first_of_size(address, size) == next(large, None)

    @rule(address=st.integers(0, EXTENT - 1))
    def find(self, address: int) -> None:
        holding = (r for r in self.expected() if r[0] <= address < r[0] + r[1])
        assert self.map.find(address) == next(holding, None)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert list(self.map) == self.expected()
        assert len(self.map) == len(self.expected())
        assert_the_tree_is_sound(self.map._tree)


@pytest.mark.parametrize("limit", [4, 5, 32])
def test_any_sequence_of_changes_leaves_what_a_list_of_addresses_would(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_tree, "LIMIT", limit)
    run_state_machine_as_test(
        RangeMapMachine, settings=settings(max_examples=60, stateful_step_count=25, deadline=None)
    )


def test_a_hundred_thousand_ranges_make_a_tree_of_few_levels() -> None:
    ranges: RangeMap[str] = RangeMap()
    ranges.replace(0, 400_000, [(4 * i, 2, "a") for i in range(100_000)])
    node = ranges._tree._root
    levels = 1
    while isinstance(node, range_tree._Inner):
        node = node.children[0]
        levels += 1
    assert len(ranges) == 100_000
    assert levels <= 5
    assert_the_tree_is_sound(ranges._tree)
