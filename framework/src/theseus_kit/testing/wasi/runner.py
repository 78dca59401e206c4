"""Running the suite's programs, each in a process of its own, and judging what they did.

A process for each: a program that hangs or kills its process costs itself alone, and has standard
streams of its own. It works in a copy of its directory, so a run leaves no trace in the suite.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theseus_kit.testing.platform_choice import PlatformChoice
from theseus_kit.testing.wasi.results import WasiResult

if TYPE_CHECKING:
    from theseus_kit.testing.wasi.suite import WasiTest

_PIPE_ROOM = 1 << 16


def run_tests(
    tests: Sequence[WasiTest],
    choice: PlatformChoice | None,
    *,
    workers: int = 1,
    timeout: float | None = None,
) -> Iterator[WasiResult]:
    """Run tests and yield their results as they come, in no order.

    ``choice`` of None means the ordinary ``wasmtime`` package. ``timeout`` is for one test, in
    seconds.
    """
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(run_test, test, choice, timeout) for test in tests]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for future in waiting:
                future.cancel()


def run_test(
    test: WasiTest, choice: PlatformChoice | None, timeout: float | None = None
) -> WasiResult:
    """Run one test in a process of its own."""
    if test.unsupported:
        return WasiResult(str(test.path), skipped=test.unsupported)
    with tempfile.TemporaryDirectory(prefix="wasi-test-") as scratch:
        root = None
        if test.root is not None:
            root = Path(scratch) / "root"
            shutil.copytree(test.root, root, symlinks=True)
        job = {
            "path": str(test.path.absolute()),
            "arguments": test.arguments,
            "environment": dict(test.environment),
            "root": None if root is None else str(root),
            "platform": None if choice is None else asdict(choice),
        }
        return _judged(test, job, timeout)


def _judged(test: WasiTest, job: Mapping[str, Any], timeout: float | None) -> WasiResult:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "theseus_kit.testing.wasi.process", str(writer)]
    started = time.monotonic()
    problems: list[str] = []
    try:
        done = subprocess.run(
            [*command, json.dumps(job)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(writer,),
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        os.close(writer)
        os.close(reader)
        problems.append(f"it was stopped after {timeout:g} s")
        return WasiResult(
            str(test.path),
            tuple(problems),
            stdout=_text(expired.stdout),
            stderr=_text(expired.stderr),
            seconds=time.monotonic() - started,
        )
    os.close(writer)
    with os.fdopen(reader, "rb") as answered:
        answer = answered.read(_PIPE_ROOM)
    seconds = time.monotonic() - started
    stdout, stderr = _text(done.stdout), _text(done.stderr)
    status: int | None = None
    if not answer:
        problems.append(f"its process {_ending(done.returncode)}")
    else:
        told = json.loads(answer)
        status = told["status"]
        if told["problem"]:
            problems.append(told["problem"])
        if status is not None and status != test.exit_code:
            problems.append(f"its exit status is {status}, expected {test.exit_code}")
    for stream, expected, written in (
        ("stdout", test.stdout, stdout),
        ("stderr", test.stderr, stderr),
    ):
        if expected is not None and written != expected:
            problems.append(f"its {stream} is {written!r}, expected {expected!r}")
    return WasiResult(str(test.path), tuple(problems), None, status, stdout, stderr, seconds)


def _ending(status: int) -> str:
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"ended with status {status} before the program did"


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="backslashreplace")
