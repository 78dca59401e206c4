"""Programs of WASI's test suite: a case for each ``.wasm`` file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from theseus_kit.testing.matrix.job import Job
from theseus_kit.testing.matrix.results import CaseOutcome, CaseResult
from theseus_kit.testing.wasi import PlatformChoice, WasiResult, read_suite
from theseus_kit.testing.wasi import run_tests as run_programs

_PROGRAM_SECONDS = 60.0
_OUTCOMES = {
    "passed": CaseOutcome.PASSED,
    "failed": CaseOutcome.FAILED,
    "skipped": CaseOutcome.SKIPPED,
}


def run_tests(job: Job) -> Iterator[CaseResult]:
    """Run the programs one after the other, each in a process below the cell's."""
    choice = PlatformChoice(job.plugins, job.machine, job.options, job.test_set.compile)
    tests = read_suite([Path(path) for path in job.test_set.paths])
    for result in run_programs(tests, choice, timeout=_PROGRAM_SECONDS):
        yield _case(result)


def _case(result: WasiResult) -> CaseResult:
    message = result.skipped or "\n".join([*result.problems, result.stderr]).strip()
    outcome = _OUTCOMES[result.outcome]
    if outcome is CaseOutcome.PASSED:
        message = ""
    return CaseResult(Path(result.path).name, outcome, message, result.seconds)
