"""Guest threads beside everything else: signals, wasmtime-py, other machines, the process's end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit.errors import GuestInterrupted

from .later import later

# push rbx; mov rbx, rdi; call rsi; add rax, rbx; pop rbx; ret
FRAME = "53 4889fb ffd6 4801d8 5b c3"
COUNT_FOR_EVER = "48830701 ebfa"  # add qword ptr [rdi], 1; jmp back


class Pulse:
    """Asks for preemption again and again, from a host thread of its own."""

    def __init__(self, machine, period: float) -> None:
        self._machine, self._period = machine, period
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ended.wait(self._period):
            self._machine.preempt()

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.mark.parametrize("seed", range(4))
def test_random_interleavings_of_everything_give_the_same_results(guest, switcher, seed) -> None:
    """Exports, handlers, system calls and preemption, nested at random, against plain Python."""
    machine, chance = guest.machine, random.Random(seed)
    exporting = guest.code(FRAME)
    # push rbx; mov rbx, rdi; mov rax, rsi; ud2; add rax, rbx; pop rbx; ret
    faulting = guest.code("53 4889fb 4889f0 0f0b 4801d8 5b c3")
    # push rbx; mov rbx, rdi; mov rdi, rsi; mov eax, 7; syscall; add rax, rbx; pop rbx; ret
    calling = guest.code("53 4889fb 4889f7 b807000000 0f05 4801d8 5b c3")

    def go(depth: int) -> int:
        if chance.random() < 0.7:
            switcher.switch()
        if depth == 0:
            return 0
        kind = chance.randrange(3)
        if kind == 0:
            depths.append(depth - 1)
            result = machine.call(exporting, (depth, export))
        else:
            result = machine.call(calling if kind == 1 else faulting, (depth, depth - 1))
        if chance.random() < 0.3:
            switcher.switch()
        return result

    depths: list[int] = []

    def from_export() -> int:
        return go(machine.registers().rdi - 1)

    def from_fault(context) -> None:
        context.registers.rax = go(context.registers.rax)
        context.registers.rip += 2

    export = machine.export(from_export, 0, reenters=True)
    machine.set_handlers(from_fault, lambda _, depth, *rest: go(depth), {7})
    machine.set_preemption(switcher.switch)
    with Pulse(machine, 0.001):
        for extra in range(6):
            switcher.start(lambda extra=extra: go(20 + extra))
        assert switcher.run() == {extra: sum(range(21 + extra)) for extra in range(6)}


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_order_of_turns_is_each_thread_s_own_order(shared_switcher, data) -> None:
    """A model: every thread is a stack of depths; turns go to any thread at any time."""
    switcher = shared_switcher
    guest, machine = switcher.guest, switcher.machine
    trail: dict[int, list[int]] = {}
    tasks = {}

    def turn(number: int) -> int:
        depth = machine.call(guest.identity, (len(machine.waiting()),))
        trail[number].append(depth)
        switcher.go_to(switcher.hub)
        return machine.call(guest.frame, (number, guest.turn)) if depth < limits[number] else 0

    guest.turning = turn
    limits = {n: data.draw(st.integers(1, 4)) for n in range(3)}
    for number in limits:
        trail[number] = []
        tasks[number] = switcher.start(
            lambda number=number: machine.call(guest.frame, (number, guest.turn))
        )
    switcher.ready.clear()
    while tasks:
        number = data.draw(st.sampled_from(sorted(tasks)))
        switcher.go_to(tasks[number])
        switcher.current = switcher.hub
        machine.select_thread(switcher.hub[0])
        if tasks[number][1].dead:
            del tasks[number]
    assert trail == {number: list(range(1, limit + 1)) for number, limit in limits.items()}


@pytest.fixture
def shared_switcher(guest, switcher):
    guest.frame = guest.code(FRAME)
    guest.identity = guest.code("4889f8 c3")  # mov rax, rdi
    guest.turn = guest.machine.export(lambda number: guest.turning(number), 1, reenters=True)
    return switcher


def test_ctrl_c_reaches_the_thread_that_runs_and_no_other(guest, switcher) -> None:
    machine = guest.machine
    loop, frame = guest.code(COUNT_FOR_EVER), guest.code(FRAME)
    pause = machine.export(lambda _: switcher.switch(), 1, reenters=True)

    def endless() -> str:
        with pytest.raises(KeyboardInterrupt):
            machine.call(loop, (guest.data,))
        return "interrupted"

    machine.set_preemption(lambda: None)
    switcher.start(lambda: machine.call(frame, (5, pause)))
    switcher.start(endless)
    timer = later(
        0.02,
        lambda: os.kill(os.getpid(), signal.SIGINT),
        when=lambda: machine.memory.read_u64(guest.data) > 0,
    )
    with Pulse(machine, 0.002):
        assert switcher.run() == {0: 5, 1: "interrupted"}
    timer.join()


def test_signal_handlers_run_while_threads_are_preempted(guest, switcher) -> None:
    machine = guest.machine
    loop = guest.code(COUNT_FOR_EVER)
    alarms: list[int] = []
    ended: list[int] = []
    machine.set_preemption(switcher.switch)
    previous = signal.signal(signal.SIGALRM, lambda *_: alarms.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)

    def endless(place: int) -> str:
        with pytest.raises(GuestInterrupted):
            machine.call(loop, (place,))
        ended.append(place)
        return "interrupted"

    def stop() -> None:
        for count in range(3):
            later(0.1, machine.interrupt, when=lambda: len(alarms) >= 3).join()
            while len(ended) == count:
                time.sleep(0.005)

    for number in range(3):
        switcher.start(lambda place=guest.data + 64 * number: endless(place))
    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        with Pulse(machine, 0.005):
            results = switcher.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        stopper.join()
    assert set(results.values()) == {"interrupted"}
    assert len(alarms) >= 3
    assert all(guest.memory.read_u64(guest.data + 64 * number) for number in range(3))


def test_wasmtime_py_runs_and_traps_beside_threads_of_every_machine(make_switcher) -> None:
    wasmtime = pytest.importorskip("wasmtime")
    store = wasmtime.Store()
    module = wasmtime.Module(
        store.engine,
        '(module (func (export "add") (param i32 i32) (result i32)'
        ' (i32.add (local.get 0) (local.get 1))) (func (export "trap") unreachable))',
    )
    exports = wasmtime.Instance(store, module, []).exports(store)
    switchers = [make_switcher(), make_switcher()]

    def body(switcher, value: int) -> int:
        switcher.switch()
        with pytest.raises(wasmtime.Trap):
            exports["trap"](store)
        result = exports["add"](store, value, 1)
        switcher.switch()
        return result

    for switcher in switchers:
        machine, frame = switcher.machine, switcher.guest.code(FRAME)
        export = machine.export(lambda value, _, s=switcher: body(s, value), 2, reenters=True)
        for value in range(3):
            switcher.start(lambda m=machine, f=frame, v=value, e=export: m.call(f, (v, e)))
    for switcher in switchers:
        assert switcher.run() == {value: 2 * value + 1 for value in range(3)}


def test_every_depth_of_calls_ends_in_an_answer_or_a_recursion_error(guest, switcher) -> None:
    machine = guest.machine
    frame = guest.code(FRAME)
    outcomes = []

    def deeper(remaining: int) -> int:
        if remaining % 50 == 0:
            switcher.switch()
        return machine.call(frame, (1, export))

    export = machine.export(deeper, 1, reenters=True)

    def endless() -> None:
        with pytest.raises(RecursionError):
            machine.call(frame, (1, export))
        outcomes.append(machine.call(guest.code("488d4701 c3"), (1,)))

    for _ in range(2):
        switcher.start(endless)
    switcher.run()
    assert outcomes == [2, 2]


PROGRAM = """
import sys
sys.path.insert(0, {place!r})
from conftest import Guest, Switcher, SMALL
from theseus_kit.machine import create_machine
machine = create_machine({name!r}, {{"territory_gib": SMALL}})
switcher = Switcher(Guest(machine))
frame = switcher.guest.code("53 4889fb ffd6 4801d8 5b c3")

class Cleaned:
    def __del__(self):
        print("cleaned", flush=True)

def wait(depth):
    kept = Cleaned()
    if depth:
        return machine.call(frame, (depth - 1, export))
    switcher.go_to(switcher.hub)
    return 0

export = machine.export(wait, 1, reenters=True)
tasks = [switcher.start(lambda: machine.call(frame, (2, export))) for _ in range(3)]
for task in tasks:
    switcher.go_to(task)
machine.select_thread(switcher.hub[0])
{end}
"""


@pytest.mark.parametrize("name", ["emulated", "native"])
@pytest.mark.parametrize("end", ["", "machine.close()", "del machine, switcher", "sys.exit(3)"])
def test_the_process_ends_in_peace_while_threads_wait(name, end) -> None:
    program = PROGRAM.format(place=str(Path(__file__).parent), name=name, end=end)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == (3 if "exit" in end else 0), result.stderr
    assert "Fatal" not in result.stderr
