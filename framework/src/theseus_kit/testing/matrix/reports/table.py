"""A run as a table for a terminal: a row for each assembly, a column for each test set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.testing.matrix.definition import TESTS
from theseus_kit.testing.matrix.reports.run_json import RunReport
from theseus_kit.testing.matrix.results import CaseOutcome, CellResult, Outcome

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {
    Outcome.PASSED: "green",
    Outcome.EXPECTED_FAILURE: "yellow",
    Outcome.SKIPPED: "dim",
}


def result_table(report: RunReport) -> Table:
    """Return the table. Axes that have one value only in this run are left out of it."""
    from rich.table import Table

    seen = {axis: {result.cell[axis] for result in report.cells} for axis in report.axes}
    varying = [axis for axis, values in seen.items() if len(values) > 1 and axis != TESTS]
    tests = [name for name in report.axes[TESTS] if name in seen[TESTS]]
    table = Table()
    for name in (*varying, *tests):
        table.add_column(name)
    rows: dict[tuple[str, ...], dict[str, CellResult]] = {}
    for result in report.cells:
        assembly = tuple(result.cell[axis] for axis in varying)
        rows.setdefault(assembly, {})[result.cell[TESTS]] = result
    for assembly, by_tests in rows.items():
        table.add_row(*assembly, *(_entry(by_tests.get(name)) for name in tests))
    return table


def _entry(result: CellResult | None) -> str:
    """Counts where tests ran, the outcome's name where the cell as a whole broke."""
    if result is None:
        return ""
    style = _STYLES.get(result.outcome, "bold red")
    passed, failed = result.count(CaseOutcome.PASSED), result.count(CaseOutcome.FAILED)
    expected = result.count(CaseOutcome.EXPECTED_FAILURE)
    if result.outcome is Outcome.PASSED:
        text = f"{passed} passed"
    elif result.outcome is Outcome.EXPECTED_FAILURE:
        text = f"{passed} passed, {expected} expected"
    elif result.outcome is Outcome.FAILED and failed:
        text = f"{failed} failed, {passed} passed"
    else:
        text = result.outcome.value
    return f"[{style}]{text}[/]"
