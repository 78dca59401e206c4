"""What became of a file: counts, and the failures one by one. Plain values that can be sent on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """A command that did not do what the script says."""

    line: int
    command: str
    expected: str
    got: str

    def __str__(self) -> str:
        return (
            f"line {self.line}: {self.command}\n  expected {self.expected}\n  got      {self.got}"
        )


@dataclass(frozen=True)
class Skip:
    """A command that was not run, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class FileResult:
    """What became of one ``.wast`` file. Every command counts, modules and actions too.

    ``aborted`` says why the rest of the file was not run, if it was not: the platform died, or
    the file is no script. It comes with a failure. ``seconds`` is wall-clock
    time, ``cpu_seconds`` the processor time of the process that ran the file.
    """

    path: str
    passed: int
    failures: tuple[Failure, ...] = ()
    skipped: tuple[Skip, ...] = ()
    aborted: str | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def failed(self) -> int:
        """The number of failures."""
        return len(self.failures)

    def as_json(self) -> dict[str, Any]:
        """The result for ``json.dumps``."""
        return {**asdict(self), "failed": self.failed}
