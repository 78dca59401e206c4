"""What became of a test: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WasiResult:
    """One program's result. ``problems`` says what was not as expected, nothing if it passed."""

    path: str
    problems: tuple[str, ...] = ()
    skipped: str | None = None
    """Why it was not run."""
    exit_status: int | None = None
    """None where it did not come to an end of its own."""
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.problems and self.skipped is None

    @property
    def failed(self) -> bool:
        return bool(self.problems)

    @property
    def outcome(self) -> str:
        """``passed``, ``failed`` or ``skipped``."""
        return "skipped" if self.skipped else "failed" if self.problems else "passed"

    def as_json(self) -> dict[str, Any]:
        """The result for ``json.dumps``."""
        return {**vars(self), "outcome": self.outcome}
