"""The interval map against a plain dictionary of pages."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.machine.page_table import IntervalMap

PAGES = 24
changes = st.lists(
    st.tuples(st.integers(0, PAGES - 1), st.integers(1, PAGES), st.integers(0, 3)), max_size=30
)


@given(changes)
def test_a_look_up_finds_the_last_value_given(sequence: list[tuple[int, int, int]]) -> None:
    table = IntervalMap(9)
    model = dict.fromkeys(range(PAGES * 3), 9)
    for start, size, value in sequence:
        table.set(start, start + size, value)
        model.update(dict.fromkeys(range(start, start + size), value))
    assert [table.get(page) for page in model] == list(model.values())


@given(changes)
def test_neighbours_that_are_alike_are_one_entry(sequence: list[tuple[int, int, int]]) -> None:
    table = IntervalMap(9)
    for start, size, value in sequence:
        table.set(start, start + size, value)
    assert table.starts == sorted(set(table.starts))
    assert all(a != b for a, b in pairwise(table.values))


@given(changes, st.integers(0, PAGES - 1), st.integers(1, PAGES))
def test_the_runs_of_a_range_cover_it_once(
    sequence: list[tuple[int, int, int]], start: int, size: int
) -> None:
    table = IntervalMap(9)
    for first, length, value in sequence:
        table.set(first, first + length, value)
    runs = list(table.runs(start, start + size))
    assert runs[0][0] == start
    assert runs[-1][1] == start + size
    assert all(a[1] == b[0] for a, b in pairwise(runs))
    assert all(table.get(page) == value for a, b, value in runs for page in range(a, b))
    uniform = runs[0][2] if len({value for _, _, value in runs}) == 1 else None
    assert table.uniform(start, start + size) == uniform


def test_a_change_among_a_hundred_thousand_entries_costs_no_loop_over_them() -> None:
    many = IntervalMap(0)
    for index in range(100_000):
        many.set(index * 4, index * 4 + 2, 1)
    assert len(many) == 200_000

    def cost(table: IntervalMap) -> float:
        best = 1.0
        for _ in range(20):
            begin = time.perf_counter()
            for index in range(20):
                table.set(80_000 + index * 4, 80_001 + index * 4, 2)
                table.set(80_000 + index * 4, 80_002 + index * 4, 1)
            best = min(best, time.perf_counter() - begin)
        return best

    changes = 40
    assert cost(many) / changes < 500e-6
