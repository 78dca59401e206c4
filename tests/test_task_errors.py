"""Errors that reach the main task inside of guest code: Python stays healthy.

The guest's frames are dropped wherever they stand, in Wasmtime's own code too. What they worked on
is lost, and the platform with it; the process, the collector, closing and other platforms must not
notice.
"""

import subprocess
import sys

import pytest

from theseus_kit import GuestKilled, assemble

PROGRAM = """
import faulthandler, gc, sys, warnings
faulthandler.enable()
warnings.simplefilter("error")
from theseus_kit import GuestInterrupted, GuestKilled, assemble
from theseus_kit.values.exceptions import Panicked

WAITING = '''(module
  (import "" "host" (func $host))
  (memory (export "memory") 1 1 shared)
  (func (export "wait") (result i32)
    (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))
  (func (export "call") (call $host))
  (func (export "answer") (result i32) i32.const 42))'''

machine, kind = sys.argv[1:]
ERRORS = {
    "python": lambda: ZeroDivisionError("of a task"),
    "keyboard": KeyboardInterrupt,
    "killed": lambda: GuestKilled(Panicked("enough")),
    "interrupted": GuestInterrupted,
}
expected = type(ERRORS[kind]())


def instance(wasmtime, engine, tasks):
    store = wasmtime.Store(engine)
    nothing = wasmtime.FuncType([], [])
    host = wasmtime.Func(store, nothing, lambda: tasks.sleep(10**12))
    module = wasmtime.Module(engine, WAITING)
    return store, wasmtime.Instance(store, module, [host]).exports(store)


with assemble(machine=machine) as other:
    engine = other.boot().engine_with({"shared_memory": True, "wasm_threads": True})
    kept, answers = instance(other.wasmtime, engine, other.tasks)
    for name in ("wait", "call"):
        with assemble(machine=machine) as platform:
            tasks = platform.tasks
            engine = platform.boot().engine_with({"shared_memory": True, "wasm_threads": True})
            store, exports = instance(platform.wasmtime, engine, tasks)

            def failing():
                tasks.sleep(100_000)
                raise ERRORS[kind]()

            tasks.start(failing)
            try:
                exports[name](store)
            except expected:
                pass
            else:
                raise SystemExit("nothing was raised")
            assert tasks.is_broken and tasks.current is tasks.main
            del store, exports
            gc.collect()
            tasks.sleep(1_000_000)
        gc.collect()
        assert answers["answer"](kept) == 42
gc.collect()
print("healthy")
"""


@pytest.mark.parametrize("kind", ["python", "keyboard", "killed", "interrupted"])
def test_python_stays_healthy_where_frames_of_the_main_task_were_dropped(machine, kind):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", PROGRAM, machine, kind],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "healthy\n", "")


WAIT = """(module
  (memory (export "memory") 1 1 shared)
  (func (export "wait") (param i64) (result i32)
    (memory.atomic.wait32 (i32.const 8) (i32.const 0) (local.get 0)))
  (func (export "notify") (result i32)
    (memory.atomic.notify (i32.const 8) (i32.const 1)))
  (func (export "answer") (result i32) i32.const 42))"""


def test_a_task_whose_frames_were_dropped_in_an_atomic_wait_is_told_at_its_next_one(machine):
    """Wasmtime's record of that wait stays where it was: it takes one notification, and its task
    cannot wait so again. Wasmtime says so itself; other tasks and other calls go on."""
    second = 10**9

    def failing():
        platform.tasks.sleep(100_000)
        raise ZeroDivisionError

    with assemble(machine=machine) as platform:
        wasmtime, tasks = platform.wasmtime, platform.tasks
        engine = platform.boot().engine_with({"shared_memory": True, "wasm_threads": True})
        module = wasmtime.Module(engine, WAIT)

        def instance():
            store = wasmtime.Store(engine)
            return store, wasmtime.Instance(store, module, []).exports(store)

        store, exports = instance()
        tasks.start(failing)
        with pytest.raises(ZeroDivisionError):
            exports["wait"](store, -1)
        assert tasks.is_broken

        assert exports["notify"](store) == 1
        assert exports["notify"](store) == 0
        assert exports["answer"](store) == 42
        other_store, other = instance()
        assert tasks.join(tasks.start(lambda: other["wait"](other_store, second // 1000))) == 2
        with pytest.raises(GuestKilled, match="already borrowed"):
            exports["wait"](store, second)
