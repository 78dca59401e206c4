"""How far a program may go, and what the command line says where it went further."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from .wasm_programs import Kit, compiled, ordinary

ENDLESS = '(module (func (export "_start") (loop (br 0))))'
SLEEPING = """
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    ;; One subscription: the monotonic clock, in 100 seconds from now.
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 100000000000))
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))
"""


@pytest.fixture
def kit(machine: str, tmp_path: Path) -> Kit:
    return Kit(machine, tmp_path / "cache")


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    module = tmp_path / "endless.wat"
    module.write_text(ENDLESS)
    return module


@pytest.fixture
def sleeping(tmp_path: Path) -> Path:
    module = tmp_path / "sleeping.wat"
    module.write_text(SLEEPING)
    return module


def test_fuel_ends_a_program_as_a_trap_does(kit: Kit, endless: Path) -> None:
    line = kit.refuses("--fuel", "1000", endless, status=134)
    assert line == "the program used up its 1000 units of fuel"


def test_a_program_with_enough_fuel_does_not_notice(kit: Kit) -> None:
    program = compiled("words")
    done = kit("--fuel", "10000000", program, stdin=b"a b c")
    assert done == ordinary(program, stdin=b"a b c")


def test_the_epoch_ends_a_program_as_a_trap_does(kit: Kit, endless: Path) -> None:
    line = kit.refuses("--epoch-timeout", "0.2", endless, status=134)
    assert line == "the program ran longer than 0.2 seconds (epoch)"


def test_a_timeout_ends_a_program_that_runs(kit: Kit, endless: Path) -> None:
    line = kit.refuses("--timeout", "0.2", endless, status=124)
    assert line == "the program ran longer than 0.2 seconds"


def test_a_timeout_ends_a_program_that_sleeps(kit: Kit, sleeping: Path) -> None:
    start = time.monotonic()
    assert "longer than 0.3 seconds" in kit.refuses("--timeout", "0.3", sleeping, status=124)
    assert time.monotonic() - start < 60


def test_limits_that_are_not_reached_change_nothing(kit: Kit) -> None:
    program = compiled("words")
    limits = ["--fuel", "99999999", "--epoch-timeout", "100", "--timeout", "100"]
    limits += ["--max-memory", "1GiB", "--max-open-files", "100", "--max-tasks", "100"]
    assert kit(*limits, program, stdin=b"a b c") == ordinary(program, stdin=b"a b c")


@pytest.mark.parametrize(("option", "least"), [("--max-tasks", 1), ("--max-open-files", 5)])
def test_a_limit_that_wasmtime_itself_needs_more_than_is_named(
    kit: Kit, option: str, least: int
) -> None:
    done = kit(option, str(least), compiled("words"), stdin=b"a b c")
    assert done.status == 134
    lines = done.stderr.decode().splitlines()
    assert lines[-1] == f"theseus-kit: Wasmtime itself needs more than {option} {least}"


def test_a_program_is_told_where_it_opens_too_many_files(kit: Kit) -> None:
    few, many = (
        kit("--max-open-files", limit, "--memfs", "/d", compiled("hoard"), "/d").stdout
        for limit in ("20", "60")
    )
    opened = [int(line.split()[0]) for line in (few, many)]
    assert opened[1] == opened[0] + 40
    assert few.endswith(b" open, then: I/O error\n")  # what Wasmtime makes of EMFILE


def test_memory_stops_growing_at_its_limit(kit: Kit) -> None:
    program = compiled("allocate")
    done = kit("--max-memory", "40MiB", program)
    assert done == ordinary(program, memory=40 << 20)
    assert 10 < int(done.stdout.split()[0]) < 40


def test_a_memory_that_starts_above_the_limit_is_refused(kit: Kit, tmp_path: Path) -> None:
    module = tmp_path / "large.wat"
    module.write_text('(module (memory 100) (func (export "_start")))')
    line = kit.refuses("--max-memory", "64KiB", module, status=1)
    assert "exceeds memory limits" in line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--max-memory", "12parsecs"], "--max-memory 12parsecs: no unit is named 'parsecs'"),
        (["--max-memory", "many"], "--max-memory many: write it as a number of bytes"),
        (["--timeout", "0"], "--timeout 0: must be a number of seconds above 0"),
        (["--epoch-timeout", "nan"], "--epoch-timeout nan: must be"),
        (["--env", "=x"], "--env =x: write it as NAME=VALUE"),
        (["--config", "shared_memori"], "Wasmtime's Config has no setting 'shared_memori'"),
        (["--memfs", "/x=4QB"], "--memfs /x=4QB: no unit is named 'QB'"),
        (["--memfs", "=4"], "--memfs =4: name the directory"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_in_one_line(
    kit: Kit, endless: Path, options: list[str], expected: str
) -> None:
    assert expected in kit.refuses(*options, endless)


def test_the_same_program_is_compiled_for_each_way_of_limiting_it(
    kit: Kit, endless: Path, tmp_path: Path
) -> None:
    for options in (["--fuel", "10"], ["--epoch-timeout", "0.1"], ["--timeout", "0.1"]):
        for _ in range(2):  # compiled, then from the cache
            assert kit(*options, endless).status in (124, 134)
    assert len(list((tmp_path / "cache").glob("*.cwasm"))) == 3


def test_two_deterministic_runs_agree_on_time_and_randomness(kit: Kit, tmp_path: Path) -> None:
    module = tmp_path / "chance.wat"
    module.write_text(CHANCE)
    runs = {seed: kit("--deterministic", seed, module).stdout for seed in ("7", "8")}
    assert len(runs["7"]) == 24
    assert kit("--deterministic", "7", module).stdout == runs["7"]
    assert runs["7"][:16] != runs["8"][:16]


CHANCE = """
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $random (i32.const 0) (i32.const 16)))
    (drop (call $time (i32.const 0) (i64.const 1) (i32.const 16)))
    (i32.store (i32.const 32) (i32.const 0))
    (i32.store (i32.const 36) (i32.const 24))
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 40)))))
"""


@pytest.mark.parametrize("waits", ["sleeping", "reading"])
def test_control_c_ends_a_program_that_waits_with_130(kit: Kit, sleeping: Path, waits: str) -> None:
    program = sleeping if waits == "sleeping" else compiled("words")
    command = [word for word in kit.command("--no-cache", program) if word != "--quiet"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while "machine" not in process.stderr.readline():  # the assembly is shown
            pass
        time.sleep(1)  # into the wait, most likely; where it is not there yet the same must hold
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert "Traceback" not in process.stderr.read()
