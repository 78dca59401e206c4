"""What a cell's process is told: everything it needs to assemble, boot and run one cell."""

from __future__ import annotations

import msgspec

from theseus_kit.testing.matrix.definition import Expectation, TestSet

CASES, LOG = "cases.jsonl", "log.txt"
"""The files that a job's process writes beside the job's own."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One cell, ready to be run in a process of its own, on this host or another."""

    choices: dict[str, str]
    """Axis → value."""
    key: str
    """The content address of the result."""
    machine: str
    plugins: tuple[str, ...]
    options: dict[str, dict[str, object]]
    """As ``assemble()`` takes them; those of the cell's plugins and machine only."""
    wasmtime: str | None
    """The directory of the wasmtime package to boot, None for the installed one."""
    test_set: TestSet
    expectations: tuple[Expectation, ...]
    """Those that hold for this cell."""
    seconds: float
    """How long it may take."""
    memory: int
    """How many bytes it may hold in memory."""

    @property
    def title(self) -> str:
        """The cell's choices in one line."""
        return " · ".join(self.choices.values())
