"""Guest threads that are stopped from outside, to let others go on or to end."""

from __future__ import annotations

import threading
import time

import pytest

from theseus_kit.errors import GuestInterrupted

from .later import later

# add qword ptr [rdi], 1; jmp back
COUNT_FOR_EVER = "48830701 ebfa"


def test_preemption_lets_endless_loops_all_go_on(guest, switcher) -> None:
    machine = guest.machine
    count = guest.code(COUNT_FOR_EVER)
    counters = [guest.data + 64 * number for number in range(3)]
    deadline = time.monotonic() + 60

    class Enough(Exception):
        pass

    def preempted() -> None:
        assert machine.can_call
        assert machine.registers_are_exact
        if all(guest.memory.read_u64(c) > 1000 for c in counters) or time.monotonic() > deadline:
            raise Enough
        switcher.switch()

    machine.set_preemption(preempted)
    stopped = threading.Event()

    def pulse() -> None:
        while not stopped.wait(0.005):
            machine.preempt()

    def endless(counter: int) -> str:
        with pytest.raises(Enough):
            machine.call(count, (counter,))
        return "ended"

    for counter in counters:
        switcher.start(lambda counter=counter: endless(counter))
    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        results = switcher.run()
    finally:
        stopped.set()
        thread.join()
    assert set(results.values()) == {"ended"}
    assert all(guest.memory.read_u64(counter) > 1000 for counter in counters)


@pytest.mark.parametrize("reenters", [False, True])
def test_preemption_between_calls_of_exports_disturbs_none_of_them(guest, reenters) -> None:
    machine = guest.machine
    add = guest.code("488d0437 c3")  # lea rax, [rdi + rsi]
    clobber = machine.export(lambda *a: sum(a), 6)
    preemptions = []

    def preempted() -> None:
        preemptions.append(machine.registers().rip)
        assert machine.call(clobber, (9, 9, 9, 9, 9, 9)) == 54
        assert machine.call(add, (40, 2)) == 42

    machine.set_preemption(preempted)
    export = machine.export(lambda a, b: a - b, 2, reenters=reenters)
    # push rbx; push r12; push r13; mov rbx, rsi; mov r12, rdi; mov r13, rsi
    # again: mov rdi, 0x1000 + rbx ...: [the result must be rbx each time, else stop]
    loop = "488dbb00100000 be00100000 41ffd4 4839d8 7505 48ffcb 75e6"
    code = guest.code("53 4154 4155 4889f3 4989fc 4989f5" + loop + "4889d8 415d 415c 5b c3")
    stopped = threading.Event()

    def pulse() -> None:
        while not stopped.wait(0.0005):
            machine.preempt()

    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        begin = time.monotonic()
        while len(preemptions) < 100 and time.monotonic() - begin < 60:
            assert machine.call(code, (export, 3000)) == 0
    finally:
        stopped.set()
        thread.join()
    assert len(preemptions) >= 20


def test_a_preemption_while_nothing_runs_does_nothing(guest) -> None:
    seen = []
    guest.machine.set_preemption(lambda: seen.append(1))
    guest.machine.preempt()
    assert guest.run("488d4701 c3", 1) == 2
    assert not seen


@pytest.mark.parametrize("ask", ["interrupt", "preempt"])
def test_nothing_is_asked_of_threads_that_wait_while_an_idle_one_is_selected(
    guest, switcher, ask
) -> None:
    machine, seen = guest.machine, []
    machine.set_preemption(lambda: seen.append(1))
    wait = machine.export(lambda: switcher.go_to(switcher.hub) or 0, 0, reenters=True)
    waiting = switcher.start(lambda: guest.run("ffd7 488d4001 c3", wait))  # call rdi; inc rax
    switcher.go_to(waiting)
    machine.select_thread(guest.thread)
    getattr(machine, ask)()
    assert guest.run("488d4701 c3", 1) == 2
    switcher.go_to(waiting)
    machine.select_thread(guest.thread)
    assert switcher.results == {0: 1}
    assert not seen


def test_an_interrupt_while_python_has_control_reaches_whichever_thread_goes_on(
    guest, switcher
) -> None:
    machine = guest.machine
    turns = iter(["pause", "interrupt"])

    def turn() -> int:
        if next(turns) == "interrupt":
            machine.interrupt()
        switcher.switch()
        return 0

    export = machine.export(turn, 0, reenters=True)

    def run() -> str:
        try:
            guest.run("ffd7 c3", export)
        except GuestInterrupted:
            return "interrupted"
        return "returned"

    switcher.start(run)
    switcher.start(run)
    assert switcher.run() == {0: "interrupted", 1: "returned"}


def test_a_preemption_while_python_has_control_comes_when_guest_code_goes_on(guest) -> None:
    machine, seen = guest.machine, []
    machine.set_preemption(lambda: seen.append("preempted"))

    def export() -> int:
        machine.preempt()
        machine.preempt()
        seen.append("export")
        return 7

    for reenters in (False, True):
        seen.clear()
        # call rdi; add rax, 1; ret
        assert guest.run("ffd7 4883c001 c3", machine.export(export, 0, reenters=reenters)) == 8
        assert seen == ["export", "preempted"]


def test_a_preemption_may_end_the_call(guest) -> None:
    machine = guest.machine

    def fail() -> None:
        raise LookupError("enough")

    machine.set_preemption(fail)
    timer = later(0.02, machine.preempt, when=lambda: machine.memory.read_u64(guest.data) > 0)
    with pytest.raises(LookupError, match="enough"):
        guest.run(COUNT_FOR_EVER, guest.data)
    timer.join()
    assert guest.run("488d4701 c3", 1) == 2


def test_an_interrupt_comes_before_a_preemption(guest) -> None:
    machine, seen = guest.machine, []
    machine.set_preemption(lambda: seen.append(1))

    def export() -> int:
        machine.preempt()
        machine.interrupt()
        return 0

    with pytest.raises(GuestInterrupted):
        guest.run("ffd7 c3", machine.export(export, 0, reenters=True))
    assert not seen
    assert guest.run("488d4701 c3", 1) == 2
    assert not seen
