"""Platforms with a thread of their own, at their end, in forked children, at the process's end."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest

from theseus_kit import Platform, assemble
from theseus_kit.runtime.guest_function import NotNowError
from theseus_kit.runtime.own_thread import NAME


@pytest.fixture
def own(machine: str) -> Iterator[Platform]:
    """A platform that nobody else uses."""
    with assemble(machine=machine, own_thread=True) as platform:
        yield platform


def test_a_closed_platform_ends_its_thread_and_refuses_calls(machine: str) -> None:
    before = {thread for thread in threading.enumerate() if thread.name == NAME}
    platform = assemble(machine=machine, own_thread=True)
    wasmtime = platform.wasmtime
    (thread,) = {t for t in threading.enumerate() if t.name == NAME} - before
    closing = threading.Thread(target=platform.close)
    closing.start()
    closing.join()
    thread.join()
    assert platform.machine.is_closed
    platform.close()
    with pytest.raises(Exception, match="its platform is closed"):
        wasmtime.wat2wasm("(module)")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_a_thread_again(own: Platform) -> None:
    engine = own.wasmtime.Engine()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            length = len(own.wasmtime.wat2wasm("(module)"))
            own.close()
            status = 0 if length == 8 and own.machine.is_closed else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert own.wasmtime.Store(engine)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_without_the_tasks_of_its_parent_is_refused(own: Platform) -> None:
    wasmtime = own.wasmtime
    assert own.own_thread is not None

    def wait() -> None:
        own.tasks.start(lambda: own.tasks.sleep(10**15), "waits")
        own.tasks.yield_()

    own.own_thread.run(wait)
    child = os.fork()
    if child == 0:
        status = 99
        try:
            wasmtime.wat2wasm("(module)")
        except NotNowError:
            own.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(wasmtime.wat2wasm("(module)")) == 8


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise KeyError", "p.close()"])
def test_a_process_ends_though_nobody_closes_the_platform(machine: str, ending: str) -> None:
    program = """
        import sys
        from theseus_kit import assemble
        p = assemble(machine=sys.argv[1], own_thread=True)
        w = p.wasmtime
        s = w.Store()
        m = w.Module(s.engine, '(module (func (export "f") (result i32) i32.const 42))')
        print(w.Instance(s, m, []).exports(s)["f"](s), flush=True)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program) + ending, machine],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "42\n"
    assert done.returncode == {"sys.exit(3)": 3, "raise KeyError": 1}.get(ending, 0)
    assert ("KeyError" in done.stderr) == bool(done.stderr)


def test_by_default_there_is_no_such_thread(machine: str) -> None:
    with assemble(machine=machine) as platform:
        assert platform.own_thread is None
