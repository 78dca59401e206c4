"""Runs cells on the workers of a Dask cluster; needs the extra ``theseus-kit[dask]``.

A task does nothing but supervise a process, so a cell that crashes is a result like any other. A
worker that dies is the exception: Dask would by default try its tasks on up to four workers, and
blame tasks whose finished results the worker merely held. So the scheduler is told that no task
may take a worker with it, a worker has no more jobs than it runs at once, a result is fetched as
soon as it is there, and the one retry, on another worker, is made here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix.executors import ATTEMPTS, lost
from theseus_kit.testing.matrix.fork_server import ForkServer
from theseus_kit.testing.matrix.job import Job
from theseus_kit.testing.matrix.results import CellResult
from theseus_kit.testing.matrix.supervise import supervise
from theseus_kit.values.record import NamedTuple

_SERVERS = "theseus_kit_fork_servers"
"""The attribute of a worker that its idle fork servers are kept in."""
_LOOK_SECONDS = 1.0
"""How often new workers are looked for."""
_WORKER_TIMEOUT = 60.0
"""Seconds after which a cluster without a worker is given up."""


class _Attempt(NamedTuple):
    """A job on its way."""

    job: Job
    number: int
    """The how manieth attempt it is, from 1."""
    avoided: str = ""
    """The worker that died of it before."""
    worker: str = ""
    """The worker that has it."""


class DaskExecutor:
    """See :class:`theseus_kit.testing.matrix.executors.Executor`.

    ``scheduler`` is an address such as ``tcp://10.0.0.1:8786``. The workers need the same
    distributions installed; directories that jobs name are to be shared with them.
    """

    def __init__(self, scheduler: str, timeout: float = 10.0) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise UsageError(
                "--executor dask needs Dask: pip install 'theseus-kit[dask]'"
            ) from error
        try:
            self._client: Any = Client(scheduler, timeout=timeout, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        self._client.run_on_scheduler(_forbid_deaths)
        self._check_versions()

    @property
    def workers(self) -> int:
        threads: dict[str, int] = self._client.nthreads()
        return sum(threads.values())

    def run(self, jobs: Sequence[Job]) -> Generator[CellResult, None, None]:
        waiting = deque(_Attempt(job, 1) for job in jobs)
        running: dict[Any, _Attempt] = {}
        try:
            while waiting or running:
                self._fill(waiting, running)
                for future in self._ended(running):
                    attempt = running.pop(future)
                    error = future.exception()
                    if error is None:
                        yield replace(future.result(), attempts=attempt.number)
                    elif not _is_death(error):
                        raise error
                    elif attempt.number < ATTEMPTS:
                        again = _Attempt(attempt.job, attempt.number + 1, attempt.worker)
                        waiting.appendleft(again)
                    else:
                        yield lost(attempt.job, f"the worker died: {error}", attempt.number)
        finally:
            self._client.cancel(list(running), force=True)

    def _fill(self, waiting: deque[_Attempt], running: dict[Any, _Attempt]) -> None:
        """Give each worker as many jobs as it has threads, and no more: what merely waits on a
        worker would be lost with it."""
        threads: dict[str, int] = self._client.nthreads()
        for attempt in running.values():
            if attempt.worker in threads:
                threads[attempt.worker] -= 1
        for worker, free in threads.items():
            for _ in range(free):
                if not waiting:
                    return
                if waiting[0].avoided == worker and len(threads) > 1:
                    waiting.rotate(-1)
                if waiting[0].avoided != worker or len(threads) == 1:
                    attempt = waiting.popleft()._replace(worker=worker)
                    running[self._submit(attempt)] = attempt

    def _submit(self, attempt: _Attempt) -> Any:
        return self._client.submit(
            _run_job, attempt.job, pure=False, retries=0, workers=[attempt.worker]
        )

    def _ended(self, running: dict[Any, _Attempt]) -> list[Any]:
        """The futures that are done; none after a while, in which workers may have come."""
        from distributed import wait

        if not running:
            self._client.wait_for_workers(1, timeout=_WORKER_TIMEOUT)
            return []
        try:
            with self._client.as_current():
                done = wait(list(running), _LOOK_SECONDS, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return []
        return list(done)

    def _check_versions(self) -> None:
        ours = _version()
        for address, theirs in self._client.run(_version).items():
            if theirs != ours:
                raise UsageError(
                    f"the worker {address} has theseus-kit {theirs}, this host {ours}: "
                    "install the same"
                )

    def close(self) -> None:
        """Leave the cluster."""
        self._client.close()

    def __enter__(self) -> DaskExecutor:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def _run_job(job: Job) -> CellResult:
    """What a worker does for a job: on a fork server that it keeps from one to the next."""
    from distributed import get_worker

    idle: SimpleQueue[ForkServer] = _servers_of(get_worker())
    try:
        server = idle.get_nowait()
    except Empty:
        server = ForkServer()
    with ExitStack() as stack:
        stack.callback(server.close)
        result = supervise(job, server)
        stack.pop_all()  # it goes on living
    idle.put(server)
    return result


def _servers_of(worker: Any) -> SimpleQueue[ForkServer]:
    """The idle fork servers of a worker, which end with it."""
    # One step: two threads of a worker may come here at once.
    servers: SimpleQueue[ForkServer] = vars(worker).setdefault(_SERVERS, SimpleQueue())
    return servers


def _version() -> str:
    from importlib.metadata import version

    return version("theseus-kit")


def _forbid_deaths(dask_scheduler: Any = None) -> None:
    """On the scheduler: give a task up at the first worker that dies of it."""
    dask_scheduler.allowed_failures = 0


def _is_death(error: BaseException) -> bool:
    from distributed.scheduler import KilledWorker

    return isinstance(error, KilledWorker)
