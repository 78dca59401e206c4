"""A whole run as JSON: what programs read, and what the other reports are made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix.results import CellResult


@dataclass(frozen=True)
class RunReport:
    """One run of a matrix."""

    matrix: str
    """The file's name."""
    started: str
    """ISO 8601, UTC."""
    seconds: float
    axes: dict[str, tuple[str, ...]]
    cells: tuple[CellResult, ...]

    @property
    def totals(self) -> dict[str, int]:
        """How many cells ended how, those that did."""
        return dict(Counter(result.outcome.value for result in self.cells))

    @property
    def unexplained(self) -> list[CellResult]:
        """The cells that neither passed nor have a reason in the matrix for it."""
        return [result for result in self.cells if not result.outcome.is_explained]


def run_json(report: RunReport) -> bytes:
    """Return a run as JSON text."""
    built = msgspec.to_builtins(report)
    return msgspec.json.format(msgspec.json.encode({**built, "totals": report.totals}), indent=1)


def read_run(path: Path) -> RunReport:
    """Read an earlier run. Raises UsageError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunReport)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: not a matrix run: {error}") from error
