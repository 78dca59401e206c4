"""The kinds of test sets: each runs a job's tests on its assembly and yields the cases."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from theseus_kit.testing.matrix.job import Job
from theseus_kit.testing.matrix.results import CaseResult

_MODULES = {
    "conformance": "theseus_kit.testing.matrix.kinds.conformance",
    "spec": "theseus_kit.testing.matrix.kinds.spec",
    "wasi": "theseus_kit.testing.matrix.kinds.wasi",
    "pytest": "theseus_kit.testing.matrix.kinds.pytest_items",
}

__all__ = ["run_tests"]


def run_tests(job: Job) -> Iterator[CaseResult]:
    """Run a job's tests and yield each case when it is known."""
    cases: Iterator[CaseResult] = import_module(_MODULES[job.test_set.kind]).run_tests(job)
    return cases
