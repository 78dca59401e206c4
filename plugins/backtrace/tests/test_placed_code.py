"""Traces through machine code that the platform placed, on both machines and by both walkers."""

import capstone
import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import DeadlockError, GuestKilled
from theseus_kit.machine import machine_names
from theseus_kit.values.exceptions import KillRequested
from theseus_kit.values.linkage import CFunction
from theseus_kit.values.symbols import FrameKind
from theseus_kit_backtrace.call_frame_information import RETURN_ADDRESS_COLUMN, RuleKind
from theseus_kit_backtrace.placed_code import rows_of

UNWINDERS = {
    "backtrace": ["backtrace"],
    "backtrace-frame-pointers": ["backtrace-frame-pointers"],
    "backtrace-unwinding": ["backtrace-unwinding", "backtrace-symbols"],
}
FLAGS = ("-O1", "-fno-builtin", "-fno-optimize-sibling-calls", "-fcf-protection=none")
WITH_FRAME_POINTERS = (*FLAGS, "-fno-omit-frame-pointer")
RSP, RBP, RBX = 7, 6, 3

COPIES = """
extern void *memcpy(void *to, const void *from, unsigned long size);
__attribute__((noinline)) void copy(const void *from) {
    char here[64]; memcpy(here, from, 64); __asm__ volatile("" :: "r"(here) : "memory");
}
void outer(const void *from) { copy(from); __asm__ volatile(""); }
"""
WAITS = """
extern long syscall(long number, ...);
extern int pthread_create(unsigned long *, const void *, void *(*)(void *), void *);
static int left, right;
__attribute__((noinline)) void wait_for(int *word) {
    syscall(202, word, 128, 0, 0, 0, 0); __asm__ volatile("");
}
__attribute__((noinline)) void *second(void *nothing) {
    wait_for(&right); left = 1; syscall(202, &left, 129, 1, 0, 0, 0); return 0;
}
void first(void) {
    unsigned long thread; pthread_create(&thread, 0, second, 0);
    wait_for(&left); right = 1; syscall(202, &right, 129, 1, 0, 0, 0);
}
"""

SLEEPS = """
extern long syscall(long number, ...);
__attribute__((noinline)) void sleep_for(long seconds) {
    long duration[2] = {seconds, 0};
    syscall(35, duration, 0); __asm__ volatile("");
}
void sleeper(long seconds) { sleep_for(seconds); __asm__ volatile(""); }
"""

KEEPING = """
    53                  push rbx
    55                  push rbp
    48 89 e5            mov rbp, rsp
    48 83 e4 f0         and rsp, 0xfffffffffffffff0
    48 31 db            xor rbx, rbx
    ff d7               call rdi
    c9                  leave
    5b                  pop rbx
    c3                  ret
"""
"""Calls what it is given, from a frame whose size only rbp tells; destroys rbx meanwhile."""


def machine_code(listing):
    return b"".join(bytes.fromhex(line.split("   ", 1)[0]) for line in lines_of(listing))


def lines_of(listing):
    return [line.strip() for line in listing.strip().splitlines()]


def test_the_code_is_what_its_assembly_says():
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    lines = [line.split("   ", 1)[1].strip() for line in lines_of(KEEPING)]
    assert lines == [
        f"{instruction.mnemonic} {instruction.op_str}".strip()
        for instruction in disassembler.disasm(machine_code(KEEPING), 0)
    ]


def functions(trace):
    """The functions of a trace, those of the platform marked; without calls from Python."""
    return [
        f"[{entry.frame.kind.value}] {symbol.display_name}"
        if entry.frame.kind is not FrameKind.GUEST
        else symbol.display_name
        for entry in trace
        for symbol in entry.symbols
    ]


@pytest.fixture(
    params=[(machine, unwinder) for machine in machine_names() for unwinder in UNWINDERS],
    ids="-".join,
)
def traced(request):
    machine, unwinder = request.param
    plugins = ["region", "signals", *UNWINDERS[unwinder], "path", "tlibc"]
    with assemble(plugins, machine=machine) as platform:
        yield platform


def test_a_bad_pointer_given_to_memcpy_is_traced_to_who_gave_it(traced, compile_image):
    image = traced.load(compile_image("copies", COPIES, *WITH_FRAME_POINTERS))

    with pytest.raises(GuestKilled) as caught:
        image.call("outer", 0x10)

    trace = caught.value.backtrace
    assert functions(trace) == ["[platform] memcpy", "copy", "outer"]
    assert trace[0].frame.is_exact
    assert trace[-1].frame.kind is FrameKind.TRANSITION
    assert trace[-1].frame.end_reason is None


def test_tasks_that_wait_for_each_other_are_traced_to_their_start(traced, compile_image):
    image = traced.load(compile_image("waits", WAITS, *WITH_FRAME_POINTERS))

    with pytest.raises(DeadlockError) as caught:
        image.call("first")

    main, other = caught.value.stuck
    assert "futex" in main.waits_for
    assert "futex" in other.waits_for
    for task, caller in ((main, "first"), (other, "second")):
        door, *callers = functions(task.backtrace)
        # syscall() itself, or what it jumps to where this system call needs no instruction.
        assert door in ("[platform] syscall", "[host] __syscall_futex")
        assert callers == ["wait_for", caller]
        assert task.backtrace[-1].frame.end_reason is None


def test_another_tasks_trace_can_be_asked_for_while_it_waits(traced, compile_image):
    image = traced.load(compile_image("sleeps", SLEEPS, *WITH_FRAME_POINTERS))
    task = traced.tasks.start(lambda: image.call("sleeper", 1000), name="sleeper")
    traced.tasks.yield_()

    assert functions(traced.backtrace(task)) == ["[platform] syscall", "sleep_for", "sleeper"]
    assert traced.backtrace() == ()


def test_code_without_frame_pointers_is_seen_behind_placed_code(any_platform, compile_image):
    image = any_platform.load(compile_image("bare", COPIES, *FLAGS, "-fomit-frame-pointer"))

    with pytest.raises(GuestKilled) as caught:
        image.call("outer", 0x10)

    assert functions(caught.value.backtrace) == ["[platform] memcpy", "copy", "outer"]


def test_an_exception_passes_through_placed_code_with_the_callers_registers(
    any_platform, cpp_library, compile_cpp
):
    code = machine_code(KEEPING)
    call_through = CFunction(
        "void call_through(void (*function)(void))", lambda function: None, machine_code=code
    )
    any_platform.namespace.provide("test", call_through)
    any_platform.load(cpp_library)
    image = any_platform.load(compile_cpp("through_placed"))

    assert image.call("catches", 7) == 7 * 31 + 42


def test_a_kill_inside_placed_code_runs_the_destructors_behind_it(
    any_platform, cpp_library, compile_cpp
):
    load = CFunction(
        "long call_through(void *address)",
        lambda address: None,
        machine_code=bytes.fromhex("488b07 c3"),
        assembly="mov rax, qword ptr [rdi]; ret",
    )
    any_platform.namespace.provide("test", load)
    any_platform.load(cpp_library)
    image = any_platform.load(compile_cpp("through_placed"))

    caught = any_platform.catch_unwind(image.call, "cleans", 0x10)

    assert functions(caught.killed.backtrace)[0] == "[platform] call_through"
    assert any_platform.machine.memory.read_u32(image.symbols["cleaned"]) == 1


def test_a_kill_passes_through_placed_code_that_called_python(
    any_platform, cpp_library, compile_cpp
):
    code = machine_code(KEEPING)
    call_through = CFunction(
        "long call_through(void (*function)(void))", lambda function: None, machine_code=code
    )
    any_platform.namespace.provide("test", call_through)
    any_platform.load(cpp_library)
    image = any_platform.load(compile_cpp("through_placed"))
    killer = CFunction(
        "void killer(void)", lambda: any_platform.resume_unwind(KillRequested()), reenters=True
    )

    caught = any_platform.catch_unwind(image.call, "cleans", any_platform.export(killer))

    assert caught.reason == KillRequested()
    names = ["[host] killer", "[platform] call_through", "cleans"]
    assert functions(caught.killed.backtrace)[:3] == names
    assert any_platform.machine.memory.read_u32(image.symbols["cleaned"]) == 1


def test_a_register_stored_in_the_frame_is_found_there():
    # sub rsp, 16; mov [rsp + 8], rbx; ret
    rows = rows_of(bytes.fromhex("4883ec10 48895c2408 c3"))

    assert rows[9].row.rules[RBX].value == -16
    assert RBX not in rows[4].row.rules


def test_a_register_stored_on_one_of_two_ways_is_taken_for_kept():
    # sub rsp, 16; test al, al; je over; mov [rsp + 8], rbx; over: ret
    rows = rows_of(bytes.fromhex("4883ec10 84c0 7405 48895c2408 c3"))

    assert rows[13].row.cfa_offset == 24
    assert RBX not in rows[13].row.rules


def test_registers_are_recovered_from_where_the_code_saved_them():
    rows = rows_of(machine_code(KEEPING))
    inside = rows[12].row

    assert (inside.cfa_register, inside.cfa_offset) == (RBP, 24)
    saved = {RETURN_ADDRESS_COLUMN: -8, RBX: -16, RBP: -24}
    assert {number: rule.value for number, rule in inside.rules.items()} == saved
    assert {rule.kind for rule in inside.rules.values()} == {RuleKind.AT_CFA_OFFSET}
    at_the_return = rows[16].row
    assert (at_the_return.cfa_register, at_the_return.cfa_offset) == (RSP, 8)
    assert list(at_the_return.rules) == [RETURN_ADDRESS_COLUMN]


@pytest.mark.parametrize(
    ("code", "offset", "depth"),
    [
        pytest.param("84c0 7401 50 c3", 5, None, id="paths that differ meet"),
        pytest.param("4829c4 c3", 3, None, id="a stack pointer less a register"),
        pytest.param("c8100000 c3", 4, None, id="enter"),
        pytest.param("55 4889e5 c8100000 c3", 8, None, id="enter with a frame set up"),
        pytest.param("6650 c3", 2, None, id="half a word pushed"),
        pytest.param("84c0 7402 50 58 c3", 6, 8, id="paths that agree meet"),
        pytest.param("488d6424e8 c3", 5, 32, id="lea rsp, [rsp - 0x18]"),
        pytest.param("9c 6a00 ff30 c3", 5, 32, id="pushfq, an immediate, a word of memory"),
        pytest.param("55 4889e5 4883ec40 4889ec c3", 11, 16, id="mov rsp, rbp"),
        pytest.param("53 e801000000 c3 c3", 7, 8, id="a part that another one calls"),
        pytest.param("53 e801000000 c3 c3", 6, 16, id="behind an inner call"),
        pytest.param("eb01 50 c3", 3, 8, id="what is jumped over does not count"),
    ],
)
def test_the_depth_of_the_stack_is_known_where_it_can_be(code, offset, depth):
    row = rows_of(bytes.fromhex(code))[offset].row

    assert (None if row is None else row.cfa_offset) == depth


def test_bytes_that_are_no_code_have_no_rows():
    assert rows_of(b"\x06\x06") == rows_of(b"") == {}
    assert list(rows_of(bytes.fromhex("eb70 90"))) == [0]
