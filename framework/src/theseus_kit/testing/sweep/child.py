"""One run's process: assembles, runs the target, and writes how that ended.

Started as ``python -m theseus_kit.testing.sweep.child JOB.json``; stdout is the target's own. A run
that takes too long says where the guest is, as far as Python gets to hold control, and ends.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from theseus_kit.assembly import assemble
from theseus_kit.cli.directories import parse_directories
from theseus_kit.cli.run import Run, run_module
from theseus_kit.errors import (
    DeadlockError,
    GuestKilled,
    MachineError,
    MissingSymbolError,
    PluginError,
    TheseusKitError,
    UsageError,
)
from theseus_kit.platform import Platform
from theseus_kit.testing.sweep.job import Job, Outcome, Target, function_names
from theseus_kit.values.exceptions import Exited
from theseus_kit.values.linkage import CFunction, ErrorConvention
from theseus_kit.values.paths import Mount

_GRACE = 2.0
"""Seconds between asking a run where it is and interrupting guest code that does not answer."""


class _Limit:
    """Ends a run that takes too long."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._platform: Platform | None = None
        signal.signal(signal.SIGALRM, self._say_where)
        signal.setitimer(signal.ITIMER_REAL, job.seconds)
        timer = threading.Timer(job.seconds + _GRACE, self._give_up)
        timer.daemon = True
        timer.start()

    def watch(self, platform: Platform) -> None:
        self._platform = platform

    def _say_where(self, number: int, frame: FrameType | None) -> None:
        """Python holds control: the guest waits in a C function, or between two of them."""
        frames: tuple[str, ...] = ()
        if self._platform is not None:
            try:
                frames = function_names(self._platform.backtrace())
            except TheseusKitError as error:
                frames = (f"(no backtrace: {error})",)
        self._end(frames)

    def _give_up(self) -> None:
        """Guest code runs on and on, and calls nobody."""
        self._end(("(guest code that calls nothing)",))

    def _end(self, frames: tuple[str, ...]) -> None:
        message = f"it was still running after {self._job.seconds:g} s"
        Outcome("hung", message=message, frames=frames).write(self._job.directory)
        os._exit(3)


def main(path: str) -> None:
    """Do the job in a file."""
    job = Job.read(path)
    # It would run finalisers, which call the guest, at moments that differ from run to run.
    gc.disable()
    limit = _Limit(job)
    outcome = _run(job, limit)
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.flush()
    outcome.write(job.directory)
    os._exit(0)  # what is left of a killed guest is not to be taken down in order


def _run(job: Job, limit: _Limit) -> Outcome:
    target = job.target
    platform: Platform | None = None
    try:
        platform = assemble(
            [*job.watchers, *target.plugins],
            target.machine,
            {**target.options, **job.watcher_options},
            deterministic=target.seed,
        )
        limit.watch(platform)
        ended = _run_program(platform, target) if target.is_program else _module(platform, target)
        platform.close()
    except GuestKilled as killed:
        if isinstance(killed.reason, Exited):
            ended = Outcome("finished", killed.reason.status)
        else:
            ended = Outcome(
                "killed", type=type(killed).__name__, message=str(killed), frames=_frames(killed)
            )
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - it is the run's end, told on
        ended = _raised(error)
    if platform is None:
        return ended._replace(assembled=False)
    return ended._replace(reports_errors=_reporting(platform, job.watcher_options.get("trace")))


def _frames(killed: GuestKilled) -> tuple[str, ...]:
    """Where the guest was; of a deadlock, where each of its tasks waits."""
    if not isinstance(killed, DeadlockError):
        return function_names(killed.backtrace)
    return tuple(
        line
        for stuck in killed.stuck
        for line in (
            f"({stuck})",
            *function_names(stuck.backtrace),
        )
    )


def _raised(error: BaseException) -> Outcome:
    kind = "raised"
    if isinstance(error, MissingSymbolError):
        kind = "killed"
    elif isinstance(error, PluginError | MachineError):
        kind = "raised"
    elif isinstance(error, UsageError):
        kind = "refused"
    elif isinstance(error, TheseusKitError):
        kind = "error"
    elif type(error).__module__.partition(".")[0].startswith(("wasmtime", "theseus_kit")):
        kind = "error" if getattr(error, "trap_code", None) is None else "trap"
    return Outcome(kind, type=type(error).__name__, message=str(error))


def _module(platform: Platform, target: Target) -> Outcome:
    told: list[Exception] = []
    cache = None if target.cache is None else Path(target.cache)
    run = Run(
        target.path,
        target.arguments,
        target.invoke,
        directories=parse_directories(target.directories, (), ()),
        compile_on="guest" if target.compile_on == "guest" else "host",
        cache=cache,
    )
    status = run_module(platform, run, strict=False, wasmtime=None, report=told.append)
    return _raised(told[0]) if told else Outcome("finished", status)


def _run_program(platform: Platform, target: Target) -> Outcome:
    sys.argv[:] = [target.path, *target.arguments]
    sys.path[0] = str(Path(target.path).resolve().parent)
    platform.hooks.path_mount(mount=Mount(Path("/"), "/", writable=True))
    with platform.boot().standing_in():
        try:
            runpy.run_path(target.path, run_name="__main__")
        except SystemExit as exit_:
            code: Any = exit_.code
            return Outcome("finished", code if isinstance(code, int) else int(code is not None))
    return Outcome("finished")


def _reporting(platform: Platform, trace: Mapping[str, object] | None) -> tuple[str, ...]:
    """Of the C functions in a trace, those that have a way to report an error."""
    if trace is None:
        return ()
    with Path(str(trace["file"])).open() as lines:
        calls = {(call["kind"], call["name"]) for call in map(json.loads, lines)}
    found = []
    for kind, name in sorted(calls):
        function = platform.namespace.provided(name) if kind == "c" else None
        if isinstance(function, CFunction) and function.on_error is not ErrorConvention.FATAL:
            found.append(name)
    return tuple(found)


if __name__ == "__main__":
    main(sys.argv[1])
