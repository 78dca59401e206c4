"""A process that has imported everything and forks one child for each cell.

Forking takes milliseconds where starting Python and importing the framework, the plugins and
Wasmtime's bindings take most of a second. The server has one thread and no platform, so nothing
that a fork would break is inherited; a cell boots its own platform, so that what a boot does wrong
is that cell's. This file is the side of whoever runs cells; :mod:`.fork_server_process` is the
server's.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from theseus_kit.errors import MachineError
from theseus_kit.testing.matrix.job import Job
from theseus_kit.values.record import NamedTuple

_POLL_SECONDS = 0.05
"""How often a cell's memory is looked at."""


class Ended(NamedTuple):
    """How a cell's process ended."""

    status: int
    """Its exit status, or minus the signal it died of."""
    stopped_for: str
    """``time`` or ``memory`` where it was killed for using too much of it; empty otherwise."""
    peak_memory: int
    """The most bytes it held in memory."""
    seconds: float


class ForkServer:
    """Runs jobs, one at a time; a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def run(self, job: Path, seconds: float, memory: int) -> Ended:
        """Run the job that a file describes, in a process of its own; kill it at its limits.

        Raises MachineError if the server itself dies.
        """
        server = self._server()
        assert server.stdin is not None
        try:
            server.stdin.write(f"{job}\n")
            server.stdin.flush()
            started = time.monotonic()
            pid = self._answer(server, None)["pid"]
            stopped_for = ""
            while True:
                answer = self._answer(server, _POLL_SECONDS)
                if answer:
                    return Ended(
                        answer["status"],
                        stopped_for,
                        answer["peak_memory"],
                        time.monotonic() - started,
                    )
                if not stopped_for:
                    if time.monotonic() - started > seconds:
                        stopped_for = "time"
                    elif _resident(pid) > memory:
                        stopped_for = "memory"
                    if stopped_for:
                        os.killpg(pid, signal.SIGKILL)
        except (BrokenPipeError, EOFError) as error:
            self.close()
            raise MachineError("the process that starts the cells died") from error

    def _server(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "theseus_kit.testing.matrix.fork_server_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for whoever runs the matrix
            )
        if self._stopped:  # asked again after every start: stop() comes from another thread
            self.close()
            raise MachineError("the process that starts the cells was stopped")
        return self._process

    @staticmethod
    def _answer(server: subprocess.Popen[str], timeout: float | None) -> dict[str, Any]:
        """The server's next line, empty if none comes in time."""
        assert server.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(server.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                return {}
        line = server.stdout.readline()
        if not line:
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the server and the cell it may be running; from any thread. Its run() raises."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.terminate()

    def close(self) -> None:
        """End the server, and the cell it may be running."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _resident(pid: int) -> int:
    """The bytes that a process and its descendants hold in memory; 0 for one that is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident(int(child)) for child in children)


def write_job(job: Job, directory: Path) -> Path:
    """Write a job's file into a directory of its own; its process writes beside it."""
    import msgspec

    path = directory / "job.json"
    path.write_bytes(msgspec.json.encode(job))
    return path
