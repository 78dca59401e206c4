"""Calls both ways: arguments, results, nesting, errors."""

from __future__ import annotations

import sys

import pytest

from theseus_kit.errors import MachineError
from theseus_kit.machine.protocol import Ability
from theseus_kit.values.memory import AddressRange, Protection

MASK = (1 << 64) - 1


def test_a_call_passes_six_registers_and_the_stack(guest) -> None:
    # mov rax, rdi; then rax = rax * 3 + next, over rsi rdx rcx r8 r9 [rsp+8] [rsp+16]
    step = "488d0440 4801"
    code = (
        "4889f8" + "".join(step + r for r in ("f0", "d0", "c8")) + "488d0440 4c01c0 488d0440 4c01c8"
    )
    code += "488d0440 4803442408 488d0440 4803442410 c3"
    expected = 0
    for argument in range(1, 9):
        expected = expected * 3 + argument
    assert guest.run(code, *range(1, 9)) == expected


def test_arguments_and_results_are_cut_to_64_bits(guest) -> None:
    assert guest.run("4889f8 c3", -1) == MASK  # mov rax, rdi
    assert guest.run("4889f8 c3", 1 << 64) == 0


def test_the_stack_is_aligned_as_the_abi_says(guest) -> None:
    code = guest.code("488d442408 c3")  # lea rax, [rsp+8]
    for count in (0, 7, 8):
        assert guest.machine.call(code, range(count)) % 16 == 0


def test_floats_go_in_and_come_out(guest) -> None:
    code = guest.code("f20f59c1 c3")  # mulsd xmm0, xmm1
    guest.machine.call(code, float_arguments=(1.5, 3.0))
    assert guest.machine.float_result() == 4.5


def test_an_export_sees_and_returns_floats(guest) -> None:
    machine = guest.machine

    def hypotenuse() -> None:
        machine.set_float_result(
            (machine.float_argument(0) ** 2 + machine.float_argument(1) ** 2) ** 0.5
        )

    machine.call(machine.export(hypotenuse, 0), float_arguments=(3.0, 4.0))
    assert machine.float_result() == 5.0


@pytest.mark.parametrize("reenters", [False, True])
@pytest.mark.parametrize("arity", range(10))
def test_an_export_gets_its_arguments(guest, arity, reenters) -> None:
    got = []
    export = guest.machine.export(lambda *a: got.extend(a) or sum(a), arity, reenters=reenters)
    assert guest.machine.call(export, range(10, 20)) == sum(range(10, 10 + arity))
    assert got == list(range(10, 10 + arity))


def test_an_export_that_returns_none_returns_zero(guest) -> None:
    assert guest.machine.call(guest.machine.export(lambda: None, 0)) == 0


def test_a_replaced_export_runs_the_new_function(guest) -> None:
    export = guest.machine.export(lambda: 1, 0)
    guest.machine.replace_export(export, lambda a, b: a * b, 2)
    assert guest.machine.call(export, (6, 7)) == 42
    with pytest.raises(MachineError, match="no export"):
        guest.machine.replace_export(export + 1, lambda: 0, 0)


def test_callee_saved_registers_survive_an_export(guest) -> None:
    export = guest.machine.export(lambda: 5, 0)
    # push rbx; mov rbx, rdi; call rsi; add rax, rbx; pop rbx; ret
    assert guest.run("53 4889fb ffd6 4801d8 5b c3", 10, export) == 15


def test_registers_inside_an_export_are_those_of_its_caller(guest) -> None:
    found = []
    for reenters in (False, True):
        export = guest.machine.export(
            lambda: found.extend((guest.machine.registers_are_exact, guest.machine.registers())),
            0,
            reenters=reenters,
        )
        # push rbp; mov rbp, rsp; mov rdi, 7; call rsi; pop rbp; ret
        code = guest.code("55 4889e5 48c7c707000000 ffd6 5d c3")
        guest.machine.call(code, (0, export))
        registers = found.pop()
        assert not found.pop()
        assert registers.rip == code + 13
        assert registers.rdi == 7
        assert registers.rsp == registers.rbp == guest.thread.top - 16


def test_registers_are_zero_where_no_guest_code_runs(guest) -> None:
    assert bytes(guest.machine.registers()) == bytes(18 * 8)


def test_a_prepared_call_makes_the_same_call_again_and_again(guest) -> None:
    counter = guest.code("480137 488b07 c3")  # add [rdi], rsi; mov rax, [rdi]
    prepared = guest.machine.prepare_call(counter, (guest.data, 3))
    assert [prepared() for _ in range(4)] == [3, 6, 9, 12]


def test_a_prepared_call_may_be_made_inside_an_export(guest) -> None:
    prepared = guest.machine.prepare_call(guest.code("488d4701 c3"), (1,))
    export = guest.machine.export(lambda: prepared() + 1, 0, reenters=True)
    assert guest.machine.call(export) == 3
    assert guest.machine.prepare_call(export, ())() == 3


def test_a_prepared_call_of_many_arguments_uses_the_stack(guest) -> None:
    last = guest.code("488b442408 c3")  # mov rax, [rsp+8]
    assert guest.machine.prepare_call(last, range(7))() == 6


@pytest.mark.parametrize("reenters", [False, True])
def test_an_error_in_an_export_ends_the_call_as_itself(guest, reenters) -> None:
    def fail() -> int:
        raise LookupError("mine")

    export = guest.machine.export(fail, 0, reenters=reenters)
    after = guest.code("ffd7 b801000000 a3 00000000 00000000 c3")  # call rdi; then would store
    for _ in range(50):
        with pytest.raises(LookupError, match="mine"):
            guest.machine.call(after, (export,))
    assert guest.run("488d4701 c3", 1) == 2


def nest(guest, depth, at_the_bottom):
    """Guest → Python → guest … ``depth`` times; rbx counts that each frame comes back whole."""
    machine = guest.machine
    # push rbx; mov rbx, rdi; call rsi; add rax, rbx; pop rbx; ret
    frame = guest.code("53 4889fb ffd6 4801d8 5b c3")

    def deeper(remaining: int) -> int:
        if remaining == 0:
            return at_the_bottom()
        return machine.call(frame, (remaining - 1, export))

    export = machine.export(deeper, 1, reenters=True)
    return machine.call(frame, (depth, export))


def test_calls_nest_a_thousand_deep_with_an_exception_at_the_bottom(make_guest) -> None:
    # Python 3.12 counts calls from C to Python against a limit that nothing raises.
    depth = 300 if sys.version_info[:2] == (3, 12) else 1000
    guest = make_guest()
    guest.memory.map(guest.free, 8 << 20, Protection.READ_WRITE)
    guest.machine.select_thread(
        guest.machine.create_thread(AddressRange.of_size(guest.free, 8 << 20))
    )

    def handler(context) -> None:
        context.registers.rax = guest.machine.call(add, (20, 22))
        context.registers.rip += 2

    add = guest.code("488d0437 c3")
    trap = guest.code("0f0b c3")
    guest.on_exception(handler)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        found = nest(guest, depth, lambda: guest.machine.call(trap))
    finally:
        sys.setrecursionlimit(limit)
    assert found == 42 + sum(range(depth + 1))


def test_an_error_at_the_bottom_goes_up_through_every_call(guest) -> None:
    def fail() -> int:
        raise LookupError("deep")

    for depth in (0, 1, 2, 30):
        with pytest.raises(LookupError, match="deep"):
            nest(guest, depth, fail)
    assert nest(guest, 3, lambda: 1) == 1 + 3 + 2 + 1


def test_an_error_may_be_caught_halfway_up(guest) -> None:
    machine = guest.machine

    def fail() -> int:
        raise LookupError

    inner = machine.export(fail, 0)

    def catching() -> int:
        with pytest.raises(LookupError):
            machine.call(inner)
        return 7

    # push rbx; mov rbx, rdi; call rsi; add rax, rbx; pop rbx; ret
    export = machine.export(catching, 0, reenters=True)
    assert guest.run("53 4889fb ffd6 4801d8 5b c3", 10, export) == 17


def test_endless_recursion_is_a_recursion_error_and_the_machine_goes_on(guest) -> None:
    # More stack than the guest needs until Python's limit, which counts fewer frames from 3.12 on.
    guest.memory.map(guest.free, 8 << 20, Protection.READ_WRITE)
    guest.machine.select_thread(
        guest.machine.create_thread(AddressRange.of_size(guest.free, 8 << 20))
    )
    with pytest.raises(RecursionError):
        nest(guest, 10_000, lambda: 0)
    assert guest.run("488d4701 c3", 1) == 2


def test_no_recursion_depth_loses_an_export_s_answer(guest) -> None:
    """Near the limit a callback could fail to start; then the call must fail before it starts."""
    export = guest.machine.export(lambda: 42, 0)
    outcomes = set()

    def sink(remaining: int) -> None:
        if remaining:
            sink(remaining - 1)
            return
        try:
            outcomes.add(guest.machine.call(export))
        except RecursionError:
            outcomes.add("refused")

    depth = sys.getrecursionlimit()
    for remaining in range(depth - 120, depth):
        try:
            sink(remaining)
        except RecursionError:
            break
    assert outcomes == {42, "refused"}
    assert guest.machine.call(export) == 42


def test_calling_inside_an_export_that_does_not_re_enter_is_refused(guest) -> None:
    machine = guest.machine
    seen = []

    def calls() -> int:
        seen.append(machine.can_call)
        return machine.call(export)

    export = machine.export(calls, 0)
    with pytest.raises(MachineError, match="does not re-enter"):
        machine.call(export)
    assert seen == [False]
    assert machine.can_call


def test_calls_without_a_thread_say_so(machine) -> None:
    with pytest.raises(MachineError, match="no thread"):
        machine.call(machine.place_code(b"\xc3"))


_CONTROL_BITS = 0xFFFF_FFFF_FFC0
"""Of the x87 control word and MXCSR, whose six status flags any call may change (ABI, 3.2.1)."""


def test_threads_have_their_own_fs_base(guest) -> None:
    machine = guest.machine
    if Ability.THREAD_POINTER not in machine.abilities:
        pytest.skip("guest threads of this machine have no thread pointer")
    other = machine.create_thread(AddressRange.of_size(guest.data, 0x1000), fs_base=guest.data)
    guest.memory.write_u64(guest.data + 8, 0x1234)
    guest.memory.write_u64(guest.data + 0x1008, 0x5678)
    guest.thread.fs_base = guest.data + 0x1000
    read = guest.code("64488b042508000000 c3")  # mov rax, fs:[8]
    assert machine.call(read) == 0x5678
    machine.select_thread(other)
    assert machine.call(read) == 0x1234
    machine.select_thread(guest.thread)
    assert machine.call(read) == 0x5678
    assert (guest.thread.fs_base, other.fs_base) == (guest.data + 0x1000, guest.data)


def test_machine_code_without_fs_finds_the_selected_thread_s_pointer_in_a_cell(guest) -> None:
    machine = guest.machine
    cell = machine.thread_pointer_cell
    if cell is None:
        pytest.skip("fs: is the guest thread's own on this machine")
    other = machine.create_thread(AddressRange.of_size(guest.data, 0x1000), fs_base=0x5678)
    guest.thread.fs_base = 0x1234
    read = guest.code("488b07 c3")  # mov rax, [rdi]
    assert machine.call(read, (cell,)) == 0x1234
    machine.select_thread(other)
    assert machine.call(read, (cell,)) == 0x5678
    machine.select_thread(guest.thread)
    assert machine.call(read, (cell,)) == 0x1234
    assert (guest.thread.fs_base, other.fs_base) == (0x1234, 0x5678)


def test_threads_have_their_own_floating_point_state(guest) -> None:
    machine = guest.machine
    other = machine.create_thread(AddressRange.of_size(guest.data, 0x1000))
    guest.run("0fae17 c3", guest.data + 0x1000)  # ldmxcsr [rdi]: 0
    machine.select_thread(other)
    # sub rsp, 8; stmxcsr [rsp]; fnstcw [rsp+4]; pop rax
    state = guest.code("4883ec08 0fae1c24 d97c2404 58 c3")
    assert machine.call(state) & _CONTROL_BITS == 0x037F_0000_1F80
    machine.select_thread(guest.thread)
    assert machine.call(state) & _CONTROL_BITS == 0x037F_0000_0000


def test_the_guest_s_rounding_is_not_the_host_s(guest) -> None:
    tiny = 5e-324
    up = guest.machine.export(lambda: guest.memory.write_u64(guest.data, int(1.0 + tiny == 1.0)), 0)
    guest.memory.write_u32(guest.data + 8, 0x1F80 | 2 << 13)  # round towards infinity
    # push rbx; ldmxcsr [rdi]; call rsi; pop rbx
    guest.run("53 0fae17 ffd6 5b c3", guest.data + 8, up)
    assert guest.memory.read_u64(guest.data) == 1
    assert 1.0 + tiny == 1.0


def test_a_system_call_gets_number_and_arguments_and_keeps_registers_as_linux_does(guest) -> None:
    calls = []
    guest.machine.set_handlers(lambda context: None, lambda *a: calls.append(a) or -14)
    # mov eax, 9; mov r10, rcx; syscall; mov [rdi], rcx; mov [rdi+8], r11
    code = guest.code("b809000000 4989ca 0f05 48890f 4c895f08 c3")
    result = guest.machine.call(code, (guest.data, 2, 3, 4, 5, 6))
    assert calls == [(9, guest.data, 2, 3, 4, 5, 6)]
    assert result == MASK + 1 - 14
    assert guest.memory.read_u64(guest.data) == code + 10
    assert guest.memory.read_u64(guest.data + 8) & 2


def test_an_error_in_a_system_call_ends_the_call(guest) -> None:
    def fail(*_: int) -> int:
        raise LookupError("system call")

    guest.machine.set_handlers(lambda context: None, fail)
    for _ in range(3):
        with pytest.raises(LookupError, match="system call"):
            guest.run("0f05 48c7042500000000 01000000 c3")
    assert guest.run("488d4701 c3", 1) == 2


def test_registers_inside_a_system_call_are_the_caller_s(guest) -> None:
    found = []
    guest.machine.set_handlers(
        lambda context: None, lambda *_: found.append(guest.machine.registers()) or 0
    )
    code = guest.code("4989e8 0f05 c3")  # mov r8, rbp; syscall
    guest.machine.call(code, (5,))
    assert (found[0].rip, found[0].rdi) == (code + 3, 5)
