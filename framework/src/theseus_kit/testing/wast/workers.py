"""Many files at once: worker processes, each with a platform of its own.

A worker takes file after file; when a guest was killed its platform is dead and the worker
assembles another. Should a worker itself die or hang, the file it had fails and a new worker
takes the next one, so that one crash costs one file.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Generator, Sequence
from math import inf
from typing import TYPE_CHECKING

from theseus_kit.testing.platform_choice import PlatformChoice
from theseus_kit.testing.wast.results import Failure, FileResult

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnContext


def run_files(
    paths: Sequence[str],
    choice: PlatformChoice | None,
    *,
    workers: int = 1,
    timeout: float | None = None,
) -> Generator[FileResult, None, None]:
    """Run files and yield their results as they come, in no order.

    ``choice`` of None means the ordinary ``wasmtime`` package. ``timeout`` is for one file, in
    seconds. Whoever stops iterating stops the workers.
    """
    import multiprocessing
    from multiprocessing.connection import wait

    # Never fork: the parent may have threads of Wasmtime's, and a fork has none of them.
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(paths))
    busy: list[_Worker] = []
    try:
        for _ in range(min(workers, len(waiting))):
            busy.append(_Worker(context, choice))
            busy[-1].give(waiting.pop(), timeout)
        while busy:
            earliest = min(worker.deadline for worker in busy)
            left = None if earliest == inf else max(0.0, earliest - time.monotonic())
            ready = wait([worker.connection for worker in busy], left)
            for number, worker in enumerate(busy):
                if worker.connection in ready:
                    yield worker.take()
                    if waiting:
                        if not worker.process.is_alive():
                            worker.stop()
                            busy[number] = worker = _Worker(context, choice)
                        worker.give(waiting.pop(), timeout)
                    else:
                        worker.stop()
                elif time.monotonic() > worker.deadline:
                    worker.process.kill()  # its connection ends: taken in the next round
            busy = [worker for worker in busy if worker.path]
    finally:
        for worker in busy:
            worker.stop()


class _Worker:
    """A worker process, seen from its parent."""

    def __init__(self, context: SpawnContext, choice: PlatformChoice | None) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, choice), daemon=True)
        self.process.start()
        theirs.close()  # so that the connection ends when the process does
        self.path = ""  # of the file it is running
        self.deadline = inf
        self._timeout: float | None = None

    def give(self, path: str, timeout: float | None) -> None:
        """Have a file run."""
        self.path = path
        self._timeout = timeout
        self.deadline = inf if timeout is None else time.monotonic() + timeout
        self.connection.send(path)

    def take(self) -> FileResult:
        """Return the result of the file, a failure if the process is gone."""
        path, self.path = self.path, ""
        try:
            result: FileResult = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            got = _ending(self.process.exitcode)
            if time.monotonic() > self.deadline:
                got = f"it was stopped after {self._timeout:g} s"
            failure = Failure(0, path, "the worker process to go on", got)
            return FileResult(path, 0, (failure,), aborted=f"worker process: {got}")
        return result

    def stop(self) -> None:
        """End the process."""
        self.path = ""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return f"it died of {signal.Signals(-status).name}"
    return f"it ended with status {status}"


def _work(connection: Connection, choice: PlatformChoice | None) -> None:
    """Run the files that come through a connection; what a worker process does."""
    # Ctrl-C reaches the whole process group; stopping the workers is the parent's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if choice is None:
        import wasmtime

        from theseus_kit.testing.wast.runner import SpecRunner

        runner = SpecRunner(wasmtime)
        while True:
            connection.send(runner.run_file(connection.recv()))
    from theseus_kit.assembly import assemble
    from theseus_kit.testing.wast.on_platform import platform_runner

    while True:
        with assemble(choice.plugins, choice.machine, choice.options) as platform:
            runner = platform_runner(platform, choice.compile_on)
            alive = True
            while alive:
                result = runner.run_file(connection.recv())
                connection.send(result)
                alive = result.aborted is None
