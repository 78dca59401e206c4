"""Deterministic platforms: two runs make the same calls in the same order."""

import subprocess
import sys

import pytest

from theseus_kit import Plugin, PluginDescription, assemble, hookimpl
from theseus_kit.assembly import BUNDLED
from theseus_kit.clock import EPOCH_NS, STEP_NS, VirtualClock, seeded_bytes
from theseus_kit.task import WaitQueue
from theseus_kit.values.linkage import CFunction, SystemCall


class Recorder(Plugin):
    """Writes down every C function and system call: task, name, arguments, result."""

    description = PluginDescription(name="recorder", version="1")

    def __init__(self, services, options):
        super().__init__(services, options)
        self.calls = []

    def _recording(self, function):
        def body(*arguments):
            entry = [self.services.tasks.current.id, function.name, *arguments]
            self.calls.append(entry)
            result = function.body(*arguments)
            entry.append(result)
            return result

        return function._replace(body=body, machine_code=None)

    @hookimpl(wrapper=True)
    def c_symbols(self, plugin):
        offered = yield
        return [
            self._recording(symbol) if isinstance(symbol, CFunction) else symbol
            for symbol in offered
        ]

    @hookimpl(wrapper=True)
    def system_calls(self, plugin):
        offered = yield
        return [SystemCall(call.number, self._recording(call.function)) for call in offered]


HELLO = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello\\n")
  (func (export "random") (result i64)
    (drop (call $random (i32.const 64) (i32.const 8)))
    (i64.load (i32.const 64)))
  (func (export "time") (result i64)
    (drop (call $time (i32.const 0) (i64.const 1) (i32.const 64)))
    (i64.load (i32.const 64)))
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


def recorded_run(seed):
    """Compile in parallel and run a WASI program; return the calls and what the program saw."""
    with assemble([*BUNDLED, Recorder], deterministic=seed) as platform:
        wasmtime = platform.wasmtime
        config = wasmtime.Config()
        config.parallel_compilation = True
        engine = wasmtime.Engine(config)
        store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        surroundings = wasmtime.WasiConfig()
        surroundings.inherit_stdout()
        store.set_wasi(surroundings)
        exports = linker.instantiate(store, wasmtime.Module(engine, HELLO)).exports(store)
        exports["_start"](store)
        seen = [exports[name](store) for name in ("random", "time", "random")]
        assert len(platform.tasks) > 2  # it had threads: there was something to schedule
        return platform.plugin("recorder").calls, seen


PROGRAM = f"""
import importlib.util, hashlib, sys
spec = importlib.util.spec_from_file_location("recorded", {__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
calls, seen = module.recorded_run(int(sys.argv[1]))
print(len(calls), hashlib.sha256(repr(calls).encode()).hexdigest(), seen)
"""


def test_two_runs_of_wasmtime_with_threads_make_the_same_calls():
    def run(seed, hashes):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(seed)],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": hashes},
        )
        return done.stdout.decode().splitlines()

    first, second, other = run(1, "1"), run(1, "2"), run(2, "1")

    assert first == second
    assert first[0] == "hello"
    assert int(first[1].split()[0]) > 1000
    assert first[1].split("[")[1] != other[1].split("[")[1]


def test_reading_the_virtual_clock_moves_it_by_a_step():
    clock = VirtualClock()

    first, second = clock.monotonic_ns(), clock.monotonic_ns()

    assert second - first == STEP_NS
    assert clock.realtime_ns() - EPOCH_NS == 3 * STEP_NS
    clock.advance_to(10**12)
    clock.advance_to(5)
    assert clock.monotonic_ns() == 10**12 + STEP_NS


def test_seeded_bytes_repeat():
    first, second = seeded_bytes(3), seeded_bytes(3)

    assert [first(5), first(9)] == [second(5), second(9)]
    assert seeded_bytes(4)(16) != seeded_bytes(3)(16)


def test_waiting_takes_no_time_but_moves_the_clock():
    with assemble(deterministic=0) as platform:
        before = platform.clock.monotonic_ns()
        woken = []

        def sleeping(hours):
            platform.tasks.sleep(hours * 3600 * 10**9)
            woken.append(hours)

        for hours in (5, 2, 9):
            platform.tasks.start(lambda hours=hours: sleeping(hours))
        platform.tasks.sleep(6 * 3600 * 10**9)

        assert woken == [2, 5]
        assert 6 * 3600 <= (platform.clock.monotonic_ns() - before) / 10**9 < 6 * 3600 + 1
        assert platform.tasks.wait(WaitQueue("nothing"), timeout_ns=10**15) is False


@pytest.mark.parametrize("ready_at_once", [True, False])
def test_input_from_outside_goes_before_time_where_it_is_there(ready_at_once):
    import os
    import select

    reading, writing = os.pipe()
    if ready_at_once:
        os.write(writing, b"x")
    with assemble(deterministic=0) as platform:
        found = platform.tasks.wait_for_descriptors([(reading, select.POLLIN)], 10**15)
    os.close(reading)
    os.close(writing)

    assert found == ({reading: select.POLLIN} if ready_at_once else {})
