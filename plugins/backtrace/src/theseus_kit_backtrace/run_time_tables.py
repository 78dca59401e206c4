"""Unwind tables of code that appeared at run time: what ``__register_frame`` was told of.

A JIT hands over a whole ``.eh_frame`` section in memory: CIEs and FDEs one after another, ended by
a length of zero. Registering one costs nothing; its FDEs are read when somebody first asks what
function holds an address.

    ┌──────────┬────────────────┬──────────────────────────────────┬──────┐
    │ length   │ CIE pointer    │ FDE: start, size, instructions   │ next │
    │ u32, u64 │ u32; 0 = a CIE │ CIE: version, augmentation, …    │      │
    └──────────┴────────────────┴──────────────────────────────────┴──────┘

Source: Linux Standard Base 5.0 core, 10.6 "Exception Frames"; DWARF 4, 6.4.1.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from theseus_kit.errors import AlreadyRegisteredError, NotRegisteredError, PlatformError
from theseus_kit.values.memory import AddressRange

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory

_U32 = struct.Struct("<I")
_LENGTH_64 = 0xFFFFFFFF

_PE_RELATIVE_TO_PLACE = 0x10
_PE_APPLICATION = 0x70
_PE_FORMATS = {
    0x00: struct.Struct("<Q"),  # absptr
    0x02: struct.Struct("<H"),  # udata2
    0x03: struct.Struct("<I"),  # udata4
    0x04: struct.Struct("<Q"),  # udata8
    0x0A: struct.Struct("<h"),  # sdata2
    0x0B: struct.Struct("<i"),  # sdata4
    0x0C: struct.Struct("<q"),  # sdata8
}


class RunTimeTables:
    """The registered tables of one platform, by the address of their section."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._functions: dict[int, list[AddressRange] | None] = {}

    def register(self, frame_table: int) -> None:
        """Learn of a table. Raises AlreadyRegisteredError."""
        if frame_table in self._functions:
            raise AlreadyRegisteredError(f"unwind table {frame_table:#x} is registered already")
        self._functions[frame_table] = None

    def unregister(self, frame_table: int) -> None:
        """Forget a table. Raises NotRegisteredError."""
        if frame_table not in self._functions:
            raise NotRegisteredError(f"no unwind table is registered at {frame_table:#x}")
        del self._functions[frame_table]

    def function_at(self, address: int) -> AddressRange | None:
        """The function of run-time code that holds an address, None if no table has one."""
        for frame_table, functions in self._functions.items():
            if functions is None:
                functions = self._functions[frame_table] = sorted(self._read(frame_table))
            index = bisect_right(functions, address, key=lambda function: function.start) - 1
            if index >= 0 and address in functions[index]:
                return functions[index]
        return None

    def _read(self, frame_table: int) -> Iterator[AddressRange]:
        """The functions a table describes, as far as it can be made sense of."""
        read = self._memory.read
        position = frame_table
        try:
            while True:
                (length,) = _U32.unpack(read(position, 4))
                position += 4
                if length == _LENGTH_64:
                    length = self._memory.read_u64(position)
                    position += 8
                if length == 0:
                    return
                (pointer,) = _U32.unpack(read(position, 4))
                if pointer != 0:
                    encoding = _pointer_encoding(self._entry(position - pointer))
                    yield _function(read(position + 4, length - 4), position + 4, encoding)
                position += length
        except (PlatformError, ValueError, IndexError, struct.error):
            return  # a table that runs into nowhere describes what came before

    def _entry(self, position: int) -> bytes:
        """The body of the CIE at a position, from its version on."""
        (length,) = _U32.unpack(self._memory.read(position, 4))
        if length == _LENGTH_64:
            raise ValueError("a 64-bit CIE")
        return self._memory.read(position + 8, length - 4)


def _pointer_encoding(cie: bytes) -> int:
    """How the FDEs of a CIE encode addresses: the augmentation's R, else absolute."""
    version = cie[0]
    end = cie.index(0, 1)
    augmentation = cie[1:end].decode("ascii")
    if not augmentation.startswith("z"):
        return 0x00
    position = end + 1
    for _ in range(2):  # code and data alignment
        position = _after_leb128(cie, position)
    position = position + 1 if version == 1 else _after_leb128(cie, position)  # return register
    position = _after_leb128(cie, position)  # the augmentation data's length
    for letter in augmentation[1:]:
        if letter == "R":
            return cie[position]
        if letter == "L":
            position += 1
        elif letter == "P":
            encoding = cie[position]
            position += 1 + _PE_FORMATS[encoding & 0x0F].size
    return 0x00


def _after_leb128(data: bytes, position: int) -> int:
    while data[position] & 0x80:
        position += 1
    return position + 1


def _function(fde: bytes, place: int, encoding: int) -> AddressRange:
    """The range an FDE covers; ``fde`` starts with the function's start, at address ``place``."""
    layout = _PE_FORMATS.get(encoding & 0x0F)
    application = encoding & _PE_APPLICATION
    if layout is None or application not in (0, _PE_RELATIVE_TO_PLACE):
        raise ValueError(f"pointer encoding {encoding:#x}")
    (start,) = layout.unpack_from(fde, 0)
    (size,) = layout.unpack_from(fde, layout.size)
    if application:
        start += place
    return AddressRange.of_size(start & (1 << 64) - 1, size)
