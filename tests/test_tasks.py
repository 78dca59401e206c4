"""Wasmtime with threads: WASI's worker threads, compiling in parallel, wasi-threads, stores side by
side in tasks of Python's."""

import subprocess
import sys

import pytest

from theseus_kit import DeadlockError, assemble

HELLO = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello from wasi\\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 16))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""

THREADS = """(module
  (import "env" "memory" (memory 1 4 shared))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (func (export "wasi_thread_start") (param $thread i32) (param $n i32)
    (local $i i32)
    (if (i32.eq (local.get $n) (i32.const 99)) (then unreachable))
    (loop $again
      (drop (i32.atomic.rmw.add (i32.const 0) (local.get $n)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))
    (drop (i32.atomic.rmw.add (i32.const 4) (i32.const 1)))
    (drop (memory.atomic.notify (i32.const 4) (i32.const 1))))
  (func (export "run") (param $count i32) (result i32)
    (local $i i32)
    (loop $start
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (if (i32.lt_s (call $spawn (local.get $i)) (i32.const 1)) (then unreachable))
      (br_if $start (i32.lt_u (local.get $i) (local.get $count))))
    (block $done
      (loop $wait
        (local.set $i (i32.atomic.load (i32.const 4)))
        (br_if $done (i32.eq (local.get $i) (local.get $count)))
        (drop (memory.atomic.wait32 (i32.const 4) (local.get $i) (i64.const -1)))
        (br $wait)))
    (i32.atomic.load (i32.const 0)))
  (func (export "spawn") (param i32) (result i32) (call $spawn (local.get 0)))
  (func (export "wait") (param i64) (result i32)
    (memory.atomic.wait32 (i32.const 8) (i32.const 0) (local.get 0))))"""

BETWEEN = """(module
  (import "" "host" (func $host (param i32) (result i32)))
  (func (export "f") (param i32) (result i32)
    (i32.add (call $host (local.get 0)) (call $host (i32.add (local.get 0) (i32.const 1))))))"""


@pytest.fixture
def platform(machine):
    with assemble(machine=machine) as assembled:
        yield assembled


@pytest.fixture
def threads(platform):
    """A platform, the threads' store and the exports of the module that has threads."""
    runtime, wasmtime = platform.boot(), platform.wasmtime
    engine = runtime.engine_with({"shared_memory": True, "wasm_threads": True})
    module, linker = wasmtime.Module(engine, THREADS), wasmtime.Linker(engine)
    runtime.wasi_threads(module, linker, lambda: wasmtime.Store(engine))
    store = wasmtime.Store(engine)
    return platform, store, linker.instantiate(store, module).exports(store)


def test_hello_world_is_written_by_a_worker_thread_to_the_inherited_output(machine):
    program = f"""
from theseus_kit import assemble
with assemble(machine={machine!r}) as platform:
    wasmtime = platform.wasmtime
    engine = wasmtime.Engine()
    store, linker, wasi = wasmtime.Store(engine), wasmtime.Linker(engine), wasmtime.WasiConfig()
    linker.define_wasi()
    wasi.inherit_stdout()
    store.set_wasi(wasi)
    linker.instantiate(store, wasmtime.Module(engine, {HELLO!r})).exports(store)["_start"](store)
    print(len(platform.tasks) > 1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout == b"hello from wasi\nTrue\n"


def test_compiling_in_parallel_takes_tasks_and_gives_the_same_code(platform):
    wasmtime = platform.wasmtime

    def compiled(parallel):
        config = wasmtime.Config()
        config.parallel_compilation = parallel
        return wasmtime.Module(wasmtime.Engine(config), THREADS).serialize()

    alone = compiled(False)
    assert len(platform.tasks) == 1

    assert compiled(True) == alone
    assert len(platform.tasks) > 1


def test_threads_of_a_module_share_its_memory_and_wake_who_waits(threads):
    platform, store, exports = threads

    assert exports["run"](store, 6) == 1000 * (1 + 2 + 3 + 4 + 5 + 6)
    assert platform.tasks.switches > 6


def test_a_trap_of_a_thread_ends_the_call_of_the_main_task(threads):
    platform, store, exports = threads

    def spawn_and_wait() -> None:  # the thread may run in either of the two
        exports["spawn"](store, 99)
        exports["wait"](store, -1)

    with pytest.raises(platform.wasmtime.Trap, match="unreachable"):
        spawn_and_wait()


def test_waiting_for_what_nobody_notifies_is_a_deadlock_or_a_time_out(threads):
    _, store, exports = threads

    assert exports["wait"](store, 1_000_000) == 2
    with pytest.raises(DeadlockError, match="task 1 'main' waits for futex at 0x"):
        exports["wait"](store, -1)


def test_a_program_that_imports_thread_spawn_is_given_threads(platform, tmp_path):
    from theseus_kit.values.paths import Mount

    (tmp_path / "threads.wat").write_text(THREADS)
    platform.hooks.path_mount(mount=Mount(tmp_path, "/program"))

    program = platform.boot().program("/program/threads.wat", settings={"shared_memory": True})

    assert program.call("run", 4) == 1000 * (1 + 2 + 3 + 4)


def test_stores_of_several_tasks_run_side_by_side(platform):
    """Each waits in its host function, with arguments and results of its own on the way."""
    wasmtime, tasks = platform.wasmtime, platform.tasks
    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, BETWEEN)
    i32 = wasmtime.ValType.i32()

    def working(number):
        def host(value):
            tasks.yield_()
            if number == 3:
                raise KeyError(number)
            return value * number

        def run():
            store = wasmtime.Store(engine)
            function = wasmtime.Func(store, wasmtime.FuncType([i32], [i32]), host)
            exports = wasmtime.Instance(store, module, [function]).exports(store)
            results = []
            for value in range(20):
                try:
                    results.append(exports["f"](store, value))
                except KeyError as error:
                    results.append(error.args[0])
            return results

        return run

    started = {number: tasks.start(working(number)) for number in range(1, 6)}

    for number, task in started.items():
        expected = [3 if number == 3 else (2 * value + 1) * number for value in range(20)]
        assert tasks.join(task) == expected


def test_a_platform_closes_with_worker_threads_that_wait(machine):
    with assemble(machine=machine) as platform:
        wasmtime = platform.wasmtime
        engine = wasmtime.Engine()
        store, linker, wasi = wasmtime.Store(engine), wasmtime.Linker(engine), wasmtime.WasiConfig()
        linker.define_wasi()
        written = []
        wasi.stdout_custom = lambda data: written.append(bytes(data)) or len(data)
        store.set_wasi(wasi)
        module = wasmtime.Module(engine, HELLO)
        linker.instantiate(store, module).exports(store)["_start"](store)
        workers = [task for task in platform.tasks if task is not platform.tasks.main]

    assert b"".join(written) == b"hello from wasi\n"
    assert all(task.is_ended for task in workers)
