"""Queues of tasks that wait for the same thing to happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theseus_kit.task.task import Task


class WaitQueue:
    """Tasks that wait, in the order they came; see :meth:`Tasks.wait`.

    ``what`` and ``address`` say in a deadlock's report what its tasks wait for.
    """

    __slots__ = ("address", "tasks", "what")

    def __init__(self, what: str, address: int = 0) -> None:
        self.what = what
        self.address = address
        self.tasks: dict[Task, None] = {}
        """An ordered set. The scheduler's to change."""

    def wake(self, count: int = 1) -> int:
        """Make up to ``count`` tasks ready, first come first; return how many it were.

        They run when the current task waits. To be called by the task that is running. One whose
        time is over, or that a signal has woken, but that has not run since counts for nothing.
        """
        woken = 0
        tasks = self.tasks
        while tasks and woken < count:
            task = next(iter(tasks))
            woken += task.wake()
            # Last: what a signal handler raises in between leaves it in the queue, not nowhere.
            tasks.pop(task, None)
        return woken

    def wake_all(self) -> int:
        """Make every task of the queue ready."""
        return self.wake(len(self.tasks))

    def __len__(self) -> int:
        return len(self.tasks)

    def __str__(self) -> str:
        return f"{self.what} at {self.address:#x}" if self.address else self.what

    def __repr__(self) -> str:
        return f"<WaitQueue {self}: {list(self.tasks)}>"
