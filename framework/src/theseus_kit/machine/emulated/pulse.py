"""A pulse that lets Python look up while guest code runs for long.

Python runs signal handlers (Ctrl-C, timers) only when its main thread returns to bytecode, which
guest code that calls nobody never does; and a request to stop that arrives in the microsecond
before the CPU starts is lost. So a thread asks the CPU to stop at a steady, slow rate as long as
guest code is seen running, and the run loop goes straight on.

It needs no hold on the process's signals, neither a handler nor the wake-up descriptor, so it
agrees with asyncio, pytest and anyone else who uses them. It costs a start of a thread per burst
of work and 5 µs twenty times a second; after a second without guest code the thread ends.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

PERIOD = 0.05
"""Seconds between beats: how long Ctrl-C may take."""
_IDLE_BEATS = 20


class Beating(Protocol):
    """What has a pulse."""

    def beat(self) -> bool:
        """Called on the pulse's thread. Stop the CPU if it runs; return whether it did."""
        ...


class Pulse:
    """Starts and ends the thread. ``alive`` is cheap to look at before every call."""

    def __init__(self, owner: Beating) -> None:
        self._owner = weakref.ref(owner)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self.alive = False
        # A child process has no thread but its parent's "alive"; and Python warns of a fork
        # while threads run.
        this = weakref.ref(self)
        os.register_at_fork(before=lambda: _end(this))

    def start(self) -> None:
        self.alive = True
        self._ending.clear()
        thread = threading.Thread(target=self._beat, name="theseus-kit pulse", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is shutting down and starts no more threads: guest code that runs
            # in a finaliser runs without a pulse.
            return
        self._thread = thread

    def end(self) -> None:
        """End the thread now. The next :meth:`start` makes another."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._ending.set()
            thread.join()
        self._thread = None
        self.alive = False

    def _beat(self) -> None:
        idle = 0
        while not self._ending.wait(PERIOD):
            owner = self._owner()
            if owner is None:
                break
            idle = 0 if owner.beat() else idle + 1
            if idle == _IDLE_BEATS:
                self.alive = False
                # Guest code may have started between the beat and the line above.
                if not owner.beat():
                    break
                self.alive = True
                idle = 0
            del owner
        self.alive = False


def _end(pulse: weakref.ref[Pulse]) -> None:
    alive = pulse()
    if alive is not None:
        alive.end()
