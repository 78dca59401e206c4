"""``theseus-kit inject --sweep`` from the outside: real runs of the real library, made to fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GROW = """
(module (memory 1 4)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
"""


def inject(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "theseus_kit.cli", "inject", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    file = tmp_path / "grow.wat"
    file.write_text(GROW)
    return file


def swept(*words: str | Path) -> tuple[dict[str, Any], int]:
    done = inject("--sweep", "--json", *words)
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode


def test_each_fault_of_a_module_s_run_is_classified(
    machine: str, module: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.md"
    found, status = swept(
        *("--machine", machine, "--calls", "syscall.mprotect,hook.memory_map,c.sigaction"),
        *("--per-phase", "2", "--output", page, "--invoke", "grow", module, "1"),
    )
    results = {(r["call"], r["phase"]): r for r in found["results"]}
    # Loading is the platform's: its own error says so.
    assert results["hook.memory_map", "(platform)"]["verdict"] == "clean error"
    # Wasmtime gives up where it cannot handle traps.
    signals = next(r for (call, _), r in results.items() if call == "c.sigaction")
    assert signals["verdict"] == "aborted"
    assert "unable to install signal handler" in signals["detail"]
    assert any("wasmtime::engine::Engine" in frame for frame in signals["backtrace"])
    # A memory that cannot be made is an error of the API; one that cannot grow answers -1.
    verdicts = {r["verdict"] for r in found["results"] if r["call"] == "syscall.mprotect"}
    assert "clean error" in verdicts
    grown = [r for r in found["results"] if r["verdict"] == "other result"]
    assert [r["detail"] for r in grown] == ["it printed '-1' instead of '1'"]
    assert status == 1
    assert found["totals"]["aborted"] >= 1
    text = page.read_text()
    assert signals["command"] in text
    assert "| `c.sigaction` | EINVAL |" in text


def test_a_fault_can_be_done_again_by_its_command(module: Path) -> None:
    found, _ = swept("--calls", "c.sigaction", "--invoke", "grow", module, "1")
    words = found["results"][0]["command"].split()
    assert words[0] == "theseus-kit"
    done = subprocess.run(
        [sys.executable, "-m", "theseus_kit.cli", *words[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 134
    assert "unable to install signal handler" in done.stderr


def test_a_program_that_imports_wasmtime_is_swept_too(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import wasmtime\n"
        "store = wasmtime.Store()\n"
        "wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, None)))\n"
        "print('made')\n"
    )
    found, status = swept("--machine", "native", "--calls", "syscall.mmap", program)
    results = found["results"]
    assert [r["verdict"] for r in results if r["phase"] == "wasmtime_memory_new"] == ["clean error"]
    assert status == (1 if any(r["verdict"] == "aborted" for r in results) else 0)


def test_a_run_that_does_not_end_is_told_with_where_it_is(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import time, wasmtime\n"
        "store = wasmtime.Store()\n"
        "try:\n"
        "    wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, None)))\n"
        "except wasmtime.WasmtimeError:\n"
        "    kind = wasmtime.FuncType([], [])\n"
        "    wasmtime.Func(store, kind, lambda: time.sleep(60))(store)\n"
    )
    found, _ = swept(
        *("--machine", "native", "--calls", "syscall.mmap", "--timeout", "6", program),
    )
    (hung,) = [r for r in found["results"] if r["verdict"] == "hung"]
    assert hung["phase"] == "wasmtime_memory_new"
    assert "wasmtime_func_call" in hung["backtrace"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.wat"], "inject needs --sweep"),
        (["--sweep", "nowhere.wat"], "nowhere.wat: no such file"),
        (["--sweep", "--machine", "natvie", "MODULE"], "no machine is named 'natvie'"),
        (["--sweep", "--plugins", "region", "MODULE"], "no plugin of the assembly provides"),
        (["--sweep", "--errno", "ENOPE", "--invoke", "grow", "MODULE", "1"], "no error number"),
        (["--sweep", "--calls", "hok.x", "--invoke", "grow", "MODULE", "1"], "no kind of call"),
        (["--sweep", "--invoke", "shrink", "MODULE"], "does not run without a fault"),
        (["--sweep", "--output", "/nowhere/x.md", "MODULE"], "/nowhere/x.md: cannot be written"),
    ],
)
def test_a_user_s_mistake_is_one_line(words: list[str], message: str, module: Path) -> None:
    done = inject(*[str(module) if word == "MODULE" else word for word in words])
    assert done.returncode == 2
    assert message in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
