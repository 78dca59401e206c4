"""Guest threads: switching wherever Python is at rest, to any depth, in any order."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from theseus_kit.errors import MachineError

# push rbx; mov rbx, rdi; call rsi; add rax, rbx; pop rbx; ret
FRAME = "53 4889fb ffd6 4801d8 5b c3"


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
