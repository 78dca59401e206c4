"""The conformance suites of every group, each on its provider among the cell's other plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from theseus_kit.assembly import Catalogue
from theseus_kit.testing.conformance.check import judged
from theseus_kit.testing.conformance.expected_failures import (
    ExpectedFailure,
    file_beside,
    read_expected_failures,
)
from theseus_kit.testing.conformance.results import CaseResult as TestResult
from theseus_kit.testing.conformance.results import Outcome
from theseus_kit.testing.conformance.runner import run_test, suites_for
from theseus_kit.testing.conformance.suite import names_of_tests
from theseus_kit.testing.matrix.job import Job
from theseus_kit.testing.matrix.results import CaseOutcome, CaseResult

_OUTCOMES = {
    Outcome.PASSED: CaseOutcome.PASSED,
    Outcome.FAILED: CaseOutcome.FAILED,
    Outcome.EXPECTED_FAILURE: CaseOutcome.EXPECTED_FAILURE,
    Outcome.UNEXPECTED_PASS: CaseOutcome.FAILED,
    Outcome.SKIPPED: CaseOutcome.SKIPPED,
}


def run_tests(job: Job) -> Iterator[CaseResult]:
    """Run the suites of the groups that each plugin provides; platforms are made test by test."""
    catalogue = Catalogue()
    for name in job.plugins:
        plugin = catalogue.plugin(name)
        others = [other for other in job.plugins if other != name]
        suites = suites_for(plugin, job.options)
        path = file_beside(plugin)
        expected = {} if path is None else read_expected_failures(path, name, suites)
        for suite in suites:
            suite.companions = others
            for test in names_of_tests(suite):
                yield _case(name, run_test(suite, test, job.machine), expected)


def _case(
    plugin: str, result: TestResult, expected: Mapping[tuple[str, str], ExpectedFailure]
) -> CaseResult:
    result = judged(result, expected.get((result.group, result.test)))
    name = f"{plugin}/{result.group}/{result.test}"
    return CaseResult(name, _OUTCOMES[result.outcome], result.detail, result.seconds)
