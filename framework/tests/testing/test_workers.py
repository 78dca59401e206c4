"""Files in worker processes: what one file breaks costs no other."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from theseus_kit.testing.wast.workers import run_files

GOOD = '(module (func (export "f") (result i32) (i32.const 1)))\n'
ENDLESS = '(module (func (export "f") (loop (br 0))))\n(invoke "f")'


def script(directory: Path, name: str, text: str) -> str:
    path = directory / f"{name}.wast"
    path.write_text(text)
    return str(path)


def test_every_file_gives_one_result_whatever_the_number_of_workers(tmp_path: Path) -> None:
    paths = [script(tmp_path, f"file{number}", GOOD) for number in range(5)]
    for workers in (1, 3):
        results = list(run_files(paths, None, workers=workers))
        assert sorted(result.path for result in results) == paths
        assert all(result.passed == 1 and not result.failed for result in results)


def test_no_files_give_no_results() -> None:
    assert list(run_files([], None)) == []


def test_a_failure_comes_back_with_its_line(tmp_path: Path) -> None:
    text = GOOD + '(assert_return (invoke "f") (i32.const 2))'
    (result,) = run_files([script(tmp_path, "wrong", text)], None)
    (failure,) = result.failures
    assert (failure.line, failure.expected) == (2, "(i32 0x00000002)")
    assert failure.got == "(i32 0x00000001)"


def test_a_file_that_takes_too_long_fails_and_the_others_go_on(tmp_path: Path) -> None:
    paths = [script(tmp_path, "endless", ENDLESS), script(tmp_path, "good", GOOD)]
    endless, good = run_files(paths, None, timeout=8)
    assert endless.failures[0].got == "it was stopped after 8 s"
    assert endless.aborted == "worker process: it was stopped after 8 s"
    assert (good.passed, good.failed) == (1, 0)


def test_a_worker_that_dies_costs_one_file(tmp_path: Path) -> None:
    paths = [script(tmp_path, "endless", ENDLESS), script(tmp_path, "good", GOOD)]
    killer = threading.Thread(target=kill_the_busy_child)
    killer.start()
    died, good = run_files(paths, None, timeout=60)
    killer.join()
    assert died.failures[0].got == "it died of SIGKILL"
    assert (good.passed, good.failed) == (1, 0)


def test_whoever_stops_listening_stops_the_workers(tmp_path: Path) -> None:
    paths = [script(tmp_path, "good", GOOD), script(tmp_path, "endless", ENDLESS)]
    results = run_files(paths, None, workers=2)
    assert next(results).path == paths[0]
    results.close()
    assert children() == []


def children() -> list[int]:
    """Return the processes spawned for work; the standard library's own helper is none."""
    text = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    found = [int(word) for word in text.split()]
    return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill_the_busy_child() -> None:
    """Wait until the worker burns processor time in its endless loop, then kill it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for pid in children():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[11]) / os.sysconf("SC_CLK_TCK") > 1:
                os.kill(pid, signal.SIGKILL)
                return
        threading.Event().wait(0.05)
    pytest.fail("no worker was busy")
