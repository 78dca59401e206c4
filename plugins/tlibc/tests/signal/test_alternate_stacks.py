"""Where a signal's frame goes: the red zone, the alternate stack, and no room at all."""

import errno
import struct

import pytest

from theseus_kit.errors import GuestKilled

SIGILL = 4
SA_SIGINFO, SA_ONSTACK = 4, 0x08000000
RIP = 16

# A routine faults and returns what rax is then.
UD2 = "0f0b c3"


def test_the_red_zone_below_the_stack_pointer_is_kept(c, signals):
    routine = signals.code("48897c2480 48897c24f8 0f0b 488b442480 48034424f8 c3")
    # mov [rsp-128], rdi; mov [rsp-8], rdi; ud2; mov rax, [rsp-128]; add rax, [rsp-8]; ret
    signals.install(SIGILL, signals.skipping(2).address)

    assert c.machine.call(routine, (21,)) == 42


def test_the_frame_lies_on_the_alternate_stack_where_asked_and_is_aligned(c, signals):
    stack = c.block(bytes(16384))
    assert c.sigaltstack(c.block(struct.pack("<Qi4xQ", stack, 0, 16384)), 0) == 0
    handler = signals.skipping(2)
    routine = signals.code(UD2)

    signals.install(SIGILL, handler.address, SA_SIGINFO | SA_ONSTACK)
    c.machine.call(routine)
    signals.install(SIGILL, handler.address, SA_SIGINFO)
    c.machine.call(routine)

    on_it, off_it = handler.seen
    assert stack <= on_it["ucontext"] < stack + 16384
    assert not stack <= off_it["ucontext"] < stack + 16384
    for seen in handler.seen:
        assert seen["rsp"] % 16 == 8
        assert seen["ucontext"] == seen["rsp"] + 8


def test_sigaltstack_tells_the_old_stack_and_whether_it_is_in_use(c, signals):
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

    signals.install(SIGILL, signals.handler(edit).address, SA_SIGINFO | SA_ONSTACK)
    c.machine.call(signals.code(UD2))

    assert replies[:2] == [0, (stack, 1, 8192)]
    assert replies[2] == (1 << 64) - 1
    assert c.errno == errno.EPERM


@pytest.mark.parametrize(
    ("stack", "number"), [((0x1000, 0, 100), errno.ENOMEM), ((0x1000, 64, 9000), errno.EINVAL)]
)
def test_sigaltstack_refuses_a_small_stack_and_unknown_flags(c, stack, number):
    assert c.sigaltstack(c.block(struct.pack("<Qi4xQ", *stack)), 0) == (1 << 64) - 1
    assert c.errno == number


def test_no_room_for_the_frame_kills(c, signals):
    handler = signals.skipping(2)
    signals.install(SIGILL, handler.address, SA_SIGINFO | SA_ONSTACK)
    c.sigaltstack(c.block(struct.pack("<Qi4xQ", 0x5000, 0, 8192)), 0)

    with pytest.raises(GuestKilled):
        c.machine.call(signals.code(UD2))
    assert not handler.seen
