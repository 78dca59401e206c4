"""The quantum: a task that runs long is stopped so that others, which are ready, can run.

A thread of Python's counts the time. While fewer than two tasks could run it sleeps. A fork leaves
it behind; the child begins another one.

Of Python's locks only the plain one is used: a signal handler that raises inside of an Event, a
Condition or a Thread that starts leaves a lock of theirs taken for ever.
"""

from __future__ import annotations

import os
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable
from contextlib import suppress
from weakref import ref

_SOON = 0.01
"""Seconds after which whoever waits for the thread's end looks again, if nobody tells."""


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
        self._is_wanted = self._is_running = self._is_closed = False
        self._make_locks()
        this = ref(self)
        os.register_at_fork(after_in_child=lambda: _begin_again(this))

    def _make_locks(self) -> None:
        """Held, all of them: waiting is trying to take one, and releasing it ends that."""
        self._wanted, self._closed, self._ended = locks = [allocate_lock() for _ in range(3)]
        for lock in locks:
            lock.acquire()

    def start(self) -> None:
        """Count: somebody else may have to run. From any host thread."""
        if self._is_wanted or self._is_closed:
            return
        if not self._is_running:
            self._is_running = True
            try:
                start_new_thread(self._run, ())
            except RuntimeError:  # the host has no thread to give
                self._is_running = False
                raise
        _release(self._wanted)
        self._is_wanted = True  # last: what strikes before has all of this done again

    def begin_again(self) -> None:
        """Where a fork has left the thread behind, perhaps with a lock in its hands."""
        was_wanted = self._is_wanted
        self._make_locks()
        self._is_wanted = self._is_running = False
        if was_wanted:
            self.start()

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        _release(self._wanted)
        _release(self._closed)
        while self._is_running:
            self._ended.acquire(timeout=_SOON)

    def _run(self) -> None:
        try:
            while not self._is_closed:
                if not self._is_wanted:
                    self._wanted.acquire()
                before = self._switches()
                if self._closed.acquire(timeout=self._seconds):
                    break
                if not self._is_contended():
                    self._is_wanted = False
                    if self._is_contended():
                        self._is_wanted = True  # since then: it was set too early to be seen
                elif self._switches() == before:
                    self._preempt()
        finally:
            self._is_running = False
            _release(self._ended)


def _release(lock: LockType) -> None:
    with suppress(RuntimeError):  # it is free already
        lock.release()


def _begin_again(this: ref[Quantum]) -> None:
    quantum = this()
    if quantum is not None:
        quantum.begin_again()
