"""Instances that come and go leave nothing behind, and memory that runs out is Wasmtime's error."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import Platform

WASM = """
(module
  (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
"""
INSTANCES = 1500
KEPT = 512 << 10
"""Bytes that so many may leave: a third of a kilobyte for each would be too many."""


def resident() -> int:
    """Bytes of this process in memory (proc_pid_status(5), RssAnon: what only it has)."""
    text = Path("/proc/self/status").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) << 10


class Churn:
    """Makes a store with an instance, uses it, and drops it."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.engine = api.Engine()
        self.module = api.Module(self.engine, WASM)

    def __call__(self, count: int) -> None:
        for _ in range(count):
            store = self.api.Store(self.engine)
            exports = self.api.Instance(store, self.module, []).exports(store)
            for _ in range(5):
                assert exports["add"](store, 1, 2) == 3
                assert exports["memory"].write(store, b"written", 0) == 7


def test_instances_made_and_dropped_leave_resident_memory_flat(platform: Platform) -> None:
    churn = Churn(platform.wasmtime)
    churn(300)
    gc.collect()
    before = resident()
    churn(INSTANCES)
    gc.collect()
    assert resident() - before < KEPT


def test_the_code_of_prepared_calls_is_used_again(platform: Platform) -> None:
    churn = Churn(platform.wasmtime)
    churn(20)
    place = platform.machine.place_code
    first = place(b"\xc3")  # ret
    step = place(b"\xc3") - first
    churn(100)
    assert place(b"\xc3") - first <= 4 * step


def test_address_space_that_runs_out_is_wasmtimes_own_error(platform: Platform) -> None:
    api: Any = platform.wasmtime
    store = api.Store()
    kind = api.MemoryType(api.Limits(1, None))
    memories: list[Any] = []

    def make_for_ever() -> None:
        while True:
            memories.append(api.Memory(store, kind))

    with pytest.raises(api.WasmtimeError, match="failed to reserve") as caught:
        make_for_ever()
    assert "Cannot allocate memory" in str(caught.value.__cause__)
    assert len(memories) > 100
    assert memories[-1].write(store, b"still there", 0) == 11
    store.close()
    memories.clear()
    assert api.Memory(api.Store(), kind) is not None
