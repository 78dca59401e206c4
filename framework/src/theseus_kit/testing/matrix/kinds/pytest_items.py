"""A user's own pytest files, run on the cell's assembly: a case for each item.

The files use the fixtures of :mod:`theseus_kit.testing.pytest_plugin`, which is told the machine
and the plugins.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator

import pytest

from theseus_kit.testing.matrix.job import Job
from theseus_kit.testing.matrix.results import CaseOutcome, CaseResult

# The kit is imported long before pytest rewrites its plugins' asserts, and pytest warns of that: an
# error, and no test at all, where somebody's configuration makes warnings errors.
_IMPORTED_ALREADY = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
_NOTHING_COLLECTED = pytest.ExitCode.NO_TESTS_COLLECTED


class _Collector:
    """A plugin of pytest's that turns reports into cases."""

    def __init__(self) -> None:
        self.cases: list[CaseResult] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self.cases.append(_case(report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            message = report.longreprtext
            self.cases.append(CaseResult(report.nodeid, CaseOutcome.FAILED, message))


def run_tests(job: Job) -> Iterator[CaseResult]:
    """Run the items in this process."""
    collector = _Collector()
    arguments = [
        *("-p", "no:cacheprovider", "-W", _IMPORTED_ALREADY),
        *("--theseus-machine", job.machine, "--theseus-plugins", ",".join(job.plugins)),
        *job.test_set.arguments,
        *(item for path in job.test_set.paths for item in _items(path)),
    ]
    status = pytest.main(arguments, plugins=[collector])
    yield from collector.cases
    if status == _NOTHING_COLLECTED:
        yield CaseResult("collection", CaseOutcome.FAILED, "no test was collected")
    elif status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        yield CaseResult("pytest", CaseOutcome.FAILED, f"pytest ended with {status!r}")


def _items(path: str) -> list[str]:
    """What pytest is told: it does not look for the files of a pattern itself."""
    pattern, separator, item = path.partition("::")
    files = sorted(glob.glob(pattern, recursive=True)) or [pattern]  # noqa: PTH207 - a whole path
    return [f"{file}{separator}{item}" for file in files]


def _case(report: pytest.TestReport) -> CaseResult:
    expected = hasattr(report, "wasxfail")
    if report.passed:
        return CaseResult(report.nodeid, CaseOutcome.PASSED, seconds=report.duration)
    if report.skipped:
        outcome = CaseOutcome.EXPECTED_FAILURE if expected else CaseOutcome.SKIPPED
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        return CaseResult(report.nodeid, outcome, reason, report.duration)
    return CaseResult(report.nodeid, CaseOutcome.FAILED, report.longreprtext, report.duration)
