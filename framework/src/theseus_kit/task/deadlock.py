"""What is said where every task waits and nothing outside could wake one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.errors import DeadlockError
from theseus_kit.values.exceptions import Panicked
from theseus_kit.values.tasks import StuckTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from theseus_kit.task.task import Task
    from theseus_kit.values.symbols import BacktraceEntry

_MOST_SHOWN = 16
"""Tasks of a deadlock that its message names; the error has them all."""


def deadlock_of(
    waiting: Iterable[Task], capture: Callable[[Task], tuple[BacktraceEntry, ...]]
) -> DeadlockError:
    """The error that tells what each of the waiting tasks waits for, and where."""
    waiting = list(waiting)
    stuck = [
        StuckTask(task.id, task.name, _description(task.waits_for), tuple(capture(task)))
        for task in waiting
    ]
    shown = [str(task) for task in stuck[:_MOST_SHOWN]]
    if len(stuck) > len(shown):
        shown.append(f"and {len(stuck) - len(shown)} more")
    reason = "deadlock: " + "; ".join(shown)
    error = DeadlockError(Panicked(reason), stuck)
    if stuck:
        error.backtrace, error.task = stuck[0].backtrace, waiting[0]
    return error


def _description(waits_for: Sequence[object]) -> str:
    return ", ".join(
        f"descriptor {what[0]}" if isinstance(what, tuple) else str(what) for what in waits_for
    )
