"""What is told of tasks that cannot go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.values.symbols import BacktraceEntry


class StuckTask(NamedTuple):
    """One task of a deadlock."""

    id: int
    name: str
    waits_for: str
    backtrace: tuple[BacktraceEntry, ...] = ()
    """Where it waits, innermost frame first."""

    def __str__(self) -> str:
        return f"task {self.id} {self.name!r} waits for {self.waits_for}"
