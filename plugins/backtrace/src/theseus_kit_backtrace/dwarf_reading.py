"""Reading DWARF's numbers: LEB128 and the encoded pointers of ``.eh_frame``.

Each function takes bytes and a position in them and returns the value and the position behind it.
Positions outside raise IndexError or struct.error; :data:`BROKEN` names all that reading a table
that cannot be trusted may raise.

Source: DWARF 5, 7.6; Linux Standard Base Core 5.0, 10.5 "DWARF Extensions".
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct, error
from typing import TypeAlias

Data: TypeAlias = bytes | mmap | memoryview

POINTER_OMITTED = 0xFF
POINTER_ABSOLUTE = 0x00
POINTER_INDIRECT = 0x80
_RELATIVE_TO_ITSELF = 0x10
_RELATIVE_TO_DATA = 0x30
_ULEB128, _SLEB128 = 0x01, 0x09
_FIXED = {
    0x00: Struct("<Q"),
    0x02: Struct("<H"),
    0x03: Struct("<I"),
    0x04: Struct("<Q"),
    0x0A: Struct("<h"),
    0x0B: Struct("<i"),
    0x0C: Struct("<q"),
}
_MASK = (1 << 64) - 1
_LONGEST_LEB128 = 10
"""Bytes that 64 bits need; longer ones are garbage."""


class UnknownEncodingError(ValueError):
    """An encoding, instruction or entry that ``.eh_frame`` tables of x86-64 do not use."""


BROKEN = (error, IndexError, UnknownEncodingError)


def read_uleb128(data: Data, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
        if shift >= 7 * _LONGEST_LEB128:
            raise UnknownEncodingError("a LEB128 number of more than 64 bits")


def read_sleb128(data: Data, position: int) -> tuple[int, int]:
    start = position
    value, position = read_uleb128(data, position)
    sign = 1 << 7 * (position - start) - 1
    return (value ^ sign) - sign, position


def read_pointer(
    data: Data, position: int, encoding: int, address: int, data_base: int = 0
) -> tuple[int, int]:
    """Read a pointer; ``address`` is where in memory ``position`` is.

    A null pointer stays null whatever it is relative to. Indirection is the caller's.
    """
    form = encoding & 0x0F
    if form in _FIXED:
        layout = _FIXED[form]
        (value,) = layout.unpack_from(data, position)
        position += layout.size
    elif form == _ULEB128:
        value, position = read_uleb128(data, position)
    elif form == _SLEB128:
        value, position = read_sleb128(data, position)
    else:
        raise UnknownEncodingError(f"pointer encoding {encoding:#x}")
    if value == 0:
        return 0, position
    relative_to = encoding & 0x70
    if relative_to == _RELATIVE_TO_ITSELF:
        value += address
    elif relative_to == _RELATIVE_TO_DATA:
        value += data_base
    elif relative_to != POINTER_ABSOLUTE:
        raise UnknownEncodingError(f"pointer encoding {encoding:#x}")
    return value & _MASK, position
