"""Hundreds of thousands of traps and calls, with faulthandler on, leave memory as it was.

The gate runs a thousandth of them. All of them, with what they took printed as they go::

    THESEUS_KIT_ENDURANCE=1 pytest tests/test_endurance.py

The variable is the share: 0.1 runs a tenth.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import Platform

SHARE_VARIABLE = "THESEUS_KIT_ENDURANCE"
SHARE = float(os.environ.get(SHARE_VARIABLE, "0.001"))
pytestmark = pytest.mark.timeout(0 if SHARE_VARIABLE in os.environ else 300)
TRAPS, CALLS, HOST_CALLS = 200_000, 1_000_000, 100_000
KEPT = 512 << 10
"""Bytes that a run may leave, however long: Python's own pools come and go by that much."""

STACK = 64 << 10
"""Bytes of stack for wasm: what exhausts it shall not take longer than the trap."""

WASM = """
(module
  (import "" "host" (func $host (param i32) (result i32)))
  (type $void (func))
  (memory 1)
  (table 2 funcref)
  (func $wrong (param i32))
  (elem (i32.const 1) $wrong)
  (func (export "unreachable") unreachable)
  (func (export "division by zero") (drop (i32.div_s (i32.const 1) (i32.const 0))))
  (func (export "division overflow")
    (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
  (func (export "not a number") (drop (i32.trunc_f32_u (f32.const nan))))
  (func (export "load out of bounds") (drop (i32.load (i32.const 65533))))
  (func (export "store out of bounds") (i64.store (i32.const 0xfffffff8) (i64.const 1)))
  (func (export "call of null") (call_indirect (type $void) (i32.const 0)))
  (func (export "call of another type") (call_indirect (type $void) (i32.const 1)))
  (func (export "call outside the table") (call_indirect (type $void) (i32.const 2)))
  (func $deeper (export "stack exhausted") (call $deeper))
  (func (export "increment") (param i32) (result i32)
    (i32.add (local.get 0) (i32.const 1)))
  (func (export "call host") (param i32) (result i32) (call $host (local.get 0))))
"""
KINDS = {
    "unreachable": "UNREACHABLE",
    "division by zero": "INTEGER_DIVISION_BY_ZERO",
    "division overflow": "INTEGER_OVERFLOW",
    "not a number": "BAD_CONVERSION_TO_INTEGER",
    "load out of bounds": "MEMORY_OUT_OF_BOUNDS",
    "store out of bounds": "MEMORY_OUT_OF_BOUNDS",
    "call of null": "INDIRECT_CALL_TO_NULL",
    "call of another type": "BAD_SIGNATURE",
    "call outside the table": "TABLE_OUT_OF_BOUNDS",
    "stack exhausted": "STACK_OVERFLOW",
}


class Instance:
    """The module above, with its functions by both ways to call them."""

    def __init__(self, platform: Platform) -> None:
        runtime = platform.boot()
        self.api = api = runtime.wasmtime
        config = api.Config()
        config.max_wasm_stack = STACK
        engine = api.Engine(config)
        self.store = api.Store(engine)
        kind = api.FuncType([api.ValType.i32()], [api.ValType.i32()])
        host = api.Func(self.store, kind, lambda number: number + 1)
        instance = api.Instance(self.store, api.Module(engine, WASM), [host])
        self._exports = instance.exports(self.store)
        self._runtime = runtime

    def ways(self, name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
        function, store = self._exports[name], self.store
        ordinary = lambda *arguments: function(store, *arguments)  # noqa: E731
        return ordinary, self._runtime.prepare(store, function)


@pytest.fixture(scope="module")
def instance(platform: Platform) -> Instance:
    return Instance(platform)


@pytest.fixture(autouse=True)
def faulthandler_on() -> Iterator[None]:
    """A handler of the process's own behind the machine's, whoever comes first."""
    was_on = faulthandler.is_enabled()
    faulthandler.enable()
    yield
    if not was_on:
        faulthandler.disable()


def resident() -> int:
    """Bytes of this process in memory (proc_pid_status(5), RssAnon: what only it has)."""
    text = Path("/proc/self/status").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) << 10


@pytest.fixture
def endure(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[[int, Callable[[int], None]], None]:
    """Run ``work(count)`` for a share of the whole count; hold its memory to what it was."""

    def run(whole: int, work: Callable[[int], None]) -> None:
        count = max(int(whole * SHARE), 100)
        work(max(count // 10, 100))
        gc.collect()
        before, start = resident(), time.perf_counter()
        work(count)
        seconds = time.perf_counter() - start
        gc.collect()
        after = resident()
        if SHARE_VARIABLE in os.environ:
            with capsys.disabled():
                print(
                    f"\n{request.node.name}: {count:,} in {seconds:.1f} s, "
                    f"{seconds / count * 1e6:.1f} µs each, "
                    f"RSS {before / 2**20:.1f} -> {after / 2**20:.1f} MiB"
                )
        assert after - before < KEPT

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_traps_of_every_kind_leave_memory_as_it_was(
    instance: Instance, endure: Callable[..., None], kind: str
) -> None:
    trap_type = instance.api.Trap
    code = instance.api.TrapCode[KINDS[kind]]

    def trap(count: int) -> None:
        for function in instance.ways(kind):
            caught = None
            for _ in range(count // 2):
                try:
                    function()
                except trap_type as trap:
                    caught = trap
                else:
                    pytest.fail("the call did not trap")
            assert caught is not None
            assert caught.trap_code == code

    endure(TRAPS, trap)


@pytest.mark.parametrize(("name", "whole"), [("increment", CALLS), ("call host", HOST_CALLS)])
def test_calls_leave_memory_as_it_was(
    instance: Instance, endure: Callable[..., None], name: str, whole: int
) -> None:
    def call(count: int) -> None:
        for function in instance.ways(name):
            for number in range(count // 2):
                assert function(number) == number + 1

    endure(whole, call)
