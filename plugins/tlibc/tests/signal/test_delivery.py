"""Exceptions as signals: what a handler sees, what its edits do, and ways to leave it."""

import struct

import pytest

from theseus_kit.values.memory import MapRequest, Protection

SIGILL, SIGBUS, SIGFPE, SIGSEGV = 4, 7, 8, 11
SA_SIGINFO, SA_NODEFER = 4, 0x40000000
RDI, RIP, ERR, TRAPNO, CR2 = 8, 16, 19, 20, 22

# A routine faults and returns what rax is then.
UD2 = "0f0b c3"
DIVIDE = "31c9 31d2 b805000000 f7f1 c3"  # xor ecx, ecx; xor edx, edx; mov eax, 5; div ecx; ret
LOAD = "488b07 c3"  # mov rax, [rdi]; ret
STORE = "488907 c3"  # mov [rdi], rax; ret
HALT = "f4 c3"


def test_a_handler_sees_the_registers_and_its_edits_are_what_the_guest_goes_on_with(c, signals):
    handler = signals.skipping(2)
    signals.install(SIGILL, handler.address)
    routine = signals.code(UD2)

    assert c.machine.call(routine, (1, 2)) == 77

    (seen,) = handler.seen
    assert seen["signal"] == seen["si_signo"] == SIGILL
    assert seen["si_addr"] == seen["gregs"][RIP] == routine
    assert seen["gregs"][RDI] == 1
    assert seen["gregs"][TRAPNO] == 6


@pytest.mark.parametrize(
    ("routine", "size", "signal", "trap"),
    [(UD2, 2, SIGILL, 6), (DIVIDE, 2, SIGFPE, 0), (HALT, 1, SIGSEGV, 13)],
)
def test_each_exception_is_the_signal_linux_makes_of_it(c, signals, routine, size, signal, trap):
    handler = signals.skipping(size)
    for number in (SIGILL, SIGFPE, SIGSEGV, SIGBUS):
        signals.install(number, handler.address)

    assert c.machine.call(signals.code(routine)) == 77

    assert [(s["signal"], s["gregs"][TRAPNO]) for s in handler.seen] == [(signal, trap)]


def test_a_divide_error_is_an_integer_division_by_zero(c, signals):
    handler = signals.skipping(2)
    signals.install(SIGFPE, handler.address)

    c.machine.call(signals.code(DIVIDE))

    assert handler.seen[0]["si_code"] == 1  # FPE_INTDIV


def test_a_page_that_is_not_mapped_is_a_map_error_at_the_exact_byte(c, signals):
    handler = signals.skipping(3)
    signals.install(SIGSEGV, handler.address)

    c.machine.call(signals.code(LOAD), (0x1234,))

    (seen,) = handler.seen
    assert (seen["si_code"], seen["si_addr"], seen["gregs"][CR2]) == (1, 0x1234, 0x1234)
    assert seen["gregs"][ERR] == 4  # user, read, not present


def test_a_page_that_forbids_it_is_an_access_error(c, signals):
    handler = signals.skipping(3)
    signals.install(SIGSEGV, handler.address)
    page = signals.readable()

    c.machine.call(signals.code(STORE), (page + 8,))

    (seen,) = handler.seen
    assert (seen["si_code"], seen["si_addr"]) == (2, page + 8)
    assert seen["gregs"][ERR] == 7  # user, write, present


def test_a_general_protection_fault_has_no_address(c, signals):
    handler = signals.skipping(1)
    signals.install(SIGSEGV, handler.address)

    c.machine.call(signals.code(HALT))

    assert (handler.seen[0]["si_code"], handler.seen[0]["si_addr"]) == (0x80, 0)


def test_a_context_links_to_no_other(c, signals):
    handler = signals.skipping(2)
    signals.install(SIGILL, handler.address)

    c.machine.call(signals.code(UD2))

    assert handler.seen[0]["uc_link"] == 0


def test_the_handler_fires_again_and_again(c, signals):
    handler = signals.skipping(2)
    signals.install(SIGILL, handler.address)
    routine = signals.code(UD2)

    assert [c.machine.call(routine) for _ in range(20)] == [77] * 20
    assert len(handler.seen) == 20


def test_a_handler_that_mends_the_cause_has_the_instruction_run_again(c, signals):
    page = c.platform.hooks.memory_map(request=MapRequest(4096, Protection.NONE)).base

    def allow(handler, ucontext):
        c.platform.hooks.memory_protect(address=page, size=4096, protection=Protection.READ_WRITE)

    handler = signals.handler(allow)
    signals.install(SIGSEGV, handler.address)

    assert c.machine.call(signals.code(LOAD), (page,)) == 0
    assert len(handler.seen) == 1


def test_all_registers_flags_and_vectors_survive_a_handler_that_changes_nothing_else(c, signals):
    # Every register gets a value, xmm7 too; then ud2; then all are summed up into rax.
    registers = 14
    routine = c.machine.place_code(
        bytes.fromhex(
            "53 55 4154 4155 4156 4157"  # push rbx rbp r12 r13 r14 r15
            "66480f6eff"  # movq xmm7, rdi
            "bb01000000 b902000000 ba04000000 be08000000 bf10000000 bd20000000"
            "41b840000000 41b980000000 41ba00010000 41bb00020000 41bc00040000"
            "41bd00080000 41be00100000 41bf00200000"
            "f9"  # stc
            "0f0b"
            "b800000000 4811d8"  # mov eax, 0; adc rax, rbx: the carry counts
            "4801c8 4801d0 4801f0 4801f8 4801e8 4c01c0 4c01c8 4c01d0 4c01d8 4c01e0 4c01e8"
            "4c01f0 4c01f8 66480f7ef9 4801c8"  # …; movq rcx, xmm7; add rax, rcx
            "415f 415e 415d 415c 5d 5b c3"
        )
    )
    clobber = c.machine.place_code(bytes.fromhex("660feff6 660fefff c3"))  # pxor xmm6, xmm7

    def edit(handler, ucontext):
        handler.set(ucontext, RIP, handler.get(ucontext, RIP) + 2)
        c.machine.call(clobber)

    signals.install(SIGILL, signals.handler(edit).address)

    assert c.machine.call(routine, (1 << 40,)) == (1 << 40) + (1 << registers) - 1 + 1


def test_a_handler_may_leave_by_a_jump_and_never_return(c, signals):
    # outer(): saves rsp in [rdi]; ud2; (never here) …; the handler's jump lands at +8.
    cell = c.block(bytes(8))
    outer = signals.code("488927 0f0b f4f4f4 b82a000000 c3")
    jump = signals.code("488b27 ffe6")  # mov rsp, [rdi]; jmp rsi
    escape = c.machine.place_code(
        b"\x48\xbf" + struct.pack("<Q", cell) + b"\x48\xbe" + struct.pack("<Q", outer + 8)
        + b"\x48\xb8" + struct.pack("<Q", jump) + b"\xff\xe0"
    )  # fmt: skip
    signals.install(SIGILL, escape, SA_SIGINFO | SA_NODEFER)

    assert [c.machine.call(outer, (cell,)) for _ in range(100)] == [42] * 100
