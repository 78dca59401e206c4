"""Where tasks' greenlets begin and end.

A new greenlet's stack begins where the one stands that starts it, and so does its count of Python's
recursion. A task that was started by a task that was started by a task … would begin ever deeper.
So all of them are started by one greenlet, the hub, which stands as deep as the main task did when
it first waited, and come back to it when they end::

    main ── waits ──► hub ── starts ──► a ── waits ──► hub ── starts ──► b
                       ▲                                                 │
                       └───────────────────── ends ──────────────────────┘
                       └── who is next? ──► a …

Between tasks that have begun control passes directly.
"""

from __future__ import annotations

from functools import partial
from threading import current_thread
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit.task.task import Task


class Hub:
    """One host thread's.

    ``run`` runs a task to its end; ``succeed`` chooses and selects the one that goes on after it.
    """

    def __init__(self, run: Callable[[Task], None], succeed: Callable[[], Task]) -> None:
        self.host_thread = current_thread()
        self._run = run
        self._succeed = succeed
        self._starting: Task | None = None
        self._greenlet = greenlet(self._loop)

    def start(self, task: Task) -> None:
        """Leave the current greenlet for a task that has not begun and was selected."""
        self._starting = task
        self._greenlet.switch()

    def close(self) -> None:
        """End the hub; on its own host thread or after that has ended."""
        if self._greenlet and current_thread() is self.host_thread:
            self._greenlet.parent = getcurrent()
            self._greenlet.throw()

    def _loop(self) -> None:
        while True:
            self._next()()

    def _next(self) -> Callable[[], object]:
        """What passes control on. Nothing of a task stays behind here while it runs."""
        task, self._starting = self._starting, None
        if task is None:  # one has ended
            task = self._succeed()
        if task.greenlet is None:
            task.greenlet = greenlet(partial(self._run, task), self._greenlet)
        switch: Callable[[], object] = task.greenlet.switch
        return switch
