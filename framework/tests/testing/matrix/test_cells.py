"""Which cells a matrix has."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix.cells import cells_of
from theseus_kit.testing.matrix.definition import Axes, MatrixDefinition, Skip, TestSet, matches

SETS = (
    TestSet(name="core", kind="spec", paths=("/a.wast",)),
    TestSet(name="suites", kind="conformance"),
)
DEFINITION = MatrixDefinition(
    matrix=Axes(machines=("emulated", "native")),
    plugins={"paths": ("path", "path-theseus"), "libc": ("tlibc", "c-library+tls")},
    tests=SETS,
    skip=(Skip(when={"machine": "native", "libc": "tls"}, reason="it has no such thing"),),
)


def test_the_product_has_every_combination_and_says_what_it_skips() -> None:
    cells = cells_of(DEFINITION)
    assert len(cells) == 16
    skipped = [cell for cell in cells if cell.skip_reason]
    assert len(skipped) == 4
    assert all(cell.machine == "native" and "tls" in cell.plugins for cell in skipped)
    assert {cell.skip_reason for cell in skipped} == {"it has no such thing"}


def test_a_value_of_several_plugins_brings_them_all() -> None:
    plugins = {cell.plugins for cell in cells_of(DEFINITION)}
    assert ("path", "c-library", "tls") in plugins
    assert ("path", "tlibc") in plugins


def test_filters_keep_what_fits_all_of_them() -> None:
    cells = cells_of(DEFINITION, filters=["machine=native", "tests=core,none*"])
    assert len(cells) == 4
    assert {(cell.machine, cell.tests) for cell in cells} == {("native", "core")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("native", "write it as AXIS=PATTERN"),
        ("machin=native", "no axis is named 'machin': did you mean 'machine'?"),
        ("machine=vax", "no value of the axis 'machine' fits the filter: it has emulated, native"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        cells_of(DEFINITION, filters=[text])
    assert message in str(refused.value)


def test_a_test_set_that_cannot_run_here_has_one_pairwise_cell_that_says_so() -> None:
    absent = TestSet(name="absent", kind="spec", paths=("$NO_SUCH_VARIABLE/*.wast",))
    definition = MatrixDefinition(
        matrix=DEFINITION.matrix, plugins=DEFINITION.plugins, tests=(*SETS, absent)
    )
    absences = [cell for cell in cells_of(definition, pairwise=True) if cell.tests == "absent"]
    assert [cell.skip_reason for cell in absences] == ["$NO_SUCH_VARIABLE is not set"]


@st.composite
def definitions(draw: st.DrawFn) -> MatrixDefinition:
    """Matrices of a few axes, some with a rule that two values never meet."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    plugins = {f"axis{n}": tuple(f"p{n}.{i}" for i in range(size)) for n, size in enumerate(sizes)}
    skip: tuple[Skip, ...] = ()
    if len(plugins) > 1 and draw(st.booleans()):
        pair = draw(st.permutations(sorted(plugins)))[:2]
        when: dict[str, str | list[str]] = {a: draw(st.sampled_from(plugins[a])) for a in pair}
        skip = (Skip(when=when, reason="never"),)
    machines = ("emulated", "native")[: draw(st.integers(1, 2))]
    return MatrixDefinition(matrix=Axes(machines=machines), plugins=plugins, tests=SETS, skip=skip)


@given(definitions())
def test_pairwise_every_pair_that_may_meet_does(definition: MatrixDefinition) -> None:
    cells = cells_of(definition, pairwise=True)
    assert not any(cell.skip_reason for cell in cells)
    whole = [cell for cell in cells_of(definition) if not cell.skip_reason]
    for one, other in combinations(definition.axes, 2):
        for values in product(definition.axes[one], definition.axes[other]):
            wanted = dict(zip((one, other), values, strict=True))
            if any(matches(wanted, cell.choices) for cell in whole):
                assert any(matches(wanted, cell.choices) for cell in cells), wanted
    assert len(cells) <= len(cells_of(definition))
