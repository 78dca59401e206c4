"""The sweep itself: a clean run, a traced run, then a process for each fault, some at a time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from theseus_kit.errors import UsageError
from theseus_kit.testing.sweep.classify import Ended, Verdict, classify
from theseus_kit.testing.sweep.job import INJECTED, STDERR, STDOUT, TRACE, Job, Outcome, Target
from theseus_kit.testing.sweep.plan import Fault, Plan, make_plan
from theseus_kit.values.record import NamedTuple

_FRAMES = 40
"""Of a call's place: enough to tell places apart, and to reach the API function behind it."""
_LONGER = 5
"""How much longer than others the traced run may take."""
_KILL_AFTER = 5.0
"""Seconds beyond its limit after which a process that says nothing is killed."""
_SHOWN_STDERR = 4096
_FAILED_FROM = "(the call that failed was made from)"
_NO_MEASURE = ("hung", "raised", "refused")
"""Ends that a run without a fault must not have: nothing could be told from them."""


class FaultResult(NamedTuple):
    """What became of one run."""

    fault: Fault
    verdict: Verdict
    detail: str
    backtrace: tuple[str, ...]
    """Where the guest was when it was killed or hung; else, or if that is not known, where the
    call failed."""
    command: str
    """What does it again."""
    stderr: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            **self.fault._asdict(),
            "rule": self.fault.rule,
            "verdict": self.verdict.value,
            "detail": self.detail,
            "backtrace": self.backtrace,
            "command": self.command,
            "stderr": self.stderr,
        }


class Sweep:
    """Runs a target with each of its platform calls failed once. Use it as a context manager.

    ``seconds`` is the time limit of one run. Raises UsageError if the target does not run.
    """

    def __init__(self, target: Target, *, seconds: float = 30.0, jobs: int = 1) -> None:
        self._seconds = seconds
        self._jobs = jobs
        self._temporary = tempfile.TemporaryDirectory(prefix="theseus-kit-sweep-")
        self._root = Path(self._temporary.name)
        self.target = target._replace(cache=str(self._root / "cache"))
        self._number = 0
        self.clean: Ended | None = None
        """How the run without a fault ended."""

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    def plan(
        self,
        *,
        per_site: int = 1,
        per_phase: int = 4,
        error: str | None = None,
        only: str = "*",
    ) -> Plan:
        """Run the target without a fault, then traced, and choose what to fail."""
        # The cache of compiled modules is filled by the first run, so that all others are alike.
        self._checked(self._run(self._job()))
        self.clean = self._checked(self._run(self._job()))
        trace = self._root / TRACE
        options = {"format": "json", "file": str(trace), "frames": _FRAMES, "times": False}
        job = self._job("trace", {"trace": options})
        traced = self._checked(self._run(job._replace(seconds=self._seconds * _LONGER)))
        assert traced.outcome is not None
        return make_plan(
            trace,
            traced.outcome.reports_errors,
            per_site=per_site,
            per_phase=per_phase,
            error=error,
            only=only,
        )

    def results(self, plan: Plan) -> Generator[FaultResult, None, None]:
        """Try each fault and yield what became of it, in no order."""
        waiting = list(reversed(plan.faults))
        running: set[Future[FaultResult]] = set()
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < self._jobs:
                        running.add(pool.submit(self._try, waiting.pop()))
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            finally:
                for future in running:
                    future.cancel()

    def _checked(self, ended: Ended) -> Ended:
        outcome = ended.outcome
        if outcome is None or outcome.kind in _NO_MEASURE or not outcome.assembled:
            lines = ended.stderr.strip().splitlines()
            what = outcome.message if outcome is not None else lines[-1] if lines else "it died"
            raise UsageError(f"{self.target.path} does not run without a fault: {what}")
        return ended

    def _job(self, watcher: str | None = None, options: dict[str, Any] | None = None) -> Job:
        self._number += 1
        directory = self._root / str(self._number)
        directory.mkdir()
        watchers = () if watcher is None else (watcher,)
        return Job(self.target, str(directory), self._seconds, watchers, options or {})

    def _run(self, job: Job) -> Ended:
        directory = Path(job.directory)
        with (directory / STDOUT).open("wb") as out, (directory / STDERR).open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "theseus_kit.testing.sweep.child", str(job.write())],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            try:
                status: int | None = process.wait(job.seconds + _KILL_AFTER)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                status = None
        return Ended(
            status,
            Outcome.read(job.directory),
            (directory / STDOUT).read_bytes(),
            (directory / STDERR).read_text(errors="replace"),
        )

    def _try(self, fault: Fault) -> FaultResult:
        job = self._job("inject")
        report = Path(job.directory) / INJECTED
        options = {"rules": fault.rule, "report": str(report)}
        ended = self._run(job._replace(watcher_options={"inject": options}))
        injected = _read_lines(report)
        assert self.clean is not None
        verdict, detail = classify(ended, self.clean, was_injected=bool(injected))
        backtrace: tuple[str, ...] = ()
        if verdict.wants_backtrace:
            outcome = ended.outcome
            backtrace = () if outcome is None else outcome.frames
            if all(line.startswith("(") for line in backtrace):  # remarks, and no function
                frames = injected[0]["frames"] if injected else ()
                backtrace += (_FAILED_FROM, *(frames or fault.frames))
        return FaultResult(
            fault,
            verdict,
            detail,
            backtrace,
            self.target.command(fault.rule),
            ended.stderr[-_SHOWN_STDERR:] if verdict.wants_backtrace else "",
        )


def _read_lines(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]
