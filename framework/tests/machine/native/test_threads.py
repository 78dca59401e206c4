"""Host threads: each with a machine, a machine passed on, two that want the same one, forks."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from theseus_kit.errors import GuestInterrupted, MachineError
from theseus_kit.machine.native import NativeMachine

from ..later import later

ADD = bytes.fromhex("488d0437 c3")  # lea rax, [rdi + rsi]
LOAD = bytes.fromhex("488b07 c3")  # mov rax, [rdi]


def in_thread(function: Callable[[], object]) -> object:
    """Run a function in a thread of its own; return its result or raise its error."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001  (it is raised below)
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def skip_fault(machine: NativeMachine, system_call=lambda *_: 0) -> list[int]:
    faults: list[int] = []

    def skip(context) -> None:
        faults.append(context.page_fault.accessed_address)
        context.registers.rip += 3

    machine.set_handlers(skip, system_call)
    return faults


def test_every_thread_runs_a_machine_of_its_own(ready_machine) -> None:
    def work() -> None:
        with ready_machine() as machine:
            faults = skip_fault(machine)
            add, load = machine.place_code(ADD), machine.place_code(LOAD)
            double = machine.export(lambda value: 2 * value, 1)
            for number in range(500):
                assert machine.call(add, (number, 1)) == number + 1
                assert machine.call(double, (number,)) == 2 * number
                machine.call(load, (0x18,))
            assert faults == [0x18] * 500

    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (it is shown below)
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_machine_may_go_from_thread_to_thread(native) -> None:
    faults = skip_fault(native)
    load, prepared = native.place_code(LOAD), native.prepare_call(native.place_code(ADD), (2, 3))

    def use() -> int:
        native.call(load, (0x18,))
        return prepared()

    assert [use(), in_thread(use), use(), in_thread(use)] == [5] * 4
    assert len(faults) == 4


def test_two_threads_cannot_use_a_machine_at_once(native) -> None:
    add = native.place_code(ADD)
    prepared = native.prepare_call(add, (1, 2))
    errors = []

    def export() -> None:
        for use in (lambda: native.call(add, (1, 2)), prepared, native.close):
            try:
                in_thread(use)
            except MachineError as error:
                errors.append(str(error))

    native.call(native.export(export, 0, reenters=True))
    assert len(errors) == 3
    assert all("another thread" in error for error in errors)
    assert native.call(add, (1, 2)) == 3


def test_a_finaliser_of_another_thread_sees_that_it_must_not_call(native) -> None:
    answers = []
    export = native.export(
        lambda: answers.append(in_thread(lambda: native.can_call)), 0, reenters=True
    )
    native.call(export)
    assert answers == [False]
    assert native.can_call


def test_a_thread_that_ended_leaves_nothing_behind(native) -> None:
    add = native.place_code(ADD)

    def mappings() -> int:
        return len(Path("/proc/self/maps").read_text().splitlines())

    for _ in range(5):
        in_thread(lambda: native.call(add, (1, 2)))
    before = mappings()
    for _ in range(50):
        in_thread(lambda: native.call(add, (1, 2)))
    assert abs(mappings() - before) < 20


def test_a_forked_child_catches_system_calls_and_faults(native) -> None:
    calls: list[int] = []
    faults = skip_fault(native, lambda number, *_: calls.append(number) or 0)
    load = native.place_code(LOAD)
    system_call = native.place_code(bytes.fromhex("b827000000 0f05 c3"))  # mov eax, 39; syscall
    native.call(system_call)
    child = os.fork()
    if child == 0:
        native.call(load, (0x18,))
        native.call(system_call)
        os._exit(0 if (faults, calls) == ([0x18], [39, 39]) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_an_interrupt_reaches_the_thread_that_runs_the_guest(native) -> None:
    loop = native.place_code(bytes.fromhex("ebfe"))
    timer = later(0.05, native.interrupt)
    with pytest.raises(GuestInterrupted):
        in_thread(lambda: native.call(loop))
    timer.join()


def test_a_prepared_call_outlives_its_machine_and_refuses(ready_machine) -> None:
    machine = ready_machine()
    prepared = machine.prepare_call(machine.place_code(ADD), (1, 2))
    assert prepared() == 3
    machine.close()
    del machine
    gc.collect()
    with pytest.raises(MachineError, match="closed"):
        prepared()


def test_prepared_calls_are_made_without_end(native) -> None:
    add = native.place_code(ADD)
    for number in range(10_000):
        assert native.prepare_call(add, (number, 1))() == number + 1


def test_more_prepared_calls_than_there_are_places_are_slower_calls(native) -> None:
    add = native.place_code(ADD)
    calls = [native.prepare_call(add, (number, 1)) for number in range(5000)]
    assert [call() for call in calls] == list(range(1, 5001))


def test_calls_deeper_than_there_is_room_for_frames_are_a_recursion_error(run) -> None:
    result = run("""
import threading
from theseus_kit.values.memory import AddressRange, Protection
start = machine.memory.territory.start + (1 << 20)
machine.memory.map(start, 64 << 20, Protection.READ_WRITE)
frame = code("53 4889fb ffd6 4801d8 5b c3")
export = machine.export(lambda n: machine.call(frame, (n + 1, export)), 1, reenters=True)

def deep():
    machine.select_thread(machine.create_thread(AddressRange.of_size(start, 64 << 20)))
    try:
        machine.call(frame, (1, export))
    except RecursionError as error:
        print("RecursionError")
    print(machine.call(code("488d4701 c3"), (1,)))

sys.setrecursionlimit(1 << 20)
threading.stack_size(512 << 20)
thread = threading.Thread(target=deep)
thread.start()
thread.join()
""")
    assert result.stdout.split() == ["RecursionError", "2"], result.stderr
