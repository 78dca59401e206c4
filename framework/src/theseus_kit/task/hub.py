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

from threading import current_thread, local
from typing import TYPE_CHECKING

from greenlet import GreenletExit, getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_STRUCK = 8
"""Errors without any progress between them are no signals: nothing can go on any more."""


class Place(local):
    """One host thread, to those who ask whether they are on it. Unlike the system's numbers of
    threads, which a later one may get again."""

    is_here = False


class Hub:
    """One host thread's.

    ``go_on`` selects whose turn it is and returns what switches to it. What ends a task, and what a
    signal handler of Python's raises in here, is in ``struck`` until ``go_on`` takes it from there.
    """

    def __init__(self, go_on: Callable[[Hub], Callable[[], object]]) -> None:
        self.host_thread = current_thread()
        self.place = Place()
        self.place.is_here = True
        self.struck: list[BaseException] = []
        self.greenlet = greenlet(self._loop)
        """Switched to by who leaves for a task that has not begun, and when one has ended."""
        self._go_on = go_on

    @property
    def is_over(self) -> bool:
        """It was closed, or something struck before it began."""
        over: bool = self.greenlet.dead
        return over

    def close(self) -> None:
        """End the hub; on its own host thread or after that has ended."""
        if self.greenlet and current_thread() is self.host_thread:
            self.greenlet.parent = getcurrent()
            self.greenlet.throw()

    # What catches is never in one function with what loops: the jump backwards at a loop's end,
    # where Python looks for signals, is outside of the "try" around the loop (Python 3.13).

    def _loop(self) -> None:
        while True:
            try:
                self._survive()
            except GreenletExit:
                return
            except BaseException as error:  # noqa: BLE001  # struck again, while it kept the first
                self._keep(error)
            # Once more before the jump: Python 3.11 looks for signals there as well.
            try:
                self._survive()
            except GreenletExit:
                return
            except BaseException as error:  # noqa: BLE001
                self._keep(error)

    def _survive(self) -> None:
        while True:
            self._catch()

    def _catch(self) -> None:
        try:
            self._begin_tasks()
        except GreenletExit:
            raise
        except BaseException as error:  # noqa: BLE001  # raised in the main task
            self._keep(error)

    def _begin_tasks(self) -> None:
        while True:
            self._go_on(self)()  # nothing of a task stays behind here meanwhile

    def _keep(self, error: BaseException) -> None:
        self.struck += (error,)
        if len(self.struck) > _MOST_STRUCK:
            raise error
