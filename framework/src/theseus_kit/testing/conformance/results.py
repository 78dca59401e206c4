"""What became of the tests of a suite, as values: for tables, JSON and the matrix."""

from __future__ import annotations

from collections import Counter
from enum import Enum

from theseus_kit.values.record import NamedTuple


class Outcome(Enum):
    """What became of one test."""

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED_FAILURE = "expected failure"
    """It failed, and a file of expected failures says why it does."""
    UNEXPECTED_PASS = "unexpected pass"
    """It passed, and a file of expected failures says it does not: its entry is out of date."""
    SKIPPED = "skipped"
    """It is not for this provider, or not for this machine or host."""

    @property
    def is_good(self) -> bool:
        """Whether nobody need do anything about it."""
        return self not in (Outcome.FAILED, Outcome.UNEXPECTED_PASS)


class CaseResult(NamedTuple):
    """What became of one test on one machine."""

    machine: str
    group: str
    test: str
    outcome: Outcome
    detail: str = ""
    """Why it failed or was skipped, lines of text."""
    clauses: tuple[str, ...] = ()
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        return {**self._asdict(), "outcome": self.outcome.value}


def counts(results: list[CaseResult]) -> Counter[Outcome]:
    """How many tests had each outcome."""
    return Counter(result.outcome for result in results)
