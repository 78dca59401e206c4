"""Functions with more arguments than registers."""

from __future__ import annotations

import ctypes
from typing import Any

import capstone
import pytest

from theseus_kit.runtime.scratch import SIZE
from theseus_kit.runtime.stack_arguments import LIMIT, REGISTERS, assembly, machine_code


@pytest.mark.parametrize("count", range(REGISTERS + 1, LIMIT + 1))
def test_the_code_is_what_its_assembly_says(count: int) -> None:
    target = 0x1122_3344_5566_7788
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = [
        f"{instruction.mnemonic} {instruction.op_str}".strip()
        for instruction in disassembler.disasm(machine_code(target, count), 0)
    ]
    assert found == assembly(target, count)


# Sums its arguments, each shifted by its position, and faults if its frame is not aligned.
SUMS = {
    # movaps faults unless rsp + 8 is a multiple of 16
    count: "0f28442408"  # movaps xmm0, [rsp + 8]
    + "4889f8"  # mov rax, rdi
    + "488d0470"  # lea rax, [rax + rsi*2]
    + "488d0490"  # lea rax, [rax + rdx*4]
    + "488d04c8"  # lea rax, [rax + rcx*8]
    + "4c01c0"  # add rax, r8
    + "4c01c8"  # add rax, r9
    + "".join(
        f"48034424{8 * (position - REGISTERS + 1):02x}"  # add rax, [rsp + …]
        for position in range(REGISTERS, count)
    )
    + "c3"
    for count in (7, 8, 11, 16)
}


def weighed(arguments: tuple[int, ...]) -> int:
    weights = (1, 2, 4, 8) + (1,) * 12
    return sum(weight * value for weight, value in zip(weights, arguments, strict=False))


@pytest.mark.parametrize("count", SUMS)
def test_every_argument_arrives_and_the_stack_is_aligned(bench: Any, count: int) -> None:
    code = bench.machine.place_code(bytes.fromhex(SUMS[count]))
    call = bench.library.function_at(code, ctypes.c_uint64, [ctypes.c_uint64] * count)
    arguments = tuple(3**position for position in range(count))
    assert call(*arguments) == weighed(arguments)
    assert call(*reversed(arguments)) == weighed(tuple(reversed(arguments)))


def test_arguments_arrive_where_scratch_memory_is_full(bench: Any) -> None:
    code = bench.machine.place_code(bytes.fromhex(SUMS[8]))
    call = bench.library.function_at(code, ctypes.c_uint64, [ctypes.c_uint64] * 8)
    scratch = bench.library._space.scratch
    mark = scratch.top
    while scratch.reserve(SIZE // 16) is not None:
        continue
    while scratch.reserve(8) is not None:
        continue
    assert call(*range(8)) == weighed(tuple(range(8)))
    scratch.top = mark


def test_the_code_for_a_function_is_placed_once(bench: Any) -> None:
    code = bench.machine.place_code(bytes.fromhex(SUMS[7]))
    bench.library.function_at(code, ctypes.c_uint64, [ctypes.c_uint64] * 7)
    first = bench.machine.place_code(b"\xc3")
    bench.library.function_at(code, ctypes.c_uint64, [ctypes.c_uint64] * 7)
    step = bench.machine.place_code(b"\xc3") - first
    assert bench.machine.place_code(b"\xc3") - first == 2 * step
