"""Stopping guest code from outside: another thread, Ctrl-C, any signal handler."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from theseus_kit.errors import GuestInterrupted
from theseus_kit.values.memory import PAGE_SIZE, Protection

from .later import later

LOOP = "eb fe"  # jmp $
MEMORY_LOOP = "48830701 ebfa"  # add qword ptr [rdi], 1; jmp back


@contextmanager
def sigint_after(seconds: float) -> Iterator[None]:
    """Send this process SIGINT; where it comes too early, that is inside of the block, too."""
    thread = later(seconds, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize("code", [LOOP, MEMORY_LOOP])
def test_another_thread_interrupts_an_endless_loop(guest, code) -> None:
    for _ in range(3):
        thread = later(0.02, guest.machine.interrupt)
        with pytest.raises(GuestInterrupted):
            guest.run(code, guest.data)
        thread.join()
    assert guest.run("488d4701 c3", 1) == 2


def test_an_interrupt_while_nothing_runs_does_nothing(guest) -> None:
    guest.machine.interrupt()
    assert guest.run("488d4701 c3", 1) == 2


def test_an_interrupt_reaches_guest_code_that_only_calls_exports(guest) -> None:
    export = guest.machine.export(lambda: 0, 0)
    thread = later(0.02, guest.machine.interrupt)
    with pytest.raises(GuestInterrupted):
        guest.run("57 ff1424 ebfb", export)  # push rdi; call [rsp]; jmp back
    thread.join()


def test_an_interrupt_reaches_guest_code_below_an_export(guest) -> None:
    machine = guest.machine
    loop = guest.code(LOOP)
    export = machine.export(lambda: machine.call(loop), 0, reenters=True)
    thread = later(0.02, machine.interrupt)
    with pytest.raises(GuestInterrupted):
        machine.call(export)
    thread.join()
    assert machine.call(guest.code("c3")) >= 0


LOOPS = {
    "computing": lambda guest: guest.code(LOOP),
    "storing": lambda guest: guest.code(MEMORY_LOOP),
    # push rsi; call [rsp]; jmp back
    "calling exports": lambda guest: guest.code("56 ff1424 ebfb"),
    # mov eax, 39; syscall; jmp back
    "making system calls": lambda guest: guest.code("b827000000 0f05 ebf7"),
    # ud2; jmp back
    "faulting": lambda guest: guest.code("0f0b ebfc"),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_c_stops_an_endless_loop(guest, loop) -> None:
    machine = guest.machine

    def skip(context) -> None:
        context.registers.rip += 2

    machine.set_handlers(skip, lambda *_: 0)
    export = machine.export(lambda: 0, 0)
    code = LOOPS[loop](guest)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), sigint_after(0.02):
            machine.call(code, (guest.data, export))
    assert guest.run("488d4701 c3", 1) == 2


def test_ctrl_c_while_pages_are_filled_is_not_lost(guest) -> None:
    guest.memory.map(guest.free, 1 << 30, guest.memory and 3)
    # mov rax, rdi; mov rcx, rsi; mov dl, [rax]; add rax, 4096; loop; jmp start
    code = guest.code("4889f8 4889f1 8a10 480500100000 e2f6 ebee")
    with pytest.raises(KeyboardInterrupt), sigint_after(0.05):
        guest.machine.call(code, (guest.free, 100_000))
    assert guest.run("488d4701 c3", 1) == 2


def test_a_signal_handler_that_returns_lets_the_guest_go_on(guest) -> None:
    ticks = []
    previous = signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    thread = later(0.4, guest.machine.interrupt)
    try:
        with pytest.raises(GuestInterrupted):
            guest.run(MEMORY_LOOP, guest.data)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        thread.join()
    assert len(ticks) >= 3
    assert guest.memory.read_u64(guest.data) > 1000


def test_other_threads_run_while_guest_code_does(guest) -> None:
    counts = []
    thread = threading.Thread(target=lambda: counts.append(sum(range(10_000))))
    stopper = later(0.1, guest.machine.interrupt)
    thread.start()
    with pytest.raises(GuestInterrupted):
        guest.run(LOOP)
    thread.join()
    stopper.join()
    assert counts


def test_a_finaliser_that_runs_inside_an_export_sees_that_it_must_not_call(guest) -> None:
    machine = guest.machine
    seen = []

    class Dropped:
        def __del__(self) -> None:
            seen.append(machine.can_call)

    def collects() -> int:
        cycle = Dropped()
        cycle.itself = cycle
        del cycle
        gc.collect()
        return 0

    machine.call(machine.export(collects, 0))
    machine.call(machine.export(collects, 0, reenters=True))
    assert seen == [False, True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_runs_guest_code_and_can_be_interrupted(guest) -> None:
    add = guest.code("488d0437 c3")
    assert guest.machine.call(add, (1, 2)) == 3
    loop = guest.code(LOOP)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            later(0.02, guest.machine.interrupt)
            try:
                guest.machine.call(loop)
            except GuestInterrupted:
                status = 0 if guest.machine.call(add, (3, 4)) == 7 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert guest.machine.call(add, (5, 6)) == 11


def test_a_stop_while_pages_leave_the_tlb_changes_no_register(guest) -> None:
    machine, memory, pages = guest.machine, guest.memory, guest.free
    size = 200 * PAGE_SIZE  # it takes a while then
    memory.map(pages, size, Protection.READ_WRITE)
    allowed = [Protection.READ, Protection.READ_WRITE]

    def protect(number, *_) -> int:
        allowed.reverse()
        memory.protect(pages, size, allowed[0])
        return 0

    machine.set_handlers(lambda _: None, protect)
    machine.set_preemption(lambda: None)
    ended = threading.Event()

    def stop_again_and_again() -> None:
        while not ended.is_set():
            machine.preempt()
            time.sleep(0)

    thread = threading.Thread(target=stop_again_and_again)
    thread.start()
    try:
        # push rbx; mov ebx, edi
        # again: mov eax, 11; syscall; test rax, rax; jne done; mov rdx, rsi; mov ecx, 200
        # touch: mov al, [rdx]; add rdx, 4096; dec ecx; jne touch
        #        xor eax, eax; dec ebx; jne again
        # done:  pop rbx; ret
        loop = "b80b000000 0f05 4885c0 751b 4889f2 b9c8000000"
        touch = "8a02 4881c200100000 ffc9 75f3"
        result = guest.run(f"53 89fb {loop} {touch} 31c0 ffcb 75d9 5b c3", 2_000, pages)
    finally:
        ended.set()
        thread.join()
    assert result == 0
