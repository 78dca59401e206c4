"""DWARF expressions, as call frame information uses them: a stack machine over registers.

Source: DWARF 5, 2.5. Left out is what has no meaning while walking a stack: locations of
variables, thread-local addresses, calls of other expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import unpack_from

from theseus_kit_backtrace.dwarf_reading import (
    UnknownEncodingError,
    read_sleb128,
    read_uleb128,
)

_MASK = (1 << 64) - 1
_MOST_STEPS = 1000
"""Operations after which an expression is garbage that loops."""

_CONSTANTS = {0x08: "<B", 0x09: "<b", 0x0A: "<H", 0x0B: "<h", 0x0C: "<I", 0x0D: "<i"}
_CONSTANTS |= {0x0E: "<Q", 0x0F: "<q", 0x03: "<Q"}
_CONSTANT_SIZES = {0x08: 1, 0x09: 1, 0x0A: 2, 0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8, 0x0F: 8, 0x03: 8}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_BINARY: dict[int, Callable[[int, int], int]] = {
    0x1A: lambda a, b: a & b,
    0x1C: lambda a, b: a - b,
    0x1E: lambda a, b: a * b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << b if b < 64 else 0,
    0x25: lambda a, b: a >> b if b < 64 else 0,
    0x26: lambda a, b: _signed(a) >> min(b, 63),
    0x27: lambda a, b: a ^ b,
    0x29: lambda a, b: a == b,
    0x2A: lambda a, b: _signed(a) >= _signed(b),
    0x2B: lambda a, b: _signed(a) > _signed(b),
    0x2C: lambda a, b: _signed(a) <= _signed(b),
    0x2D: lambda a, b: _signed(a) < _signed(b),
    0x2E: lambda a, b: a != b,
}
_UNARY: dict[int, Callable[[int], int]] = {
    0x19: lambda a: abs(_signed(a)),
    0x1F: lambda a: -a,
    0x20: lambda a: ~a,
}


def evaluate(
    expression: bytes,
    registers: Sequence[int],
    read_word: Callable[[int, int], int],
    initial: Sequence[int] = (),
) -> int:
    """The value an expression leaves on top of its stack.

    ``registers`` by DWARF number; ``read_word(address, size)`` reads guest memory; ``initial`` is
    what the stack starts with. Raises UnknownEncodingError, IndexError, struct.error for what is
    no expression, and what ``read_word`` raises.
    """
    stack = list(initial)
    position = 0
    for _ in range(_MOST_STEPS):
        if position >= len(expression):
            return stack[-1] & _MASK
        opcode = expression[position]
        position += 1
        if opcode in _CONSTANTS:
            stack.append(unpack_from(_CONSTANTS[opcode], expression, position)[0] & _MASK)
            position += _CONSTANT_SIZES[opcode]
        elif opcode in _BINARY:
            second, first = stack.pop(), stack.pop()
            stack.append(_BINARY[opcode](first, second) & _MASK)
        elif opcode in _UNARY:
            stack.append(_UNARY[opcode](stack.pop()) & _MASK)
        elif 0x30 <= opcode <= 0x4F:  # lit0…lit31
            stack.append(opcode - 0x30)
        elif 0x50 <= opcode <= 0x6F:  # reg0…reg31: libgcc takes it for the register's value
            stack.append(registers[opcode - 0x50])
        elif 0x70 <= opcode <= 0x8F:  # breg0…breg31
            offset, position = read_sleb128(expression, position)
            stack.append(registers[opcode - 0x70] + offset & _MASK)
        elif opcode == 0x92:  # bregx
            register, position = read_uleb128(expression, position)
            offset, position = read_sleb128(expression, position)
            stack.append(registers[register] + offset & _MASK)
        elif opcode in (0x28, 0x2F):  # bra, skip
            (distance,) = unpack_from("<h", expression, position)
            position += 2
            if opcode == 0x2F or stack.pop():
                position += distance
                if position < 0:
                    raise IndexError("a branch out of the expression")
        else:
            position = _other(opcode, expression, position, stack, read_word)
    raise UnknownEncodingError("an expression that does not end")


def _other(
    opcode: int,
    expression: bytes,
    position: int,
    stack: list[int],
    read_word: Callable[[int, int], int],
) -> int:
    """The rarer operations: memory, stack shuffling, LEB128 constants, division."""
    if opcode == 0x06:  # deref
        stack.append(read_word(stack.pop(), 8))
    elif opcode == 0x94:  # deref_size
        stack.append(read_word(stack.pop(), expression[position]))
        position += 1
    elif opcode == 0x10:  # constu
        value, position = read_uleb128(expression, position)
        stack.append(value & _MASK)
    elif opcode == 0x11:  # consts
        value, position = read_sleb128(expression, position)
        stack.append(value & _MASK)
    elif opcode == 0x12:  # dup
        stack.append(stack[-1])
    elif opcode == 0x13:  # drop
        stack.pop()
    elif opcode == 0x14:  # over
        stack.append(stack[-2])
    elif opcode == 0x15:  # pick
        stack.append(stack[-1 - expression[position]])
        position += 1
    elif opcode == 0x16:  # swap
        stack[-1], stack[-2] = stack[-2], stack[-1]
    elif opcode == 0x17:  # rot: the top becomes the third
        stack[-1], stack[-2], stack[-3] = stack[-2], stack[-3], stack[-1]
    elif opcode in (0x1B, 0x1D):  # div (signed), mod (unsigned)
        divisor, dividend = stack.pop(), stack.pop()
        if divisor == 0:
            raise UnknownEncodingError("an expression that divides by zero")
        if opcode == 0x1D:
            stack.append(dividend % divisor)
        else:
            quotient = abs(_signed(dividend)) // abs(_signed(divisor))
            negative = (_signed(dividend) < 0) != (_signed(divisor) < 0)
            stack.append((-quotient if negative else quotient) & _MASK)
    elif opcode == 0x23:  # plus_uconst
        value, position = read_uleb128(expression, position)
        stack.append(stack.pop() + value & _MASK)
    elif opcode != 0x96:  # nop
        raise UnknownEncodingError(f"DWARF operation {opcode:#x}")
    return position
