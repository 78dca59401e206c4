"""What became of a cell and of its cases. Plain values that are sent on, stored and reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """How a cell ended."""

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED_FAILURE = "expected failure"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    LOST = "lost"
    """The worker that had it died, and so did the one it was given to next."""
    SKIPPED = "skipped"

    @property
    def is_explained(self) -> bool:
        """It passed, or the matrix says why it did not."""
        return self in (Outcome.PASSED, Outcome.EXPECTED_FAILURE, Outcome.SKIPPED)


class CaseOutcome(Enum):
    """How one test of a cell ended."""

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED_FAILURE = "expected failure"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CaseResult:
    """One test of a cell: a conformance test, a ``.wast`` file, a WASI program, a pytest item."""

    name: str
    outcome: CaseOutcome
    message: str = ""
    """Why it failed or was skipped."""
    seconds: float = 0.0
    checks: int = 1
    """How many things it checked: the commands of a ``.wast`` file."""


@dataclass(frozen=True)
class CellResult:
    """What became of one cell."""

    cell: Mapping[str, str]
    """What was tested: the choice of each axis, by the axis's name."""
    key: str
    """The content address: digest of all that the result depends on."""
    outcome: Outcome
    reason: str = ""
    """Why it was skipped, what it died of, which failures were expected and why."""
    cases: tuple[CaseResult, ...] = ()
    seconds: float = 0.0
    """Wall-clock time of the cell's process."""
    peak_memory: int = 0
    """The most bytes it held in memory."""
    log: str = ""
    """What it printed; the end of it, where it was long."""
    attempts: int = 1
    reused: bool = field(default=False, compare=False)
    """Taken from the results of an earlier run."""

    @property
    def title(self) -> str:
        """The cell's choices in one line."""
        return " · ".join(self.cell.values())

    def count(self, outcome: CaseOutcome) -> int:
        """How many of its cases ended so."""
        return sum(case.outcome is outcome for case in self.cases)
