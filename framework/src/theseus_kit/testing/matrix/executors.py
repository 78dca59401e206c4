"""Where cells are run: the small interface, and a pool of processes on this host."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Protocol

from theseus_kit.errors import MachineError
from theseus_kit.testing.matrix.fork_server import ForkServer
from theseus_kit.testing.matrix.job import Job
from theseus_kit.testing.matrix.results import CellResult, Outcome
from theseus_kit.testing.matrix.supervise import supervise

ATTEMPTS = 2
"""How often a job is tried whose worker dies: a second time, elsewhere."""


class Executor(Protocol):
    """Runs jobs, each in a process of its own."""

    @property
    def workers(self) -> int:
        """How many jobs it runs at once."""
        ...

    def run(self, jobs: Sequence[Job]) -> Generator[CellResult, None, None]:
        """Run jobs and yield their results as they come, in no order.

        Whoever stops iterating stops the jobs that are running. A worker that dies loses its own
        job only, which is tried once more elsewhere; its result is LOST if that fails too.
        """
        ...


class LocalExecutor:
    """Threads that each supervise a fork server on this host."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    @property
    def workers(self) -> int:
        return self._workers

    def run(self, jobs: Sequence[Job]) -> Generator[CellResult, None, None]:
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        done: queue.SimpleQueue[CellResult | BaseException] = queue.SimpleQueue()
        servers = [ForkServer() for _ in range(min(self._workers, len(jobs)))]
        stopping = threading.Event()
        threads = [
            threading.Thread(target=_work, args=(server, waiting, done, stopping), daemon=True)
            for server in servers
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in jobs:
                result = done.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            stopping.set()
            for server in servers:
                server.stop()
            for thread in threads:
                thread.join()


def _work(
    server: ForkServer,
    waiting: queue.SimpleQueue[Job],
    done: queue.SimpleQueue[CellResult | BaseException],
    stopping: threading.Event,
) -> None:
    """Run the jobs that wait, until there is none."""
    try:
        with server:
            while not stopping.is_set():
                done.put(_try(waiting.get_nowait(), server, stopping))
    except queue.Empty:
        return
    except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for results
        done.put(error)


def _try(job: Job, server: ForkServer, stopping: threading.Event) -> CellResult:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return replace(supervise(job, server), attempts=attempt)
        except MachineError as error:
            reason = str(error)
            if stopping.is_set():
                break
    return lost(job, reason, attempt)


def lost(job: Job, reason: str, attempts: int) -> CellResult:
    """The result of a job whose workers died."""
    return CellResult(job.choices, job.key, Outcome.LOST, reason, attempts=attempts)
