"""Guest threads: switching wherever Python is at rest, to any depth, in any order."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time
from pathlib import Path

import pytest
from greenlet import GreenletExit, greenlet

from theseus_kit.errors import GuestInterrupted, MachineError

# push rbx; mov rbx, rdi; call rsi; add rax, rbx; pop rbx; ret
FRAME = "53 4889fb ffd6 4801d8 5b c3"
# add qword ptr [rdi], 1; jmp back
COUNT_FOR_EVER = "48830701 ebfa"


def test_threads_take_turns_inside_exports(guest, switcher) -> None:
    machine, seen = guest.machine, []

    def turn(name: int) -> int:
        seen.append(name)
        switcher.switch()
        return name

    export = machine.export(turn, 1, reenters=True)
    # push rbx; push rbp; mov rbx, rdi; mov rbp, rsi; xor eax, eax; push rax
    # again: mov rdi, rbx; call rbp; add [rsp], rax; cmp qword [rsp], 5*name... three times
    code = guest.code("53 55 50 4889fb 4889f5" + "4889df ffd5" * 3 + "4801d8 59 5d 5b c3")
    for name in (1, 2, 3):
        switcher.start(lambda name=name: machine.call(code, (name, export)))
    assert switcher.run() == {0: 2, 1: 4, 2: 6}
    assert seen == [1, 2, 3] * 3


@pytest.mark.parametrize("depth", [1, 2, 30])
def test_threads_take_turns_inside_nested_calls(guest, switcher, depth) -> None:
    machine = guest.machine
    frame = guest.code(FRAME)

    def deeper(remaining: int) -> int:
        switcher.switch()
        if remaining == 0:
            return 0
        result = machine.call(frame, (remaining - 1, export))
        switcher.switch()
        return result

    export = machine.export(deeper, 1, reenters=True)
    for extra in range(4):
        switcher.start(lambda extra=extra: machine.call(frame, (depth + extra, export)))
    assert switcher.run() == {extra: sum(range(depth + extra + 1)) for extra in range(4)}


def test_threads_take_turns_inside_exception_handlers(guest, switcher) -> None:
    machine = guest.machine

    def skip(context) -> None:
        switcher.switch()
        context.registers.rax += 1
        context.registers.rip += 2

    guest.on_exception(skip)
    code = guest.code("4889f8" + "0f0b" * 5 + "c3")  # mov rax, rdi; ud2 five times; ret
    for start in (10, 20, 30):
        switcher.start(lambda start=start: machine.call(code, (start,)))
    assert switcher.run() == {0: 15, 1: 25, 2: 35}


def test_threads_take_turns_inside_re_entrant_system_calls(guest, switcher) -> None:
    machine = guest.machine
    double = guest.code("488d043f c3")  # lea rax, [rdi + rdi]

    def answer(number: int, argument: int, *rest: int) -> int:
        if number == 7:
            switcher.switch()
            return machine.call(double, (argument,))
        assert not machine.can_call
        return argument + 1

    machine.set_handlers(lambda context: None, answer, frozenset((7,)))
    # mov eax, 7; syscall; mov rdi, rax; mov eax, 8; syscall; mov rdi, rax — twice
    step = "b807000000 0f05 4889c7 b808000000 0f05 4889c7"
    code = guest.code(step * 2 + "c3")
    for start in (1, 2, 3):
        switcher.start(lambda start=start: machine.call(code, (start,)))
    assert switcher.run() == {0: 7, 1: 11, 2: 15}


def test_a_re_entrant_system_call_keeps_registers_as_linux_does(guest) -> None:
    machine, found = guest.machine, []

    def answer(*call: int) -> int:
        assert machine.can_call
        found.append((call, machine.registers(), machine.waiting(), machine.registers_are_exact))
        machine.call(guest.code("31c9 4d31db c3"))  # xor ecx, ecx; xor r11, r11
        return -14

    machine.set_handlers(lambda context: None, answer, {9})
    # mov eax, 9; mov r10, rcx; stc; syscall; mov [rdi], rcx; mov [rdi+8], r11; ret
    code = guest.code("b809000000 4989ca f9 0f05 48890f 4c895f08 c3")
    result = machine.call(code, (guest.data, 2, 3, 4, 5, 6))
    ((call, registers, waiting, exact),) = found
    assert call == (9, guest.data, 2, 3, 4, 5, 6)
    assert result == (1 << 64) - 14
    assert guest.memory.read_u64(guest.data) == code + 11
    assert guest.memory.read_u64(guest.data + 8) & 3 == 3
    assert registers.rip == code + 9
    assert waiting[0][1:3] == (False, None)
    assert not exact


def test_an_error_in_a_re_entrant_system_call_ends_the_call(guest) -> None:
    def fail(*_: int) -> int:
        raise LookupError("system call")

    guest.machine.set_handlers(lambda context: None, fail, {0})
    for _ in range(3):
        with pytest.raises(LookupError, match="system call"):
            guest.run("31c0 0f05 48c7042500000000 01000000 c3")
    assert guest.run("488d4701 c3", 1) == 2


def test_a_number_that_no_system_call_has_cannot_be_re_entrant(guest) -> None:
    with pytest.raises(MachineError, match="system call 512"):
        guest.machine.set_handlers(lambda context: None, lambda *_: 0, {512})


def test_a_thread_that_has_run_nothing_has_no_registers(guest, switcher) -> None:
    machine, found = guest.machine, []
    other = switcher.new_thread()

    def look() -> int:
        machine.select_thread(other)
        found.append((bytes(machine.registers()), machine.waiting(), machine.can_call))
        machine.select_thread(guest.thread)
        found.append((machine.registers().rip, len(machine.waiting()), len(machine.waiting(other))))
        return 0

    code = guest.code("ffd7 c3")  # call rdi
    machine.call(code, (machine.export(look, 0, reenters=True),))
    assert found == [(bytes(18 * 8), [], True), (code + 2, 1, 0)]


def test_where_a_thread_waits_can_be_asked_while_another_is_selected(guest, switcher) -> None:
    machine = guest.machine
    inner, outer = guest.code("ffd7 c3"), guest.code("90 ffd7 c3")  # [nop;] call rdi; ret
    waiting = []

    def look() -> int:
        waiting.extend(machine.waiting(first[0]))
        return 0

    pause = machine.export(lambda: switcher.switch(), 0, reenters=True, name="pause")
    middle = machine.export(lambda: machine.call(inner, (pause,)), 0, reenters=True)
    first = switcher.start(lambda: machine.call(outer, (middle,)))
    switcher.start(lambda: machine.call(machine.export(look, 0, reenters=True)))
    switcher.run()
    assert [(w.registers.rip, w.export, w.is_exact) for w in waiting] == [
        (inner + 2, pause, False),
        (outer + 3, middle, False),
    ]
    assert waiting[0].name == "pause"
    assert waiting[0].registers.rsp in first[0].stack
    assert machine.waiting(first[0]) == []


def test_a_return_to_guest_code_selects_its_thread(guest, switcher) -> None:
    machine = guest.machine
    other = switcher.new_thread()
    export = machine.export(lambda: machine.select_thread(other), 0, reenters=True)
    where = guest.code("4889e0 c3")  # mov rax, rsp
    # push rbx; call rdi; mov rax, rsp; pop rbx
    assert guest.run("53 ffd7 4889e0 5b c3", export) in guest.thread.stack
    assert machine.call(where) in guest.thread.stack


def test_float_and_control_registers_are_each_thread_s_own(guest, switcher) -> None:
    machine = guest.machine
    pause = machine.export(lambda: switcher.switch(), 0, reenters=True)
    # sub rsp, 8; ldmxcsr [rdi]; fldcw [rdi+4]; call rsi; stmxcsr [rsp]; fnstcw [rsp+4]; pop rax
    code = guest.code("4883ec08 0fae17 d96f04 ffd6 0fae1c24 d97c2404 58 c3")
    states = [0x1F80 | rounding << 13 | (0x37F | rounding << 10) << 32 for rounding in range(4)]
    for number, state in enumerate(states):
        guest.memory.write_u64(guest.data + 8 * number, state)
        place = guest.data + 8 * number
        switcher.start(lambda place=place: machine.call(code, (place, pause)))
    control = 0xFFFF_FFFF_FFC0
    assert [result & control for result in switcher.run().values()] == [
        state & control for state in states
    ]


def test_vector_registers_survive_a_switch_in_an_exception_handler(guest, switcher) -> None:
    machine = guest.machine

    def skip(context) -> None:
        switcher.switch()
        context.registers.rip += 2

    guest.on_exception(skip)
    # movq xmm7, rdi; movq xmm15, rsi; ud2; movq rax, xmm7; movq rcx, xmm15; sub rax, rcx; ret
    code = guest.code("66480f6eff 664c0f6efe 0f0b 66480f7ef8 664c0f7ef9 4829c8 c3")
    for number in range(3):
        switcher.start(lambda n=number: machine.call(code, (1000 * n + 7, n)))
    assert switcher.run() == {n: 999 * n + 7 for n in range(3)}


def test_float_results_are_each_thread_s_own(guest, switcher) -> None:
    machine = guest.machine
    double = guest.code("f20f58c0 c3")  # addsd xmm0, xmm0
    results = []

    def use() -> int:
        for value in (1.5, 2.5):
            machine.call(double, float_arguments=(value,))
            switcher.switch()
            results.append(machine.float_result())
        machine.set_float_result(0.25)
        return 0

    export = machine.export(use, 0, reenters=True)
    for _ in range(3):
        switcher.start(lambda: (machine.call(export), machine.float_result())[1])
    assert switcher.run() == {0: 0.25, 1: 0.25, 2: 0.25}
    assert results == [3.0] * 3 + [5.0] * 3


def test_a_thousand_switches_leave_no_memory_behind(guest, switcher) -> None:
    machine = guest.machine
    frame = guest.code(FRAME)
    rounds = 1000

    def many(remaining: int) -> int:
        for _ in range(rounds):
            switcher.switch()
        return 0 if remaining == 0 else machine.call(frame, (remaining - 1, export))

    export = machine.export(many, 1, reenters=True)
    before = []
    for _ in range(3):
        for _ in range(3):
            switcher.start(lambda: machine.call(frame, (1, export)))
        switcher.run()
        gc.collect()
        before.append(sys.getallocatedblocks())
    assert before[2] - before[1] < 200


def test_threads_that_come_and_go_leave_no_memory_behind(guest, switcher) -> None:
    machine = guest.machine
    stack = switcher.new_thread().stack
    add = guest.code("488d4701 c3")

    def come_and_go(count: int) -> int:
        for _ in range(count):
            machine.select_thread(machine.create_thread(stack))
            assert machine.call(add, (1,)) == 2
        machine.select_thread(guest.thread)
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[0])

    before = come_and_go(20)
    assert come_and_go(300) - before < 16384  # pages


def test_preemption_lets_endless_loops_all_go_on(guest, switcher) -> None:
    machine = guest.machine
    count = guest.code(COUNT_FOR_EVER)
    counters = [guest.data + 64 * number for number in range(3)]
    deadline = time.monotonic() + 5

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
        while len(preemptions) < 100 and time.monotonic() - begin < 10:
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
    timer = threading.Timer(0.05, machine.preempt)
    timer.start()
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


@pytest.mark.parametrize("error", [GreenletExit, KeyboardInterrupt, LookupError])
def test_a_thread_that_is_killed_leaves_the_others_unharmed(guest, switcher, error) -> None:
    machine = guest.machine
    frame = guest.code(FRAME)
    cleaned = []
    add = guest.code("488d0437 c3")

    def deeper(remaining: int) -> int:
        try:
            switcher.switch()
            return 0 if remaining == 0 else machine.call(frame, (remaining - 1, export))
        except BaseException:
            cleaned.append(machine.call(add, (remaining, 1)))
            raise

    export = machine.export(deeper, 1, reenters=True)
    victim = switcher.start(lambda: machine.call(frame, (3, export)))
    switcher.start(lambda: machine.call(frame, (4, export)))

    def killer() -> str:
        for _ in range(3):
            switcher.switch()
        switcher.ready.remove(victim)
        me = switcher.current
        victim[1].parent = me[1]
        machine.select_thread(victim[0])
        with contextlib.suppress(error):
            victim[1].throw(error("killed"))
        machine.select_thread(me[0])
        return "killed"

    switcher.start(killer)
    assert switcher.run() == {0: None, 1: 10, 2: "killed"}
    assert cleaned == [1, 2, 3, 4]
    assert victim[1].dead
    assert machine.waiting(victim[0]) == []


def test_a_greenlet_that_python_collects_ends_its_calls(guest, switcher) -> None:
    machine = guest.machine
    frame = guest.code(FRAME)

    def abandon(_: int) -> int:
        switcher.go_to(switcher.hub)
        return 0

    def survive(_: int) -> int:
        switcher.ready.clear()
        abandoned.clear()
        gc.collect()
        return 5

    machine_exports = [
        machine.export(abandon, 1, reenters=True),
        machine.export(survive, 1, reenters=True),
        machine.export(survive, 1),
    ]
    for collecting in machine_exports[1:]:
        abandoned = [greenlet(lambda: machine.call(frame, (1, machine_exports[0])))]
        thread = switcher.new_thread()
        switcher.go_to((thread, abandoned[0]))
        switcher.current = switcher.hub
        assert len(machine.waiting(thread)) == 1
        assert machine.call(frame, (2, collecting)) == 7
        assert machine.waiting(thread) == []


def test_closing_while_other_threads_wait_leaves_them_to_fail(make_switcher) -> None:
    switcher = make_switcher()
    guest, machine = switcher.guest, switcher.machine
    outcomes = []

    def pause() -> int:
        switcher.go_to(switcher.hub)
        return 0

    def run(code: int) -> None:
        try:
            machine.call(code, (export,))
        except BaseException as error:  # noqa: BLE001
            outcomes.append(type(error))

    export = machine.export(pause, 0, reenters=True)
    code = guest.code("ffd7 c3")
    tasks = [(switcher.new_thread(), greenlet(run)) for _ in range(3)]
    for thread, runner in tasks:
        machine.select_thread(thread)
        runner.switch(code)
        machine.select_thread(guest.thread)
    machine.close()
    tasks[0][1].switch()
    tasks[1][1].throw(GreenletExit)
    tasks[2][1].throw(KeyboardInterrupt)
    assert outcomes == [MachineError, GreenletExit, KeyboardInterrupt]
    del tasks
    with pytest.raises(MachineError, match="closed"):
        machine.call(code)


def test_calls_that_do_not_return_innermost_first_are_refused(guest, switcher) -> None:
    """Greenlets of somebody else's, which know of no guest threads."""
    machine = guest.machine
    hub = greenlet.getcurrent()
    other = switcher.new_thread()
    machine.select_thread(other)
    export = machine.export(lambda: hub.switch() or 0, 0, reenters=True)
    code = guest.code("ffd7 c3")
    outcomes = []

    def run() -> None:
        try:
            machine.call(code, (export,))
        except MachineError as error:
            outcomes.append(str(error))

    runners = [greenlet(run) for _ in range(3)]
    for runner in runners:
        runner.switch()
    for runner in runners:
        runner.switch()
    assert len(outcomes) == 3
    assert all("innermost first" in text for text in outcomes)
    with pytest.raises(MachineError, match="innermost first"):
        machine.call(code, (export,))
    machine.select_thread(guest.thread)
    assert guest.run("488d4701 c3", 1) == 2


def test_selecting_inside_an_export_that_does_not_re_enter_is_refused(guest, switcher) -> None:
    machine = guest.machine
    other = switcher.new_thread()
    export = machine.export(lambda: machine.select_thread(other), 0)
    with pytest.raises(MachineError, match="does not re-enter"):
        machine.call(export)


def test_a_nested_call_starts_with_direction_and_trap_flag_clear(guest) -> None:
    machine = guest.machine
    # pushfq; pop rax; and eax, 0x500; ret
    flags = guest.code("9c 58 2500050000 c3")
    found = []

    def handler(context) -> None:
        found.append(machine.call(flags))
        context.registers.rflags &= ~0x100

    guest.on_exception(handler)
    # std; pushfq; or qword [rsp], 0x100; popfq; nop; nop; cld; ret
    guest.run("fd 9c 48810c2400010000 9d 90 90 fc c3")
    assert found == [0]


def test_machines_of_two_platforms_switch_inside_each_other_s_calls(make_switcher) -> None:
    first, second = make_switcher(), make_switcher()
    inner = second.guest.code(FRAME)
    pause = second.machine.export(lambda _: second.switch(), 1, reenters=True)
    into_second = first.machine.export(
        lambda value: second.machine.call(inner, (value, pause)), 1, reenters=True
    )
    outer = first.guest.code(FRAME)

    def both(value: int) -> int:
        thread = first.new_thread()
        first.machine.select_thread(thread)
        return first.machine.call(outer, (value, into_second))

    for value in range(4):
        second.start(lambda value=value: both(value))
    assert second.run() == {value: 2 * value for value in range(4)}


def test_a_machine_that_waits_in_an_export_that_does_not_re_enter_refuses_others(
    make_switcher,
) -> None:
    first, second = make_switcher().guest, make_switcher()
    pause = second.machine.export(lambda: second.switch(), 0, reenters=True)
    into_second = first.machine.export(lambda: second.machine.call(pause), 0)
    refused = []

    def other() -> None:
        try:
            first.run("488d4701 c3", 1)
        except MachineError as error:
            refused.append(str(error))

    second.start(lambda: first.machine.call(into_second))
    second.start(other)
    second.run()
    assert len(refused) == 1
    assert first.run("488d4701 c3", 1) == 2
