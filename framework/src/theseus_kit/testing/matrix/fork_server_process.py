"""The fork server's own side: reads the paths of jobs, forks, reports. ``python -m`` runs it.

A line on standard input is the path of a job; the answers are lines of JSON on standard output:
first the process's number, then how it ended. A job's process writes ``cases.jsonl`` (a case as
soon as it is known, so that a crash loses none) and ``log.txt`` beside the job's file.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path

import msgspec

from theseus_kit.testing.matrix.job import CASES, LOG, Job

_WARM = (
    *("theseus_kit.assembly", "theseus_kit.testing.wast.on_platform", "wasmtime", "unicorn"),
    "theseus_kit.testing.matrix.kinds",
)


def main() -> None:
    """Serve until standard input ends or somebody terminates the server."""
    for module in _WARM:
        import_module(module)
    running: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: _end(running))
    _end_with_the_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what prints by mistake does not answer
    for line in sys.stdin:
        job = Path(line.rstrip("\n"))
        pid = os.fork()
        if pid == 0:
            answers.close()
            _become_cell(job)
        running.append(pid)
        _say(answers, pid=pid)
        _, wait_status, usage = os.wait4(pid, 0)
        running.clear()
        status = os.waitstatus_to_exitcode(wait_status)
        _say(answers, status=status, peak_memory=usage.ru_maxrss << 10)


def _end_with_the_parent() -> None:
    """Have the kernel end this process when the thread that started it is gone: nobody would hold
    the cell to its limits any more (man 2 PR_SET_PDEATHSIG)."""
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)


def _say(answers: object, **values: int) -> None:
    print(json.dumps(values), file=answers, flush=True)  # type: ignore[call-overload]


def _end(running: list[int]) -> None:
    for pid in running:
        os.killpg(pid, signal.SIGKILL)
    os._exit(0)


def _become_cell(path: Path) -> None:
    """Run a job in this process, which ends with it."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(path.with_name(LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        faulthandler.enable()
        job = msgspec.json.decode(path.read_bytes(), type=Job)
        with path.with_name(CASES).open("wb", buffering=0) as cases:
            from theseus_kit.testing.matrix.kinds import run_tests

            for case in run_tests(job):
                cases.write(msgspec.json.encode(case) + b"\n")
        status = 0
    except BaseException:  # noqa: BLE001 - this is the last frame: what is raised is printed
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
