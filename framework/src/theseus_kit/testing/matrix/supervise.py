"""Runs one job and says what became of it: the only place where a cell is classified."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from theseus_kit.testing.matrix.fork_server import Ended, ForkServer, write_job
from theseus_kit.testing.matrix.job import CASES, LOG, Job
from theseus_kit.testing.matrix.results import CaseOutcome, CaseResult, CellResult, Outcome

_LOG_LIMIT = 64 << 10
"""Bytes of a cell's output that are kept, from its end."""


def supervise(job: Job, server: ForkServer) -> CellResult:
    """Run a job on a fork server, in a process of its own, and classify how that went."""
    with tempfile.TemporaryDirectory(prefix="theseus-kit-cell-") as name:
        directory = Path(name)
        ended = server.run(write_job(job, directory), job.seconds, job.memory)
        return classify(job, ended, _read_cases(directory / CASES), _read_log(directory / LOG))


def classify(job: Job, ended: Ended, cases: Sequence[CaseResult], log: str) -> CellResult:
    """Say what became of a job, from how its process ended and which cases it reported."""
    cases, broken = _expected(job, cases)
    failed = [case.name for case in cases if case.outcome is CaseOutcome.FAILED]
    expected = any(case.outcome is CaseOutcome.EXPECTED_FAILURE for case in cases)
    if ended.stopped_for == "time":
        outcome, reason = Outcome.TIMED_OUT, f"it was stopped after {job.seconds:g} s"
    elif ended.stopped_for == "memory":
        outcome, reason = Outcome.OUT_OF_MEMORY, f"it held more than {job.memory >> 20} MiB"
    elif ended.status < 0:
        outcome, reason = Outcome.CRASHED, f"it died of {_signal_name(-ended.status)}"
    elif ended.status:
        outcome, reason = Outcome.FAILED, f"it ended with status {ended.status}: {_last_line(log)}"
    elif failed or broken:
        count = f"{len(failed)} of {len(cases)} failed"
        outcome, reason = Outcome.FAILED, "; ".join(broken) or f"{count}, first {failed[0]}"
    elif not cases:
        outcome, reason = Outcome.FAILED, "it ran nothing"
    elif expected:
        outcome = Outcome.EXPECTED_FAILURE
        reason = "; ".join(rule.reason for rule in job.expectations) or "marked in the tests"
    elif all(case.outcome is CaseOutcome.SKIPPED for case in cases):
        outcome, reason = Outcome.SKIPPED, cases[0].message
    else:
        outcome, reason = Outcome.PASSED, ""
    return CellResult(
        cell=job.choices,
        key=job.key,
        outcome=outcome,
        reason=reason,
        cases=tuple(cases),
        seconds=ended.seconds,
        peak_memory=ended.peak_memory,
        log=log,
    )


def _expected(job: Job, cases: Sequence[CaseResult]) -> tuple[list[CaseResult], list[str]]:
    """Mark the failures that are expected; say which expectations no failure fits any more."""
    result = list(cases)
    broken = []
    for rule in job.expectations:
        for pattern in rule.cases:
            fitting = [n for n, case in enumerate(result) if fnmatchcase(case.name, pattern)]
            failing = [n for n in fitting if result[n].outcome is CaseOutcome.FAILED]
            for n in failing:
                message = f"expected: {rule.reason}\n{result[n].message}"
                result[n] = replace(
                    result[n], outcome=CaseOutcome.EXPECTED_FAILURE, message=message
                )
            if fitting and not any(
                result[n].outcome is CaseOutcome.EXPECTED_FAILURE for n in fitting
            ):
                broken.append(f"{pattern!r} passes, though it was expected to fail: {rule.reason}")
    return result, broken


def _read_cases(path: Path) -> list[CaseResult]:
    """The cases that were reported whole."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=CaseResult) for line in lines]


def _read_log(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, size - _LOG_LIMIT))
        text = file.read().decode("utf-8", "replace")
    return f"[{size - _LOG_LIMIT} bytes left out]\n{text}" if size > _LOG_LIMIT else text


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return lines[-1] if lines else "no word why"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
