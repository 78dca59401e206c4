"""Signals that CPU exceptions raise: frames, masks, stacks, and ways to leave a handler."""

import errno
import struct

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.machine import machine_names
from theseus_kit.values.exceptions import ExceptionCategory, KilledByException
from theseus_kit.values.memory import MapRequest, Protection

SIGILL, SIGBUS, SIGFPE, SIGSEGV = 4, 7, 8, 11
SA_SIGINFO, SA_ONSTACK, SA_NODEFER, SA_RESETHAND = 4, 0x08000000, 0x40000000, 0x80000000
SIG_DFL, SIG_IGN = 0, 1
GREGS = 40
R8, RDI, RAX, RCX, RSP, RIP, EFL, ERR, TRAPNO, CR2 = 0, 8, 13, 14, 15, 16, 17, 19, 20, 22

# Each routine faults at its first instruction's end and returns what rax is then.
UD2 = "0f0b c3"
DIVIDE = "31c9 31d2 b805000000 f7f1 c3"  # xor ecx, ecx; xor edx, edx; mov eax, 5; div ecx; ret
LOAD = "488b07 c3"  # mov rax, [rdi]; ret
STORE = "488907 c3"  # mov [rdi], rax; ret
HALT = "f4 c3"


@pytest.fixture(params=machine_names())
def machine(request):
    return request.param


@pytest.fixture(params=["signals", "signals-persistent"])
def provider(request):
    """Either provider of exception handlers: C programs must not see which."""
    return request.param


@pytest.fixture
def platform(machine, provider):
    with assemble(["region", provider, "backtrace", "path", "tlibc"], machine=machine) as platform:
        yield platform


class Handler:
    """A signal handler in Python, called by the guest; it edits the frame as ``edit`` says."""

    def __init__(self, c, edit):
        self.c, self.edit, self.seen = c, edit, []
        self.address = c.machine.export(self.run, 3, reenters=True, name="handler")

    def run(self, signal, siginfo, ucontext):
        memory = self.c.memory
        number, error, code = struct.unpack("<iii", memory.read(siginfo, 12))
        self.seen.append(
            {
                "signal": signal,
                "si_signo": number,
                "si_errno": error,
                "si_code": code,
                "si_addr": memory.read_u64(siginfo + 16),
                "ucontext": ucontext,
                "gregs": struct.unpack("<23Q", memory.read(ucontext + GREGS, 184)),
                "rsp": self.c.machine.registers().rsp - 8,
            }
        )
        self.edit(self, ucontext)

    def set(self, ucontext, register, value):
        self.c.memory.write_u64(ucontext + GREGS + register * 8, value)

    def get(self, ucontext, register):
        return self.c.memory.read_u64(ucontext + GREGS + register * 8)

    def skip(self, size, rax=77):
        def edit(handler, ucontext):
            handler.set(ucontext, RIP, handler.get(ucontext, RIP) + size)
            handler.set(ucontext, RAX, rax)

        self.edit = edit
        return self


def skipping(c, size, rax=77):
    return Handler(c, None).skip(size, rax)


def install(c, signal, handler, flags=SA_SIGINFO, mask=0):
    act = c.block(struct.pack("<QQ120xi4xQ", handler, mask, flags - (flags >> 31 << 32), 0))
    return c.sigaction(signal, act, 0)


def code(c, text):
    return c.machine.place_code(bytes.fromhex(text))


def readable(c, protection=Protection.READ):
    return c.platform.hooks.memory_map(request=MapRequest(4096, protection)).base


def test_a_handler_sees_the_registers_and_its_edits_are_what_the_guest_goes_on_with(c):
    handler = skipping(c, 2)
    install(c, SIGILL, handler.address)
    routine = code(c, UD2)

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
def test_each_exception_is_the_signal_linux_makes_of_it(c, routine, size, signal, trap):
    handler = skipping(c, size)
    for number in (SIGILL, SIGFPE, SIGSEGV, SIGBUS):
        install(c, number, handler.address)

    assert c.machine.call(code(c, routine)) == 77

    assert [(s["signal"], s["gregs"][TRAPNO]) for s in handler.seen] == [(signal, trap)]


def test_a_divide_error_is_an_integer_division_by_zero(c):
    handler = skipping(c, 2)
    install(c, SIGFPE, handler.address)

    c.machine.call(code(c, DIVIDE))

    assert handler.seen[0]["si_code"] == 1  # FPE_INTDIV


def test_a_page_that_is_not_mapped_is_a_map_error_at_the_exact_byte(c):
    handler = skipping(c, 3)
    install(c, SIGSEGV, handler.address)

    c.machine.call(code(c, LOAD), (0x1234,))

    (seen,) = handler.seen
    assert (seen["si_code"], seen["si_addr"], seen["gregs"][CR2]) == (1, 0x1234, 0x1234)
    assert seen["gregs"][ERR] == 4  # user, read, not present


def test_a_page_that_forbids_it_is_an_access_error(c):
    handler = skipping(c, 3)
    install(c, SIGSEGV, handler.address)
    page = readable(c)

    c.machine.call(code(c, STORE), (page + 8,))

    (seen,) = handler.seen
    assert (seen["si_code"], seen["si_addr"]) == (2, page + 8)
    assert seen["gregs"][ERR] == 7  # user, write, present


def test_a_general_protection_fault_has_no_address(c):
    handler = skipping(c, 1)
    install(c, SIGSEGV, handler.address)

    c.machine.call(code(c, HALT))

    assert (handler.seen[0]["si_code"], handler.seen[0]["si_addr"]) == (0x80, 0)


def test_the_handler_fires_again_and_again(c):
    handler = skipping(c, 2)
    install(c, SIGILL, handler.address)
    routine = code(c, UD2)

    assert [c.machine.call(routine) for _ in range(20)] == [77] * 20
    assert len(handler.seen) == 20


def test_a_handler_that_mends_the_cause_has_the_instruction_run_again(c):
    page = c.platform.hooks.memory_map(request=MapRequest(4096, Protection.NONE)).base

    def allow(handler, ucontext):
        c.platform.hooks.memory_protect(address=page, size=4096, protection=Protection.READ_WRITE)

    handler = Handler(c, allow)
    install(c, SIGSEGV, handler.address)

    assert c.machine.call(code(c, LOAD), (page,)) == 0
    assert len(handler.seen) == 1


def test_all_registers_flags_and_vectors_survive_a_handler_that_changes_nothing_else(c):
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

    install(c, SIGILL, Handler(c, edit).address)

    assert c.machine.call(routine, (1 << 40,)) == (1 << 40) + (1 << registers) - 1 + 1


def test_the_red_zone_below_the_stack_pointer_is_kept(c):
    routine = code(c, "48897c2480 48897c24f8 0f0b 488b442480 48034424f8 c3")
    # mov [rsp-128], rdi; mov [rsp-8], rdi; ud2; mov rax, [rsp-128]; add rax, [rsp-8]; ret
    install(c, SIGILL, skipping(c, 2).address)

    assert c.machine.call(routine, (21,)) == 42


def test_the_frame_lies_on_the_alternate_stack_where_asked_and_is_aligned(c):
    stack = c.block(bytes(16384))
    assert c.sigaltstack(c.block(struct.pack("<Qi4xQ", stack, 0, 16384)), 0) == 0
    handler = skipping(c, 2)
    routine = code(c, UD2)

    install(c, SIGILL, handler.address, SA_SIGINFO | SA_ONSTACK)
    c.machine.call(routine)
    install(c, SIGILL, handler.address, SA_SIGINFO)
    c.machine.call(routine)

    on_it, off_it = handler.seen
    assert stack <= on_it["ucontext"] < stack + 16384
    assert not stack <= off_it["ucontext"] < stack + 16384
    for seen in handler.seen:
        assert seen["rsp"] % 16 == 8
        assert seen["ucontext"] == seen["rsp"] + 8


def test_sigaltstack_tells_the_old_stack_and_whether_it_is_in_use(c):
    stack = c.block(bytes(8192))
    old = c.block(bytes(24))
    c.sigaltstack(c.block(struct.pack("<Qi4xQ", stack, 0, 8192)), old)
    assert struct.unpack("<Qi4xQ", c.memory.read(old, 24)) == (0, 2, 0)
    replies = []

    def edit(handler, ucontext):
        handler.set(ucontext, RIP, handler.get(ucontext, RIP) + 2)
        replies.append(c.sigaltstack(0, old))
        replies.append(struct.unpack("<Qi4xQ", c.memory.read(old, 24)))
        replies.append(c.sigaltstack(c.block(struct.pack("<Qi4xQ", 0, 2, 0)), 0))

    install(c, SIGILL, Handler(c, edit).address, SA_SIGINFO | SA_ONSTACK)
    c.machine.call(code(c, UD2))

    assert replies[:2] == [0, (stack, 1, 8192)]
    assert replies[2] == (1 << 64) - 1
    assert c.errno == errno.EPERM


@pytest.mark.parametrize(
    ("stack", "number"), [((0x1000, 0, 100), errno.ENOMEM), ((0x1000, 64, 9000), errno.EINVAL)]
)
def test_sigaltstack_refuses_a_small_stack_and_unknown_flags(c, stack, number):
    assert c.sigaltstack(c.block(struct.pack("<Qi4xQ", *stack)), 0) == (1 << 64) - 1
    assert c.errno == number


def test_sigaction_returns_what_was_installed_before(c):
    install(c, SIGSEGV, 0x1234, SA_SIGINFO | SA_RESETHAND, mask=0x40)
    old = c.block(bytes(152))

    assert c.sigaction(SIGSEGV, 0, old) == 0

    handler, mask, flags, _ = struct.unpack("<QQ120xi4xQ", c.memory.read(old, 152))
    assert (handler, mask, flags & 0xFFFFFFFF) == (0x1234, 0x40, SA_SIGINFO | SA_RESETHAND)


def test_the_system_call_and_the_c_function_share_the_actions(c):
    install(c, SIGSEGV, 0x1234, mask=0x40)
    old = c.block(bytes(32))

    assert c.syscall_(13, SIGSEGV, 0, old, 8) == 0

    assert struct.unpack("<QQQQ", c.memory.read(old, 32)) == (0x1234, SA_SIGINFO, 0, 0x40)
    assert c.syscall_(13, SIGSEGV, 0, old, 16) == -errno.EINVAL


@pytest.mark.parametrize("signal", [0, 32, 33, 65, -1])
def test_a_number_that_is_no_signal_is_refused(c, signal):
    assert c.sigaction(signal, 0, 0) == (1 << 64) - 1
    assert c.errno == errno.EINVAL


@pytest.mark.parametrize("signal", [9, 19])
def test_kill_and_stop_cannot_be_handled(c, signal):
    assert install(c, signal, 0x1234) == (1 << 64) - 1


def test_a_handler_to_be_reset_runs_once(c):
    handler = skipping(c, 2)
    install(c, SIGILL, handler.address, SA_SIGINFO | SA_RESETHAND)
    routine = code(c, UD2)
    c.machine.call(routine)

    with pytest.raises(GuestKilled) as killed:
        c.machine.call(routine)

    assert killed.value.reason == KilledByException(6)
    assert len(handler.seen) == 1


@pytest.mark.parametrize("disposition", [SIG_DFL, SIG_IGN])
def test_an_exception_whose_signal_is_not_handled_kills(c, disposition):
    install(c, SIGILL, skipping(c, 2).address)
    install(c, SIGILL, disposition)

    with pytest.raises(GuestKilled):
        c.machine.call(code(c, UD2))


def test_an_exception_in_its_own_handler_kills_unless_it_is_not_deferred(c):
    routine = code(c, UD2)
    depth = []

    def edit(handler, ucontext):
        depth.append(len(depth))
        if len(depth) == 1:
            c.machine.call(routine)
        handler.set(ucontext, RIP, handler.get(ucontext, RIP) + 2)

    install(c, SIGILL, Handler(c, edit).address, SA_SIGINFO | SA_NODEFER)
    c.machine.call(routine)
    assert depth == [0, 1]

    depth.clear()
    install(c, SIGILL, Handler(c, edit).address, SA_SIGINFO)
    with pytest.raises(GuestKilled):
        c.machine.call(routine)


def test_the_mask_is_the_actions_during_the_handler_and_the_frames_after(c):
    current, masks = c.block(bytes(8)), []

    def mask():
        c.sigprocmask(0, 0, current)
        return c.memory.read_u64(current)

    def edit(handler, ucontext):
        masks.append(mask())
        handler.set(ucontext, RIP, handler.get(ucontext, RIP) + 2)
        c.memory.write_u64(ucontext + 296, 0x2)

    install(c, SIGILL, Handler(c, edit).address, mask=1 << 9)
    c.machine.call(code(c, UD2))

    assert masks == [1 << 9 | 1 << SIGILL - 1]
    assert mask() == 0x2


def test_sigprocmask_blocks_unblocks_and_never_blocks_kill(c):
    chosen, old = c.block(struct.pack("<Q", (1 << 64) - 1)), c.block(bytes(8))

    assert c.sigprocmask(0, chosen, 0) == 0
    assert c.sigprocmask(1, c.block(struct.pack("<Q", 1)), old) == 0
    assert c.memory.read_u64(old) == (1 << 64) - 1 - (1 << 8) - (1 << 18) - (3 << 31)
    assert c.sigprocmask(0, 0, old) == 0
    assert not c.memory.read_u64(old) & 1
    assert c.sigprocmask(9, chosen, 0) == (1 << 64) - 1


def test_signal_sets_hold_what_is_put_in(c):
    signals = c.block(b"\xff" * 128)
    c.sigemptyset(signals)
    c.sigaddset(signals, SIGSEGV)

    assert [c.sigismember(signals, n) for n in (SIGILL, SIGSEGV)] == [0, 1]
    c.sigfillset(signals)
    c.sigdelset(signals, SIGSEGV)
    assert [c.sigismember(signals, n) for n in (SIGILL, SIGSEGV)] == [1, 0]


def test_no_room_for_the_frame_kills(c):
    handler = skipping(c, 2)
    install(c, SIGILL, handler.address, SA_SIGINFO | SA_ONSTACK)
    c.sigaltstack(c.block(struct.pack("<Qi4xQ", 0x5000, 0, 8192)), 0)

    with pytest.raises(GuestKilled):
        c.machine.call(code(c, UD2))
    assert not handler.seen


def test_a_handler_may_leave_by_a_jump_and_never_return(c):
    # outer(): saves rsp in [rdi]; ud2; (never here) …; the handler's jump lands at +8.
    cell = c.block(bytes(8))
    outer = code(c, "488927 0f0b f4f4f4 b82a000000 c3")
    jump = code(c, "488b27 ffe6")  # mov rsp, [rdi]; jmp rsi
    escape = c.machine.place_code(
        b"\x48\xbf" + struct.pack("<Q", cell) + b"\x48\xbe" + struct.pack("<Q", outer + 8)
        + b"\x48\xb8" + struct.pack("<Q", jump) + b"\xff\xe0"
    )  # fmt: skip
    install(c, SIGILL, escape, SA_SIGINFO | SA_NODEFER)

    assert [c.machine.call(outer, (cell,)) for _ in range(100)] == [42] * 100


def test_somebody_elses_handler_keeps_its_slot(c):
    taken = []

    def mine(context):
        taken.append(context.vector)
        context.registers.rip += 2
        return True

    task = c.platform.tasks.current
    c.platform.hooks.exception_register(
        task=task, category=ExceptionCategory.ILLEGAL_INSTRUCTION, handler=mine
    )
    handler = skipping(c, 2)
    install(c, SIGILL, handler.address)

    c.machine.call(code(c, UD2))

    assert taken == [6]
    assert not handler.seen
