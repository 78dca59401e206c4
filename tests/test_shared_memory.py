"""Shared memories: atomics, wait and notify, between tasks here and threads on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import wasmtime as ordinary

from theseus_kit import Platform, assemble

MODULE = """
(module
  (import "host" "memory" (memory 1 1 shared))
  (func (export "wait") (param $expected i32) (param $nanoseconds i64) (result i32)
    (memory.atomic.wait32 (i32.const 64) (local.get $expected) (local.get $nanoseconds)))
  (func (export "notify") (param $count i32) (result i32)
    (memory.atomic.notify (i32.const 64) (local.get $count)))
  (func (export "set") (param $value i32) (i32.atomic.store (i32.const 64) (local.get $value)))
  (func (export "counter") (result i32) (i32.load (i32.const 4)))
  ;; A lock as in "Futexes Are Tricky": 0 free, 1 taken, 2 taken and waited for.
  (func $lock (local $seen i32)
    (local.set $seen (i32.atomic.rmw.cmpxchg (i32.const 0) (i32.const 0) (i32.const 1)))
    (block $taken
      (br_if $taken (i32.eqz (local.get $seen)))
      (loop $again
        (if (i32.or (i32.eq (local.get $seen) (i32.const 2))
                    (i32.atomic.rmw.cmpxchg (i32.const 0) (i32.const 1) (i32.const 2)))
          (then (drop (memory.atomic.wait32 (i32.const 0) (i32.const 2) (i64.const -1)))))
        (local.set $seen (i32.atomic.rmw.cmpxchg (i32.const 0) (i32.const 0) (i32.const 2)))
        (br_if $again (local.get $seen)))))
  (func $unlock
    (if (i32.ne (i32.atomic.rmw.sub (i32.const 0) (i32.const 1)) (i32.const 1))
      (then
        (i32.atomic.store (i32.const 0) (i32.const 0))
        (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))))
  (func (export "count") (param $times i32) (local $value i32) (local $spin i32)
    (loop $next
      (call $lock)
      (local.set $value (i32.load (i32.const 4)))
      (local.set $spin (i32.const 200))  ;; long enough to be caught in the middle
      (loop $hold
        (br_if $hold (local.tee $spin (i32.sub (local.get $spin) (i32.const 1)))))
      (i32.store (i32.const 4) (i32.add (local.get $value) (i32.const 1)))
      (call $unlock)
      (br_if $next (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))))
"""


class Shared:
    """Instances of the module on one memory, each in a store of its own."""

    def __init__(self, api: Any) -> None:
        config = api.Config()
        config.shared_memory = True
        config.wasm_threads = True
        self._api = api
        self._engine = api.Engine(config)
        self._module = api.Module(self._engine, MODULE)
        kind = api.MemoryType(api.Limits(1, 1), shared=True)
        self._memory = _importable(api)(self._engine, kind)

    def instance(self) -> Callable[..., Any]:
        """Return a function that calls an export of a new instance."""
        store = self._api.Store(self._engine)
        linker = self._api.Linker(self._engine)
        linker.define(store, "host", "memory", self._memory)
        exports = linker.instantiate(store, self._module).exports(store)
        return lambda name, *arguments: exports[name](store, *arguments)


def _importable(api: Any) -> Any:
    """``SharedMemory`` as it can be linked: version 50's own takes a pointer to the pointer."""

    class Importable(api.SharedMemory):  # type: ignore[misc]
        def _as_extern(self) -> Any:
            ffi = api._ffi
            union = ffi.wasmtime_extern_union(sharedmemory=self.ptr())
            return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)

    return Importable


@pytest.fixture(scope="module")
def ordered(machine: str) -> Iterator[Platform]:
    """A platform whose tasks switch where they wait or yield, and nowhere else."""
    with assemble(machine=machine, deterministic=1) as platform:
        yield platform


@pytest.fixture(scope="module")
def threaded(machine: str) -> Iterator[Platform]:
    """A platform whose tasks switch at any instruction."""
    with assemble(machine=machine, options={"tasks": {"quantum_ms": "1"}}) as platform:
        yield platform


@pytest.fixture
def here(ordered: Platform) -> Shared:
    return Shared(ordered.wasmtime)


@pytest.mark.parametrize(
    ("expected", "nanoseconds", "result"), [(1, -1, 1), (0, 0, 2), (0, 5_000_000, 2)]
)
def test_a_wait_that_is_not_woken_answers_as_the_hosts(
    here: Shared, expected: int, nanoseconds: int, result: int
) -> None:
    for shared in (here, Shared(ordinary)):
        assert shared.instance()("wait", expected, nanoseconds) == result


def test_a_waiting_task_is_woken_by_another(ordered: Platform, here: Shared) -> None:
    waiter, waker = here.instance(), here.instance()
    task = ordered.tasks.start(partial(waiter, "wait", 0, -1))
    assert waker("notify", 1) == 0  # it has not begun to wait
    ordered.tasks.yield_()
    assert waker("notify", 5) == 1
    assert ordered.tasks.join(task) == 0


def test_as_many_are_woken_as_were_asked_for(ordered: Platform, here: Shared) -> None:
    tasks = [ordered.tasks.start(partial(here.instance(), "wait", 0, -1)) for _ in range(4)]
    waker = here.instance()
    ordered.tasks.yield_()
    assert [waker("notify", count) for count in (1, 2, 9, 9)] == [1, 2, 1, 0]
    assert [ordered.tasks.join(task) for task in tasks] == [0] * 4


def test_a_lock_made_of_wait_and_notify_keeps_tasks_apart(threaded: Platform) -> None:
    workers, times = 4, 3000
    here = Shared(threaded.wasmtime)
    tasks = [threaded.tasks.start(partial(here.instance(), "count", times)) for _ in range(workers)]
    for task in tasks:
        threaded.tasks.join(task)
    there = Shared(ordinary)
    with ThreadPoolExecutor(workers) as pool:
        for call in [there.instance() for _ in range(workers)]:
            pool.submit(call, "count", times)
    assert here.instance()("counter") == there.instance()("counter") == workers * times
    assert threaded.tasks.switches > workers
