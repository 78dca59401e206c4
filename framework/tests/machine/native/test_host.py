"""What is the host's: its memory, its system calls, and what it must be to have the machine."""

from __future__ import annotations

import ctypes
import mmap
import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.errors import MemoryFaultError, UsageError
from theseus_kit.machine.native import NativeMachine, NativeOptions
from theseus_kit.machine.native.features import read_features
from theseus_kit.values.memory import AddressRange, Protection


@given(st.binary(min_size=1, max_size=10_000), st.integers(0, 4096))
def test_host_buffers_are_read_and_written_as_the_guest_s(data: bytes, offset: int) -> None:
    buffer = ctypes.create_string_buffer(len(data) + offset)
    address = ctypes.addressof(buffer) + offset
    with NativeMachine(NativeOptions(territory_gib=8)) as machine:
        machine.memory.write(address, data)
        assert machine.memory.read(address, len(data)) == data


def test_a_wild_pointer_outside_the_territory_is_an_error_not_a_crash(native) -> None:
    pages = mmap.mmap(-1, 3 * 4096)
    view = ctypes.c_char.from_buffer(pages)
    start = (ctypes.addressof(view) + 4095) & -4096
    libc = ctypes.CDLL(None)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    assert libc.mprotect(start + 4096, 4096, 0) == 0
    try:
        memory = native.memory
        assert memory.read(start, 4096) == bytes(4096)
        with pytest.raises(MemoryFaultError) as raised:
            memory.read(start + 4000, 200)
        assert raised.value.address == start + 4096
        with pytest.raises(MemoryFaultError):
            memory.write(start + 4090, b"0123456789")
        assert memory.read(start + 4090, 6) == bytes(6)
    finally:
        libc.mprotect(start + 4096, 4096, 3)
        del view
        pages.close()


@pytest.mark.parametrize("address", [0, 8, 1 << 46, (1 << 47) - 4, 1 << 63, (1 << 64) - 8])
def test_addresses_that_nobody_has_are_refused(native, address) -> None:
    with pytest.raises(MemoryFaultError):
        native.memory.read(address, 8)
    with pytest.raises(MemoryFaultError):
        native.memory.check(address, 8, Protection.READ_WRITE)


def test_the_program_s_own_code_cannot_be_written(native) -> None:
    address = ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value
    assert native.memory.read(address, 4)
    with pytest.raises(MemoryFaultError):
        native.memory.write(address, b"\x90")


def test_rewritten_system_calls_come_to_the_callback_like_others(ready_machine) -> None:
    calls = []
    with ready_machine(system_calls="rewrite") as machine:
        registers = []

        def answer(*words: int) -> int:
            calls.append(words)
            registers.append(machine.registers())
            assert not machine.can_call
            return 5

        machine.set_handlers(lambda context: None, answer)
        code = machine.memory.territory.start + 0x20000
        machine.memory.map(code, 0x1000, Protection.READ_WRITE)
        # mov eax, 9; mov r10, rcx; syscall; mov [rdi], rcx; ret
        machine.memory.write(code, bytes.fromhex("b809000000 4989ca 0f05 48890f c3"))
        machine.memory.protect(code, 0x1000, Protection.READ_EXECUTE)
        data = machine.memory.territory.start
        assert machine.rewrite_system_calls is not None
        machine.rewrite_system_calls([code + 8])
        for _ in range(3):
            assert machine.call(code, (data, 2, 3, 4, 5, 6)) == 5
        assert calls == [(9, data, 2, 3, 4, 5, 6)] * 3
        assert registers[0].rip == code + 8
        assert machine.memory.read_u64(data) == code + 10


def test_a_rewritten_system_call_may_be_re_entrant(ready_machine) -> None:
    """One that calls guest code, on another guest thread, with the first one's call waiting."""
    with ready_machine(system_calls="rewrite") as machine:
        start = machine.memory.territory.start
        stack = AddressRange.of_size(start + 0x40000, 1 << 16)
        machine.memory.map(stack.start, stack.size, Protection.READ_WRITE)
        other = machine.create_thread(stack)
        where = machine.place_code(bytes.fromhex("4889e0 c3"))  # mov rax, rsp
        seen = []

        def answer(number: int, *_: int) -> int:
            if number == 9:
                machine.select_thread(other)
                seen.append(machine.call(where) in stack)
            seen.append(machine.can_call)
            return 5

        machine.set_handlers(lambda context: None, answer, {9})
        code = start + 0x20000
        machine.memory.map(code, 0x1000, Protection.READ_WRITE)
        # mov eax, 9; syscall; mov eax, 8; syscall; mov rax, rsp; ret
        text = "b809000000 0f05 b808000000 0f05 4889e0 c3"
        machine.memory.write(code, bytes.fromhex(text))
        machine.memory.protect(code, 0x1000, Protection.READ_EXECUTE)
        machine.rewrite_system_calls([code + 5, code + 12])
        assert machine.call(code) not in stack
        assert seen == [True, True, False]


def test_only_a_system_call_instruction_is_rewritten(ready_machine) -> None:
    with ready_machine(system_calls="rewrite") as machine:
        assert machine.rewrite_system_calls is not None
        with pytest.raises(Exception, match="no syscall instruction"):
            machine.rewrite_system_calls([machine.memory.territory.start])


def test_a_breakpoint_of_the_guest_s_own_stays_one_where_calls_are_rewritten(ready_machine) -> None:
    with ready_machine(system_calls="rewrite") as machine:
        vectors = []
        machine.set_handlers(lambda context: vectors.append(context.vector), lambda *_: 0)
        machine.call(machine.place_code(bytes.fromhex("cc c3")))
        assert vectors == [3]


def test_an_unknown_way_to_catch_system_calls_is_the_user_s_mistake() -> None:
    with pytest.raises(UsageError, match="system_calls: 'magic' is none of auto, dispatch"):
        NativeMachine(NativeOptions(system_calls="magic"))


def test_the_machine_says_how_system_calls_are_caught(native) -> None:
    ways = ("Syscall User Dispatch (inclusive range)", "Syscall User Dispatch (exclusive range)")
    assert any(way in native.details for way in (*ways, "rewriting syscall instructions"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("os.uname = lambda: type('U', (), {'machine': 'aarch64'})", "not linux on aarch64"),
        ("sys.platform = 'darwin'", "not darwin on x86_64"),
    ],
)
def test_another_host_is_refused_in_one_line_that_names_the_remedy(change, said) -> None:
    program = (
        f"import os, sys\n{change}\n"
        "from theseus_kit import MachineError\n"
        "from theseus_kit.machine import create_machine\n"
        "try:\n    create_machine('native', {})\n"
        "except MachineError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said in done.stdout, done.stderr
    assert "use the machine 'emulated'" in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_feature_needs_its_state_to_be_saved_by_the_kernel() -> None:
    def cpuid(leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        return (0xFFFF_FFFF,) * 4

    without_avx = set(read_features(cpuid, lambda: 0x3))
    with_avx = set(read_features(cpuid, lambda: 0x7))
    with_avx512 = set(read_features(cpuid, lambda: 0xE7))
    assert "has_avx" not in without_avx
    assert {"has_sse42", "has_popcnt"} <= without_avx
    assert {"has_avx2", "has_fma", "has_bmi2"} <= with_avx - without_avx
    assert "has_avx512f" in with_avx512 - with_avx


def test_calls_faults_and_exports_without_end_leave_memory_as_it_is(native) -> None:
    add = native.place_code(bytes.fromhex("488d0437 c3"))
    load = native.place_code(bytes.fromhex("488b07 c3"))
    prepared = native.prepare_call(add, (1, 2))
    back = native.export(lambda value: value, 1)
    system_call = native.place_code(bytes.fromhex("0f05 c3"))

    def skip(context) -> None:
        context.registers.rip += 3

    native.set_handlers(skip, lambda *_: 0)

    def work(times: int) -> None:
        for _ in range(times):
            for _ in range(20):
                prepared()
            native.call(add, (1 << 40, 2))
            native.call(back, (1 << 40,))
            native.call(load, (0x18,))
            native.call(system_call)

    work(500)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(10_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024  # KiB
