"""Runs cells on the workers of a Dask cluster; needs the extra ``theseus-kit[dask]``.

A task does nothing but supervise a process, so a cell that crashes is a result like any other. A
worker that dies is the exception: Dask would by default try its tasks on up to four workers, and
blame tasks whose finished results the worker merely held. So the scheduler is told that no task
may take a worker with it, a result is fetched as soon as it is there, and the one retry, on
another worker, is made here.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix.executors import ATTEMPTS, lost
from theseus_kit.testing.matrix.fork_server import ForkServer
from theseus_kit.testing.matrix.job import Job
from theseus_kit.testing.matrix.results import CellResult
from theseus_kit.testing.matrix.supervise import supervise


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
        from distributed import as_completed

        attempts: dict[Any, tuple[Job, int]] = {}
        for job in jobs:
            attempts[self._submit(job, None)] = (job, 1)
        pending = as_completed(list(attempts))
        try:
            for future in pending:
                job, attempt = attempts.pop(future)
                error = future.exception()
                if error is None:
                    yield replace(future.result(), attempts=attempt)
                elif not _is_death(error):
                    raise error
                elif attempt < ATTEMPTS:
                    again = self._submit(job, _worker_of(error))
                    attempts[again] = (job, attempt + 1)
                    pending.add(again)
                else:
                    yield lost(job, f"the worker died: {error}", attempt)
        finally:
            self._client.cancel(list(attempts), force=True)

    def _submit(self, job: Job, but_not_on: str | None) -> Any:
        others = [address for address in self._client.nthreads() if address != but_not_on]
        return self._client.submit(
            _run_job,
            job,
            pure=False,
            retries=0,
            workers=others if but_not_on is not None and others else None,
            allow_other_workers=False,
        )

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
    """What a worker does for a job."""
    with ForkServer() as server:
        return supervise(job, server)


def _version() -> str:
    from importlib.metadata import version

    return version("theseus-kit")


def _forbid_deaths(dask_scheduler: Any = None) -> None:
    """On the scheduler: give a task up at the first worker that dies of it."""
    dask_scheduler.allowed_failures = 0


def _is_death(error: BaseException) -> bool:
    from distributed.scheduler import KilledWorker

    return isinstance(error, KilledWorker)


def _worker_of(error: Any) -> str | None:
    address = getattr(error.last_worker, "address", None)
    return None if address is None else str(address)
