"""Finds, in the bytes before an instruction that has just run, one that loads a register.

Bytes are ambiguous, read backwards. So what is found has to fit three ways: from it on there are
loads of registers and nothing else, up to the very instruction that ran; it is itself the load of
a constant; and the register holds that constant. With a prefix in front it would be another load,
of a register that must then not hold the constant.
"""

from __future__ import annotations

from theseus_kit.values.exceptions import Registers
from theseus_kit.values.record import NamedTuple

_NAMES = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)
"""Registers as instructions number them (Intel's manual, volume 2, 3.1.1.1)."""
_JUMP_SIZE = 5
_MASK = 0xFFFF_FFFF_FFFF_FFFF


class Load(NamedTuple):
    """One instruction: where it starts, and its size in bytes."""

    start: int
    size: int


def find_load(code: bytes, registers: Registers) -> Load | None:
    """The last load of a constant that has room for a jump, if loads follow to ``code``'s end.

    ``registers`` are those at the end. The byte before the load must be among those given.
    """
    for start in range(len(code) - _JUMP_SIZE, 0, -1):
        size = _checked_constant(code, start, registers)
        if size and _only_loads(code, start + size):
            return Load(start, size)
    return None


def _checked_constant(code: bytes, start: int, registers: Registers) -> int:
    """The size of the load of a constant that a register holds, 0 if there is none."""
    prefix = code[start] if _is_rex(code[start]) else 0
    size = size_of_load(code[start:])
    operation = code[start + 1] if prefix else code[start]
    if size < _JUMP_SIZE:
        return 0
    constant = int.from_bytes(code[start + size - 4 : start + size], "little")
    if 0xB8 <= operation <= 0xBF:  # mov r32, imm32
        number = operation - 0xB8
    else:  # mov r/m, imm32, which is sign-extended to 64 bits
        number = code[start + size - 5] - 0xC0
        if prefix & 8 and constant >> 31:
            constant = (constant - (1 << 32)) & _MASK
    if _held(registers, number, prefix) != constant:
        return 0
    before = code[start - 1]
    if not prefix and _is_rex(before) and before & 9:
        # Perhaps not the end of what is before, but this one's prefix.
        return 0 if before & 8 or _held(registers, number, before) == constant else size
    return size


def _is_rex(byte: int) -> bool:
    return byte & 0xF0 == 0x40


def _held(registers: Registers, number: int, prefix: int) -> int:
    held: int = getattr(registers, _NAMES[number | (prefix & 1) << 3])
    return held


def _only_loads(code: bytes, position: int) -> bool:
    while position < len(code):
        size = size_of_load(code[position:])
        if size == 0:
            return False
        position += size
    return position == len(code)


def size_of_load(code: bytes) -> int:
    """Bytes of one of the instructions that compilers load arguments with, 0 for any other one.

    They mean the same wherever they are: ``mov`` of constants, ``mov`` and ``xor`` of registers.
    """
    prefix = 1 if _is_rex(code[0]) else 0
    if len(code) < prefix + 2:
        return 0
    operation, operands = code[prefix], code[prefix + 1]
    wide = prefix and code[0] & 8
    if 0xB8 <= operation <= 0xBF and not wide:  # mov r32, imm32
        return prefix + 5
    if operation in (0x31, 0x33, 0x89, 0x8B) and operands >= 0xC0:
        return prefix + 2
    if operation == 0xC7 and 0xC0 <= operands <= 0xC7:  # mov r/m, imm32
        return prefix + 6
    return 0
