"""What is installed for a signal, and what is blocked: sigaction, masks, sets."""

import errno
import struct

import pytest

from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import ExceptionCategory, KilledByException

SIGILL, SIGSEGV = 4, 11
SA_SIGINFO, SA_NODEFER, SA_RESETHAND = 4, 0x40000000, 0x80000000
SIG_DFL, SIG_IGN = 0, 1
RIP = 16

# A routine faults and returns what rax is then.
UD2 = "0f0b c3"


def test_sigaction_returns_what_was_installed_before(c, signals):
    signals.install(SIGSEGV, 0x1234, SA_SIGINFO | SA_RESETHAND, mask=0x40)
    old = c.block(bytes(152))

    assert c.sigaction(SIGSEGV, 0, old) == 0

    handler, mask, flags, _ = struct.unpack("<QQ120xi4xQ", c.memory.read(old, 152))
    assert (handler, mask, flags & 0xFFFFFFFF) == (0x1234, 0x40, SA_SIGINFO | SA_RESETHAND)


def test_the_system_call_and_the_c_function_share_the_actions(c, signals):
    signals.install(SIGSEGV, 0x1234, mask=0x40)
    old = c.block(bytes(32))

    assert c.syscall_(13, SIGSEGV, 0, old, 8) == 0

    assert struct.unpack("<QQQQ", c.memory.read(old, 32)) == (0x1234, SA_SIGINFO, 0, 0x40)
    assert c.syscall_(13, SIGSEGV, 0, old, 16) == -errno.EINVAL


@pytest.mark.parametrize("signal", [0, 32, 33, 65, -1])
def test_a_number_that_is_no_signal_is_refused(c, signal):
    assert c.sigaction(signal, 0, 0) == (1 << 64) - 1
    assert c.errno == errno.EINVAL


@pytest.mark.parametrize("signal", [9, 19])
def test_kill_and_stop_cannot_be_handled(c, signals, signal):
    assert signals.install(signal, 0x1234) == (1 << 64) - 1


def test_a_handler_to_be_reset_runs_once(c, signals):
    handler = signals.skipping(2)
    signals.install(SIGILL, handler.address, SA_SIGINFO | SA_RESETHAND)
    routine = signals.code(UD2)
    c.machine.call(routine)

    with pytest.raises(GuestKilled) as killed:
        c.machine.call(routine)

    assert killed.value.reason == KilledByException(6)
    assert len(handler.seen) == 1


@pytest.mark.parametrize("disposition", [SIG_DFL, SIG_IGN])
def test_an_exception_whose_signal_is_not_handled_kills(c, signals, disposition):
    signals.install(SIGILL, signals.skipping(2).address)
    signals.install(SIGILL, disposition)

    with pytest.raises(GuestKilled):
        c.machine.call(signals.code(UD2))


def test_an_exception_in_its_own_handler_kills_unless_it_is_not_deferred(c, signals):
    routine = signals.code(UD2)
    depth = []

    def edit(handler, ucontext):
        depth.append(len(depth))
        if len(depth) == 1:
            c.machine.call(routine)
        handler.set(ucontext, RIP, handler.get(ucontext, RIP) + 2)

    signals.install(SIGILL, signals.handler(edit).address, SA_SIGINFO | SA_NODEFER)
    c.machine.call(routine)
    assert depth == [0, 1]

    depth.clear()
    signals.install(SIGILL, signals.handler(edit).address, SA_SIGINFO)
    with pytest.raises(GuestKilled):
        c.machine.call(routine)


def test_the_mask_is_the_actions_during_the_handler_and_the_frames_after(c, signals):
    current, masks = c.block(bytes(8)), []

    def mask():
        c.sigprocmask(0, 0, current)
        return c.memory.read_u64(current)

    def edit(handler, ucontext):
        masks.append(mask())
        handler.set(ucontext, RIP, handler.get(ucontext, RIP) + 2)
        c.memory.write_u64(ucontext + 296, 0x2)

    signals.install(SIGILL, signals.handler(edit).address, mask=1 << 9)
    c.machine.call(signals.code(UD2))

    assert masks == [1 << 9 | 1 << SIGILL - 1]
    assert mask() == 0x2


def test_a_frame_s_mask_cannot_block_kill_or_stop(c, signals):
    def edit(handler, ucontext):
        handler.set(ucontext, RIP, handler.get(ucontext, RIP) + 2)
        c.memory.write_u64(ucontext + 296, (1 << 64) - 1)

    signals.install(SIGILL, signals.handler(edit).address)
    c.machine.call(signals.code(UD2))

    current = c.block(bytes(8))
    c.sigprocmask(0, 0, current)
    assert c.memory.read_u64(current) == (1 << 64) - 1 - (1 << 8) - (1 << 18)


def test_sigprocmask_blocks_unblocks_and_never_blocks_kill(c):
    chosen, old = c.block(struct.pack("<Q", (1 << 64) - 1)), c.block(bytes(8))

    assert c.sigprocmask(0, chosen, 0) == 0
    assert c.sigprocmask(1, c.block(struct.pack("<Q", 1)), old) == 0
    assert c.memory.read_u64(old) == (1 << 64) - 1 - (1 << 8) - (1 << 18) - (3 << 31)
    assert c.sigprocmask(0, 0, old) == 0
    assert not c.memory.read_u64(old) & 1
    assert c.sigprocmask(9, chosen, 0) == (1 << 64) - 1


def test_a_new_task_has_its_creator_s_mask_and_no_pending_signals(c):
    tasks, mask, current = c.platform.tasks, c.block(struct.pack("<Q", 1 << 9)), c.block(bytes(8))
    c.sigprocmask(0, mask, 0)
    c("raise", 10)
    seen = []

    def ask():
        c.sigprocmask(0, 0, current)
        seen.append(c.memory.read_u64(current))
        c.sigpending(current)
        seen.append(c.memory.read_u64(current))

    tasks.join(tasks.start(ask))

    assert seen == [1 << 9, 0]
    c.sigpending(current)
    assert c.memory.read_u64(current) == 1 << 9


def test_signal_sets_hold_what_is_put_in(c):
    signals = c.block(b"\xff" * 128)
    c.sigemptyset(signals)
    c.sigaddset(signals, SIGSEGV)

    assert [c.sigismember(signals, n) for n in (SIGILL, SIGSEGV)] == [0, 1]
    c.sigfillset(signals)
    c.sigdelset(signals, SIGSEGV)
    assert [c.sigismember(signals, n) for n in (SIGILL, SIGSEGV)] == [1, 0]


def test_somebody_elses_handler_keeps_its_slot(c, signals):
    taken = []

    def mine(context):
        taken.append(context.vector)
        context.registers.rip += 2
        return True

    task = c.platform.tasks.current
    c.platform.hooks.exception_register(
        task=task, category=ExceptionCategory.ILLEGAL_INSTRUCTION, handler=mine
    )
    handler = signals.skipping(2)
    signals.install(SIGILL, handler.address)

    c.machine.call(signals.code(UD2))

    assert taken == [6]
    assert not handler.seen
