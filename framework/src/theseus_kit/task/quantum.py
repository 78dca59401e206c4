"""The quantum: a task that runs long is stopped so that others, which are ready, can run.

A thread of Python's counts the time. While fewer than two tasks could run it sleeps. A fork leaves
it behind; the child begins another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Event, Thread
from weakref import ref


class Quantum:
    """Calls ``preempt`` whenever one task has run for the whole of a quantum while others could.

    ``switches`` tells how often tasks have been switched, ``is_contended`` whether another could
    run, or whether its time or its input may come.
    """

    def __init__(
        self,
        seconds: float,
        preempt: Callable[[], None],
        switches: Callable[[], int],
        is_contended: Callable[[], bool],
    ) -> None:
        self._seconds = seconds
        self._preempt = preempt
        self._switches = switches
        self._is_contended = is_contended
        self._is_wanted = Event()
        self._is_closed = Event()
        self._thread: Thread | None = None
        this = ref(self)
        os.register_at_fork(after_in_child=lambda: _begin_again(this))

    def start(self) -> None:
        """Count: somebody else may have to run."""
        if self._is_wanted.is_set():
            return
        self._is_wanted.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._run, name="theseus-kit quantum", daemon=True)
            self._thread.start()

    def begin_again(self) -> None:
        """Where a fork has left the thread behind, perhaps with a lock in its hands."""
        was_wanted, was_closed = self._is_wanted.is_set(), self._is_closed.is_set()
        self._is_wanted, self._is_closed, self._thread = Event(), Event(), None
        if was_closed:
            self._is_closed.set()
        elif was_wanted:
            self.start()

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()
        self._is_wanted.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._is_closed.is_set():  # set before is_wanted, which may be cleared below
            self._is_wanted.wait()
            before = self._switches()
            if self._is_closed.wait(self._seconds):
                return
            if not self._is_contended():
                self._is_wanted.clear()
                if self._is_closed.is_set() or self._is_contended():
                    self._is_wanted.set()  # since then: it was set too early to be seen
            elif self._switches() == before:
                self._preempt()


def _begin_again(this: ref[Quantum]) -> None:
    quantum = this()
    if quantum is not None:
        quantum.begin_again()
