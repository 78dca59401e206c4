"""What ``theseus-kit assemble`` says of a run that ends badly: text, JSON, core files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import Platform, assemble
from theseus_kit.cli.deaths import Reporter
from theseus_kit.errors import GuestKilled

MODULE = """
(module
  (memory 1)
  (func $load (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "read") (param i32) (result i32) (call $load (local.get 0)))
  (func (export "first") (result i32) (i32.const 7)))
"""
OUTSIDE = str(0xFFFF0000)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.wat"
    path.write_text(MODULE)
    return path


@pytest.fixture
def run(machine: str, tmp_path: Path, module: Path) -> Run:
    """Run ``assemble`` on the module in a process of its own."""

    def assemble(*options: str | Path, argument: str = OUTSIDE) -> Any:
        return subprocess.run(
            [
                *(sys.executable, "-m", "theseus_kit.cli", "assemble", "--machine", machine),
                *("--quiet", "--no-cache", *map(str, options)),
                *("--invoke", "read", str(module), argument),
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            timeout=120,
            check=False,
        )

    return assemble


def test_a_trap_shows_the_wasm_frames_only(run: Run) -> None:
    done = run()
    assert done.returncode == 134
    assert done.stdout == ""
    assert "wasm trap: out of bounds memory access" in done.stderr
    assert "load" in done.stderr
    assert "machine backtrace" not in done.stderr


def test_a_full_backtrace_shows_the_library_s_frames_behind_the_wasm_frames(run: Run) -> None:
    done = run("--backtrace", "full")
    assert done.returncode == 134
    message, _, frames = done.stderr.partition("machine backtrace:\n")
    assert "wasm trap: out of bounds memory access" in message
    numbered = re.findall(r"^ *(\d+)  0x[0-9a-f]{16}  (.+)$", frames, re.MULTILINE)
    assert [int(number) for number, _ in numbered] == list(range(len(numbered)))
    (call,) = [text for _, text in numbered if text.startswith("wasmtime_func_call + 0x")]
    assert call.endswith(" in _libwasmtime.so")


def test_a_trap_as_json_is_the_last_line_of_stderr(run: Run) -> None:
    done = run("--json")
    assert (done.returncode, done.stdout) == (134, "")
    report = json.loads(done.stderr.splitlines()[-1])
    assert report["kind"] == "trap"
    assert report["code"] == "memory-out-of-bounds"
    assert report["wasm_frames"][0]["function"] == "load"
    assert [frame["function_index"] for frame in report["wasm_frames"]] == [0, 1]
    assert report["exception"]["vector"] == 14
    assert report["exception"]["access"] == "read"
    assert report["exception"]["registers"]["rip"] == report["frames"][0]["instruction_pointer"]
    names = [symbol["name"] for frame in report["frames"] for symbol in frame["symbols"]]
    assert "wasmtime_func_call" in names
    assert report["core"] is None


@pytest.mark.parametrize("options", [(), ("--json",), ("--backtrace", "full")])
def test_a_run_that_ends_well_says_nothing_more(run: Run, tmp_path: Path, options: Any) -> None:
    core = tmp_path / "core"
    done = run(*options, "--core", core, argument="0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
    assert not core.exists()


def test_a_core_file_of_a_trap_shows_gdb_the_faulting_instruction(run: Run, tmp_path: Path) -> None:
    core = tmp_path / "core"
    report = json.loads(run("--json", "--core", core).stderr.splitlines()[-1])
    assert report["core"] == str(core)
    library = re.search(r"gdb (\S+) ", run("--core", core).stderr)
    assert library is not None
    debugger = shutil.which("gdb") or pytest.skip("gdb is not installed")
    shown = subprocess.run(
        [debugger, "-q", "-nx", "-batch", library[1], core]
        + ["-ex", "print/x $_siginfo._sifields._sigfault.si_addr", "-ex", "print/x $rip"]
        + ["-ex", "info symbol wasmtime_func_call", "-ex", "x/i $rip"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout
    assert "terminated with signal SIGSEGV" in shown
    assert f"{report['exception']['registers']['rip']:#x}" in shown
    assert "wasmtime_func_call in section .text" in shown


def test_a_core_file_that_cannot_be_written_hides_no_trap(run: Run, tmp_path: Path) -> None:
    done = run("--core", tmp_path / "missing" / "core")
    assert done.returncode == 134
    assert "wasm trap: out of bounds memory access" in done.stderr
    assert "cannot write a core file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def killed(machine: str) -> Iterator[tuple[Platform, GuestKilled]]:
    """A platform whose guest died of a store to nowhere."""
    with assemble(machine=machine) as platform:
        code = platform.machine.place_code(bytes.fromhex("c7042510000000 01000000 c3"))
        with pytest.raises(GuestKilled) as caught:
            platform.machine.call(code)  # mov dword ptr [0x10], 1; ret
        yield platform, caught.value


def test_a_kill_is_told_with_its_frames_and_a_core_file(
    killed: tuple[Platform, GuestKilled], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    platform, error = killed
    core = tmp_path / "core"
    Reporter(platform, None, core=core).killed(error)
    output, messages = capsys.readouterr()
    assert output == ""
    assert "guest killed: Exception 0xE(14) at 0x" in messages
    assert error.registers is not None
    assert f"   0  {error.registers.rip:#018x}  " in messages
    assert f"core file: {core}" in messages
    assert core.stat().st_size > 0


def test_a_kill_as_json_has_reason_exception_and_core(
    killed: tuple[Platform, GuestKilled], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    platform, error = killed
    core = tmp_path / "core"
    Reporter(platform, None, as_json=True, core=core).killed(error)
    report = json.loads(capsys.readouterr().err)
    assert (report["kind"], report["reason"]) == ("killed", "Exception 0xE(14)")
    assert report["exception"]["accessed_address"] == 0x10
    assert report["exception"]["access"] == "write"
    assert report["core"] == str(core)
