"""Two WebAssembly threads that wait for each other: where each of them is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import DeadlockError, Platform, assemble
from theseus_kit.cli.backtrace import backtrace_lines
from theseus_kit.values.symbols import BacktraceEntry, FrameKind

WAITING = """
(module
  (import "env" "memory" (memory 1 4 shared))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (func $wait_for (param $word i32)
    (drop (memory.atomic.wait32 (local.get $word) (i32.const 0) (i64.const -1))))
  (func $wake (param $word i32)
    (i32.store (local.get $word) (i32.const 1))
    (drop (memory.atomic.notify (local.get $word) (i32.const 1))))
  (func $second (call $wait_for (i32.const 0)) (call $wake (i32.const 4)))
  (func $first (call $wait_for (i32.const 4)) (call $wake (i32.const 0)))
  (func (export "wasi_thread_start") (param i32 i32) (call $second))
  (func (export "_start") (drop (call $spawn (i32.const 0))) (call $first)))"""


@pytest.fixture
def platform(machine: str) -> Iterator[Platform]:
    with assemble(machine=machine) as assembled:
        yield assembled


@pytest.fixture
def stuck(platform: Platform) -> DeadlockError:
    """The error of a run in which both threads wait."""
    runtime, wasmtime = platform.boot(), platform.wasmtime
    engine = runtime.engine_with({"shared_memory": True, "wasm_threads": True})
    module, linker = wasmtime.Module(engine, WAITING), wasmtime.Linker(engine)
    runtime.wasi_threads(module, linker, lambda: wasmtime.Store(engine))
    store = wasmtime.Store(engine)
    exports = linker.instantiate(store, module).exports(store)
    with pytest.raises(DeadlockError) as caught:
        exports["_start"](store)
    return caught.value


def wasm_functions(names: Sequence[str]) -> list[str]:
    """Of the functions of a trace, those that the module has names for."""
    return [name.rpartition("::")[2] for name in names if "::function[" in name]


def names_of(trace: Sequence[BacktraceEntry]) -> list[str]:
    return [symbol.display_name for entry in trace for symbol in entry.symbols]


def test_each_threads_trace_goes_from_the_wait_through_webassembly_to_python(
    stuck: DeadlockError,
) -> None:
    main = stuck.stuck[0]
    (other,) = (task for task in stuck.stuck if task.name == "wasi thread 1")

    for task, function in ((main, "first"), (other, "second")):
        names = names_of(task.backtrace)
        assert wasm_functions(names)[:2] == ["wait_for", function]
        assert any("memory_atomic_wait32" in name for name in names)
        assert "wasmtime_func_call" in names
        assert task.backtrace[-1].frame.kind is FrameKind.TRANSITION
        assert task.backtrace[-1].frame.end_reason is None


def test_a_waiting_task_is_asked_for_its_trace(platform: Platform) -> None:
    wasmtime = platform.wasmtime
    waiting = (
        '(module (import "" "f" (func $f)) (func $waits call $f) (export "run" (func $waits)))'
    )

    def run() -> None:
        store = wasmtime.Store()
        module = wasmtime.Module(store.engine, waiting)
        wait = wasmtime.Func(store, wasmtime.FuncType([], []), platform.tasks.yield_)
        wasmtime.Instance(store, module, [wait]).exports(store)["run"](store)

    task = platform.tasks.start(run, name="waits")
    while not wasm_functions(names_of(platform.backtrace(task))):
        platform.tasks.yield_()

    assert wasm_functions(names_of(platform.backtrace(task)))[0] == "waits"
    platform.tasks.join(task)
    assert platform.backtrace(task) == ()


def test_a_call_from_python_is_one_line_of_a_trace(stuck: DeadlockError) -> None:
    lines = backtrace_lines(stuck.stuck[0].backtrace)

    assert [line for line in lines if "call from Python" in line] == lines[-1:]


def test_the_command_line_shows_all_tasks_of_a_deadlock(machine: str, tmp_path: Path) -> None:
    module = tmp_path / "waiting.wat"
    module.write_text(WAITING)

    def run(*options: str) -> str:
        command = [
            *(sys.executable, "-m", "theseus_kit.cli", "assemble", "--machine", machine),
            *("--quiet", "--no-cache", "--config", "shared_memory=true", *options, str(module)),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=dict(os.environ), timeout=120
        )
        assert done.returncode == 134
        return done.stderr

    first, _, second = run().partition("\ntask 2 'wasi thread 1' waits for futex at 0x")
    assert "\ntask 1 'main' waits for futex at 0x" in first
    assert "::first" in first
    assert "::second" in second
    report: dict[str, Any] = json.loads(run("--json").splitlines()[-1])
    assert [(task["id"], task["name"]) for task in report["tasks"]] == [
        (1, "main"),
        (2, "wasi thread 1"),
    ]
    for task in report["tasks"]:
        symbols = [symbol["name"] or "" for frame in task["frames"] for symbol in frame["symbols"]]
        assert any("wait_for" in name for name in symbols)
