"""Checking a plugin: every suite of its groups on every machine, in worker processes.

A plugin that is wrong on the native machine can end the process it runs in, or never come back:
that costs the test it happened in, and the rest goes on in another worker.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING

from theseus_kit.assembly import Catalogue
from theseus_kit.machine import machine_names
from theseus_kit.testing.conformance.expected_failures import ExpectedFailure
from theseus_kit.testing.conformance.results import CaseResult, Outcome
from theseus_kit.testing.conformance.runner import clause_texts, run_test, suites_for
from theseus_kit.testing.conformance.suite import names_of_tests
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

TEST_TIMEOUT = 120.0
"""Seconds after which a test is given up."""


class Case(NamedTuple):
    """One test on one machine."""

    machine: str
    group: str
    test: str


def cases_of(plugin: str, machines: Sequence[str] = (), matching: str = "") -> list[Case]:
    """The tests of an installed plugin's groups, on these machines or all, by a part of a name.

    Raises AssemblyError if there is no such plugin.
    """
    suites = suites_for(Catalogue().plugin(plugin))
    return [
        Case(machine, suite.group.value, test)
        for machine in machines or machine_names()
        for suite in suites
        for test in names_of_tests(suite)
        if matching in test
    ]


def run_cases(
    plugin: str,
    cases: Sequence[Case],
    options: Mapping[str, Mapping[str, object]] | None = None,
    expected: Mapping[tuple[str, str], ExpectedFailure] | None = None,
    timeout: float = TEST_TIMEOUT,
) -> Generator[CaseResult, None, None]:
    """Run tests one after the other and yield each result.

    ``expected`` is what :func:`read_expected_failures` answers. Whoever stops iterating stops
    the worker.
    """
    worker: _Worker | None = None
    try:
        for case in cases:
            if worker is None:
                worker = _Worker(plugin, options or {})
            result = worker.run(case, timeout)
            if result is None:
                result = _lost(plugin, case, worker.ending(timeout))
                worker = None
            yield judged(result, (expected or {}).get((case.group, case.test)))
    finally:
        if worker is not None:
            worker.stop()


def judged(result: CaseResult, expected: ExpectedFailure | None) -> CaseResult:
    """Return a result as a file of expected failures has it."""
    if expected is None or result.machine not in expected.machines:
        return result
    if result.outcome is Outcome.FAILED:
        return result._replace(outcome=Outcome.EXPECTED_FAILURE, detail=expected.reason)
    if result.outcome is Outcome.PASSED:
        detail = f"it was expected to fail, {expected.reason!r}: remove the entry"
        return result._replace(outcome=Outcome.UNEXPECTED_PASS, detail=detail)
    return result


def _lost(plugin: str, case: Case, ending: str) -> CaseResult:
    suites = {suite.group.value: suite for suite in suites_for(Catalogue().plugin(plugin))}
    clauses = clause_texts(suites[case.group], case.test)
    return CaseResult(case.machine, case.group, case.test, Outcome.FAILED, ending, clauses)


class _Worker:
    """A process that runs tests, seen from its parent."""

    def __init__(self, plugin: str, options: Mapping[str, Mapping[str, object]]) -> None:
        import multiprocessing

        # Never fork: the parent may have threads (of a progress display), a fork has none of them.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, plugin, options), daemon=True)
        self._process.start()
        theirs.close()  # so that the connection ends when the process does

    def run(self, case: Case, timeout: float) -> CaseResult | None:
        """The result, None if the worker died or hangs."""
        try:
            self._connection.send(case)
            if not self._connection.poll(timeout):
                return None
            result: CaseResult = self._connection.recv()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self._process.join()
            return None
        return result

    def ending(self, timeout: float) -> str:
        """What became of a worker that has no result."""
        if self._process.is_alive():
            self.stop()
            return f"it did not end within {timeout:g} s"
        status = self._process.exitcode
        self.stop()
        if status is not None and status < 0:
            return f"its process died of {signal.Signals(-status).name}"
        return f"its process ended with status {status}"

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def _work(connection: Connection, plugin: str, options: dict[str, dict[str, object]]) -> None:
    """Run the tests that come through a connection; what a worker process does."""
    # Ctrl-C reaches the whole process group; stopping the worker is the parent's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    suites = {s.group.value: s for s in suites_for(Catalogue().plugin(plugin), options)}
    while True:
        try:
            case: Case = connection.recv()
        except EOFError:
            return
        connection.send(run_test(suites[case.group], case.test, case.machine))
