"""Faults of the guest come to its handler, all others to whoever had them before."""

from __future__ import annotations

import signal

import pytest

from theseus_kit.values.memory import Protection

CRASH = "import ctypes; ctypes.string_at(0x18)\n"
GUEST_FAULT = """
seen = []
def skip(context):
    seen.append(context.page_fault.accessed_address)
    context.registers.rip += 3
machine.set_handlers(skip, lambda *words: 0)
machine.call(load, (0x18,))
assert seen == [0x18], seen
print("guest", flush=True)
"""


def test_a_fault_of_the_host_s_ends_the_process_as_it_would_have(run) -> None:
    done = run(GUEST_FAULT + CRASH)
    assert done.stdout == "guest\n"
    assert done.returncode == -signal.SIGSEGV


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_of_the_host_s_is_faulthandler_s(run, when) -> None:
    enable = "import faulthandler; faulthandler.enable()\n"
    program = enable + GUEST_FAULT if when == "before" else GUEST_FAULT + enable
    done = run(program + GUEST_FAULT + CRASH)
    assert done.stdout.count("guest\n") == 2
    assert "Fatal Python error: Segmentation fault" in done.stderr
    assert done.stderr.count("Fatal Python error") == 1
    assert done.returncode == -signal.SIGSEGV


def test_faulthandler_may_be_switched_on_and_off_again_and_again(run) -> None:
    done = run(
        "import faulthandler\n"
        "for _ in range(30):\n"
        + "".join(f"    {line}\n" for line in GUEST_FAULT.splitlines())
        + "    faulthandler.enable()\n"
        "    machine.call(load, (0x18,))\n"
        "    faulthandler.disable()\n"
        "    machine.call(load, (0x18,))\n"
    )
    assert done.stdout.count("guest\n") == 30, done.stderr
    assert done.returncode == 0


def test_a_prepared_call_notices_a_handler_installed_over_ours_after_a_pause(run) -> None:
    done = run(
        GUEST_FAULT + "prepared = machine.prepare_call(load, (0x18,))\n"
        "prepared()\n"
        "import faulthandler, time\n"
        "faulthandler.enable()\n"
        "end = time.process_time() + 0.1\n"
        "while time.process_time() < end: pass\n"
        "prepared()\n"
        "assert len(seen) == 3\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_signal_that_somebody_sends_is_not_the_guest_s(run) -> None:
    done = run(
        "import os, signal\n"
        "machine.set_handlers(lambda context: print('guest'), lambda *words: 0)\n"
        "send = machine.export(lambda: os.kill(os.getpid(), signal.SIGSEGV), 0)\n"
        "machine.call(send)\n"
    )
    assert done.stdout == ""
    assert done.returncode == -signal.SIGSEGV


def test_a_fault_inside_an_export_is_the_host_s(run) -> None:
    done = run(
        "import ctypes\n"
        "machine.set_handlers(lambda context: print('guest'), lambda *words: 0)\n"
        "machine.call(machine.export(lambda: ctypes.string_at(0x18), 0))\n"
    )
    assert done.stdout == ""
    assert done.returncode == -signal.SIGSEGV


def test_a_python_handler_of_a_fatal_signal_is_passed_on_to(run) -> None:
    done = run(
        "import os, signal, time\n"
        "signal.signal(signal.SIGFPE, lambda *_: print('mine', flush=True))\n"
        "machine.set_handlers(lambda context: print('guest', flush=True) or skip(context),"
        " lambda *words: 0)\n"
        "def skip(context): context.registers.rip += 2\n"
        "machine.call(code('31c9 f7f1 c3'))  # xor ecx, ecx; div ecx\n"
        "os.kill(os.getpid(), signal.SIGFPE)\n"
    )
    assert done.stdout == "guest\nmine\n", done.stderr
    assert done.returncode == 0


def test_interpreter_exit_is_uneventful_while_another_thread_runs_guest_code(run) -> None:
    done = run(
        "import threading, time\n"
        "threading.Thread(target=machine.call, args=(code('ebfe'),), daemon=True).start()\n"
        "time.sleep(0.1)\n"
        "print('end')\n"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)


def test_interpreter_exit_is_uneventful_inside_guest_code(run) -> None:
    done = run("machine.call(machine.export(lambda: sys.exit(7), 0))\n")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 7)


def test_a_stack_overflow_of_the_guest_s_is_the_guest_s(native) -> None:
    memory, stack = native.memory, native.memory.territory.start
    memory.unmap(stack, 0x1000)
    leave = native.place_code(bytes.fromhex("c3"))
    # mov [rdi], rsp; next: push rax; jmp next
    overflow = native.place_code(bytes.fromhex("488927 50 ebfd"))
    seen = []

    def back(context) -> None:
        seen.append(context.page_fault.accessed_address)
        context.registers.rsp = memory.read_u64(kept)
        context.registers.rip = leave

    kept = memory.territory.start + 0x20000
    memory.map(kept, 0x1000, Protection.READ_WRITE)
    native.set_handlers(back, lambda *_: 0)
    native.call(overflow, (kept,))
    assert seen == [stack + 0xFF8]
