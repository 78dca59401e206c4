"""The cells of a matrix: the product of its axes, or few of it that hold every pair of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, product

from theseus_kit.assembly.catalogue import closest
from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix.definition import (
    MACHINE,
    TESTS,
    WASMTIME,
    MatrixDefinition,
    When,
    matches,
)
from theseus_kit.testing.matrix.suite_files import unset_variable
from theseus_kit.values.record import NamedTuple

_NOT_PLUGINS = (MACHINE, WASMTIME, TESTS)


class Cell(NamedTuple):
    """One choice of each axis: what one process assembles and runs."""

    choices: Mapping[str, str]
    """Axis → value."""
    skip_reason: str = ""
    """Why it is not to be run, empty if it is."""

    @property
    def machine(self) -> str:
        return self.choices[MACHINE]

    @property
    def wasmtime(self) -> str:
        return self.choices[WASMTIME]

    @property
    def tests(self) -> str:
        return self.choices[TESTS]

    @property
    def plugins(self) -> tuple[str, ...]:
        """The names of the plugins, in the axes' order, each once."""
        chosen = [value for axis, value in self.choices.items() if axis not in _NOT_PLUGINS]
        return tuple(dict.fromkeys(name for value in chosen for name in value.split("+")))


def cells_of(
    definition: MatrixDefinition, *, pairwise: bool = False, filters: Iterable[str] = ()
) -> list[Cell]:
    """Return the cells in an order that keeps those of one assembly together.

    With ``pairwise``, only so many that each two values of two axes that may meet do meet in one.
    ``filters`` are texts such as ``machine=native`` or ``tests=spec*,wasi*``; a cell has to fit
    all of them. Raises UsageError for a filter that names no axis or leaves nothing.
    """
    axes = definition.axes
    wanted = [_parse_filter(text, axes) for text in filters]
    kept = {
        axis: tuple(
            value
            for value in values
            if all(matches({axis: when[axis]}, {axis: value}) for when in wanted if axis in when)
        )
        for axis, values in axes.items()
    }
    empty = [axis for axis, values in kept.items() if not values]
    if empty:
        raise UsageError(
            f"no value of the axis {empty[0]!r} fits the filter: it has {', '.join(axes[empty[0]])}"
        )
    rows = _pairwise(definition, kept) if pairwise else product(*kept.values())
    cells = [_cell(definition, dict(zip(kept, row, strict=True))) for row in rows]
    order = {axis: {value: n for n, value in enumerate(values)} for axis, values in axes.items()}
    return sorted(cells, key=lambda cell: [order[a][v] for a, v in cell.choices.items()])


def _parse_filter(text: str, axes: Mapping[str, object]) -> When:
    axis, equals, patterns = text.partition("=")
    if not equals:
        raise UsageError(f"--filter {text!r}: write it as AXIS=PATTERN[,PATTERN]")
    if axis not in axes:
        raise UsageError(f"--filter {text!r}: no axis is named {axis!r}{closest(axis, axes)}")
    return {axis: [pattern.strip() for pattern in patterns.split(",")]}


def _cell(definition: MatrixDefinition, choices: dict[str, str]) -> Cell:
    reason = next((rule.reason for rule in definition.skip if matches(rule.when, choices)), "")
    return Cell(choices, reason or _unavailable(definition, choices[TESTS]))


def _unavailable(definition: MatrixDefinition, tests: str) -> str:
    """Why a test set cannot be run here, empty if it can."""
    variable = unset_variable(definition.test_set(tests))
    return f"${variable} is not set" if variable else ""


def _pairwise(
    definition: MatrixDefinition, axes: Mapping[str, tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Rows in which every pair of values that no rule skips stands together at least once.

    The row with the most pairs that are still wanted is taken, until none is; that finds few rows
    more than the least number. A test set that cannot be run here has one row, to say so: in more
    it would take the place of pairs that can be tested.
    """
    rows = list(product(*axes.values()))
    cells = [_cell(definition, dict(zip(axes, row, strict=True))) for row in rows]
    pairs = {
        row: frozenset(combinations(enumerate(row), 2))
        for row, cell in zip(rows, cells, strict=True)
        if not cell.skip_reason
    }
    wanted = set().union(*pairs.values())
    chosen = []
    while wanted:
        best = max(pairs, key=lambda row: len(pairs[row] & wanted))
        wanted -= pairs.pop(best)
        chosen.append(best)
    missing = [name for name in axes[TESTS] if _unavailable(definition, name)]
    absences = [next(row for row in rows if row[-1] == name) for name in missing]
    return chosen + absences
