"""Stopping guest code that would run for ever: from another thread, by a signal, by Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import GuestInterrupted, Platform, assemble

ENDLESS = """
(module
  (func (export "_start") (loop (br 0)))
  (func (export "answer") (result i32) i32.const 42))
"""


def endless(platform: Platform) -> tuple[Any, Any]:
    api = platform.wasmtime
    store = api.Store(platform.boot().engine)
    module = api.Module(store.engine, ENDLESS)
    return store, api.Instance(store, module, []).exports(store)


def test_another_thread_interrupts_a_runaway_guest(machine: str) -> None:
    with assemble(machine=machine) as platform:
        store, exports = endless(platform)

        def interrupting() -> None:
            while not platform.tasks.interrupt():  # nothing runs yet
                time.sleep(0.01)

        thread = threading.Thread(target=interrupting)
        thread.start()
        with pytest.raises(GuestInterrupted):
            exports["_start"](store)
        thread.join()


def test_an_interrupt_while_nothing_runs_is_forgotten(machine: str) -> None:
    with assemble(machine=machine) as platform:
        store, exports = endless(platform)
        platform.interrupt()
        assert exports["answer"](store) == 42


def test_a_python_signal_handler_runs_while_guest_code_loops_and_may_end_it(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    beats, is_raised = 0, False

    def beat(number: int, frame: object) -> None:
        nonlocal beats, is_raised
        beats += 1
        if beats >= 3 and not is_raised:
            is_raised = True
            raise Enough

    def drop(dropped: Any) -> None:
        """What is raised in a finaliser is Python's to drop: once more, then."""
        nonlocal is_raised
        assert dropped.exc_type is Enough
        is_raised = False

    monkeypatch.setattr(sys, "unraisablehook", drop)
    with assemble(machine=machine) as platform:
        store, exports = endless(platform)
        before = signal.signal(signal.SIGALRM, beat)
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        try:
            with pytest.raises(Enough):
                exports["_start"](store)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert beats >= 3


def test_control_c_ends_the_command_line_with_130(machine: str, tmp_path: Path) -> None:
    module = tmp_path / "endless.wat"
    module.write_text(ENDLESS)
    command = [sys.executable, "-m", "theseus_kit.cli", "assemble", "--machine", machine]
    with subprocess.Popen(
        [*command, "--no-cache", str(module)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        shown = ""
        while "machine" not in shown:  # the assembly is shown: it will run now
            line = process.stderr.readline()
            assert line, shown
            shown += line
        process.send_signal(signal.SIGINT)  # in the boot or in the loop: both are right
        errors = process.stderr.read()
        assert process.wait() == 130, errors
    assert "Traceback" not in errors


DROPPED = """
import _thread
from theseus_kit import cli
from theseus_kit.cli import commands

class Finalised:
    def __del__(self):
        _thread.interrupt_main()

def run():
    Finalised()
    while True:
        pass

commands.run = run
cli.main()
"""


def test_control_c_that_strikes_in_a_finaliser_is_not_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DROPPED], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (130, "theseus-kit: interrupted\n")
