"""Functions with more arguments than registers."""

from __future__ import annotations

import ctypes
from typing import Any

import capstone
import pytest

from theseus_kit.runtime.stack_arguments import (
    BLOCK_SIZE,
    LIMIT,
    REGISTERS,
    assembly,
    machine_code,
)
from theseus_kit.values.memory import PAGE_SIZE


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


def test_calls_inside_calls_have_arguments_of_their_own(bench: Any) -> None:
    depth = 2 * PAGE_SIZE // BLOCK_SIZE

    def descend(*arguments: int) -> int:
        inner = call(*(value + 1 for value in arguments)) if arguments[0] < depth else 0
        return inner + sum(arguments)

    bench.addresses["descend"] = bench.machine.export(descend, 8, reenters=True)
    call = bench.function("descend", ctypes.c_uint64, *[ctypes.c_uint64] * 8)
    assert call(*range(8)) == sum(8 * level + 28 for level in range(depth + 1))


def test_a_block_is_used_again(bench: Any) -> None:
    bench.addresses["sum"] = bench.machine.place_code(bytes.fromhex(SUMS[8]))
    call = bench.function("sum", ctypes.c_uint64, *[ctypes.c_uint64] * 8)
    blocks = bench.library._stack_calls.blocks
    call(*range(8))
    free = sorted(blocks)
    call(*range(8))
    assert sorted(blocks) == free
    assert len(free) == PAGE_SIZE // BLOCK_SIZE


def test_the_code_for_a_function_is_placed_once(bench: Any) -> None:
    code = bench.machine.place_code(bytes.fromhex(SUMS[7]))
    bench.library.function_at(code, ctypes.c_uint64, [ctypes.c_uint64] * 7)
    first = bench.machine.place_code(b"\xc3")
    bench.library.function_at(code, ctypes.c_uint64, [ctypes.c_uint64] * 7)
    step = bench.machine.place_code(b"\xc3") - first
    assert bench.machine.place_code(b"\xc3") - first == 2 * step
