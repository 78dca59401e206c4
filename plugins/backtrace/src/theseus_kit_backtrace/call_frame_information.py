"""Call frame information: CIEs, FDEs, and the row of unwind rules that holds at an address.

    .eh_frame   ┌─────┬─────┬─────┬─────┬─────┬───┐
                │ CIE │ FDE │ FDE │ CIE │ FDE │ 0 │   an FDE points back to its CIE
                └─────┴─────┴─────┴─────┴─────┴───┘
    an entry    length u32 │ CIE pointer u32 (0: this is a CIE) │ … │ instructions │ padding

A row says for one address how the caller's registers are found: the CFA first (a register plus
an offset, or an expression), the others mostly at offsets from it. Finding the FDE of an address
is ``unwind_tables.py``'s, applying a row to registers ``dwarf_unwinder.py``'s.

Source: DWARF 5, 6.4; Linux Standard Base Core 5.0, 10.6 "Exception Frames".
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from struct import unpack_from

from theseus_kit.values.record import NamedTuple
from theseus_kit_backtrace.dwarf_reading import (
    BROKEN,
    POINTER_ABSOLUTE,
    POINTER_INDIRECT,
    POINTER_OMITTED,
    Data,
    UnknownEncodingError,
    read_pointer,
    read_sleb128,
    read_uleb128,
)

RETURN_ADDRESS_COLUMN = 16
_LENGTH_IS_64_BIT = 0xFFFFFFFF
_MOST_REMEMBERED = 64
"""How deep remember_state may nest before the program is garbage."""


class Window(NamedTuple):
    """Bytes of an unwind table, and the guest address of the first."""

    data: Data
    start: int


class RuleKind(Enum):
    """How a register of the caller is found."""

    AT_CFA_OFFSET = auto()
    """In memory, ``value`` bytes from the CFA."""
    CFA_OFFSET = auto()
    """It is the CFA plus ``value``."""
    REGISTER = auto()
    """It is in the register of number ``value``."""
    AT_EXPRESSION = auto()
    """In memory, where the expression says."""
    EXPRESSION = auto()
    """It is what the expression says."""
    UNDEFINED = auto()
    """It cannot be known; of the return address: the stack ends here."""


class Rule(NamedTuple):
    kind: RuleKind
    value: int = 0
    expression: bytes = b""


class Row(NamedTuple):
    """The rules at one address. Registers without a rule have kept their value.

    The CFA is ``cfa_register`` plus ``cfa_offset``, unless ``cfa_expression`` says otherwise.
    """

    cfa_register: int
    cfa_offset: int
    cfa_expression: bytes
    rules: dict[int, Rule]
    arguments_size: int = 0
    """Bytes of arguments pushed for the call at this address, which a landing pad has to drop."""


class CommonInformation(NamedTuple):
    """A CIE: what several FDEs have in common."""

    code_alignment: int
    data_alignment: int
    return_address_column: int
    has_augmentation_data: bool
    pointer_encoding: int
    lsda_encoding: int
    is_signal_frame: bool
    program: bytes
    personality: int = 0
    """Address of the personality routine, 0 if the functions have none."""
    personality_is_indirect: bool = False
    """``personality`` is the address of a word that holds it."""


class FrameDescription(NamedTuple):
    """An FDE: the unwind rules of the addresses [start, end)."""

    start: int
    end: int
    language_specific_data: int | None
    common: CommonInformation
    program: bytes


class Entry(NamedTuple):
    """Where in a window an entry of .eh_frame lies."""

    start: int
    end: int
    common: int | None
    """The position of its CIE, None if it is one itself."""


def read_entry(window: Window, position: int) -> Entry | None:
    """Read an entry's head; None at the table's terminator."""
    (length,) = unpack_from("<I", window.data, position)
    if length == 0:
        return None
    if length == _LENGTH_IS_64_BIT:
        raise UnknownEncodingError("a 64-bit .eh_frame entry")
    end = position + 4 + length
    (pointer,) = unpack_from("<I", window.data, position + 4)
    return Entry(position + 8, end, position + 4 - pointer if pointer else None)


def read_common_information(window: Window, position: int) -> CommonInformation:
    """Parse the CIE at a position."""
    entry = read_entry(window, position)
    if entry is None or entry.common is not None:
        raise UnknownEncodingError("an FDE points to something that is no CIE")
    data, position = window.data, entry.start
    version = data[position]
    if version not in (1, 3):
        raise UnknownEncodingError(f"a CIE of version {version}")
    position += 1
    augmentation = bytearray()
    while byte := data[position]:
        augmentation.append(byte)
        position += 1
    code_alignment, position = read_uleb128(data, position + 1)
    data_alignment, position = read_sleb128(data, position)
    if version == 1:
        return_address, position = data[position], position + 1
    else:
        return_address, position = read_uleb128(data, position)
    pointer_encoding, lsda_encoding, is_signal_frame = POINTER_ABSOLUTE, POINTER_OMITTED, False
    has_data = augmentation.startswith(b"z")
    program_start = position
    personality, indirect = 0, False
    if has_data:
        size, position = read_uleb128(data, position)
        program_start = position + size
        for letter in augmentation[1:].decode("latin-1"):
            if letter == "R":
                pointer_encoding, position = data[position], position + 1
            elif letter == "L":
                lsda_encoding, position = data[position], position + 1
            elif letter == "P":
                encoding = data[position]
                address = window.start + position + 1
                personality, position = read_pointer(data, position + 1, encoding & 0x7F, address)
                indirect = bool(encoding & POINTER_INDIRECT)
            elif letter == "S":
                is_signal_frame = True
            elif letter != "B":
                break  # an unknown letter: what follows is skipped by the size
    elif augmentation:
        raise UnknownEncodingError(f"a CIE with the augmentation {bytes(augmentation)!r}")
    return CommonInformation(
        code_alignment,
        data_alignment,
        return_address,
        has_data,
        pointer_encoding,
        lsda_encoding,
        is_signal_frame,
        bytes(data[program_start : entry.end]),
        personality,
        indirect,
    )


def read_frame_description(
    window: Window, position: int, commons: dict[int, CommonInformation]
) -> FrameDescription:
    """Parse the FDE at a position. ``commons`` keeps the window's CIEs by their address."""
    entry = read_entry(window, position)
    if entry is None or entry.common is None:
        raise UnknownEncodingError("an index points to something that is no FDE")
    common_address = window.start + entry.common
    common = commons.get(common_address)
    if common is None:
        common = commons[common_address] = read_common_information(window, entry.common)
    data, position = window.data, entry.start
    encoding = common.pointer_encoding
    start, position = read_pointer(data, position, encoding, window.start + position)
    size, position = read_pointer(data, position, encoding & 0x0F, 0)
    lsda = None
    if common.has_augmentation_data:
        length, position = read_uleb128(data, position)
        program_start = position + length
        if length and common.lsda_encoding != POINTER_OMITTED:
            address = window.start + position
            lsda, _ = read_pointer(data, position, common.lsda_encoding, address)
        position = program_start
    program = bytes(data[position : entry.end])
    return FrameDescription(start, start + size, lsda or None, common, program)


def scan(window: Window, position: int, end: int) -> Iterator[FrameDescription]:
    """Every FDE from a position on, as far as the table makes sense."""
    commons: dict[int, CommonInformation] = {}
    try:
        while position + 4 <= end:
            entry = read_entry(window, position)
            if entry is None:
                return
            if entry.common is not None:
                yield read_frame_description(window, position, commons)
            position = entry.end
    except BROKEN:
        return


def row_at(frame: FrameDescription, address: int) -> Row:
    """Run the FDE's program up to the row that holds at an address of its."""
    program = _Program(frame)
    program.run(frame.common.program, address)
    program.initial = dict(program.rules)
    program.run(frame.program, address)
    rules = {number: rule for number, rule in program.rules.items() if rule is not None}
    return Row(
        program.cfa_register,
        program.cfa_offset,
        program.cfa_expression,
        rules,
        program.arguments_size,
    )


class _Program:
    """The virtual machine of DWARF 5, 6.4.2, stopped at the first row behind an address."""

    def __init__(self, frame: FrameDescription) -> None:
        common = frame.common
        self._code_alignment = common.code_alignment
        self._data_alignment = common.data_alignment
        self._pointer_encoding = common.pointer_encoding
        self._location = frame.start
        self._remembered: list[tuple[int, int, bytes, dict[int, Rule | None]]] = []
        self.cfa_register = 7
        self.cfa_offset = 0
        self.cfa_expression = b""
        self.arguments_size = 0
        self.rules: dict[int, Rule | None] = {}
        self.initial: dict[int, Rule | None] = {}

    def run(self, program: bytes, address: int) -> None:
        position = 0
        while position < len(program):
            opcode = program[position]
            position += 1
            high, low = opcode & 0xC0, opcode & 0x3F
            if high == 0x40:  # advance_loc
                self._location += low * self._code_alignment
            elif high == 0x80:  # offset
                offset, position = read_uleb128(program, position)
                self._save(low, RuleKind.AT_CFA_OFFSET, offset)
            elif high == 0xC0:  # restore
                self.rules[low] = self.initial.get(low)
            else:
                position = self._extended(opcode, program, position)
            if self._location > address:
                return

    def _save(self, register: int, kind: RuleKind, factored: int) -> None:
        self.rules[register] = Rule(kind, factored * self._data_alignment)

    def _extended(self, opcode: int, program: bytes, position: int) -> int:
        if opcode == 0x00:  # nop
            return position
        if opcode <= 0x04:
            return self._advance(opcode, program, position)
        if opcode in (0x0A, 0x0B):
            self._remember_or_restore(opcode)
            return position
        if opcode in (0x0C, 0x0D, 0x0E, 0x0F, 0x12, 0x13):
            return self._define_cfa(opcode, program, position)
        if opcode == 0x2E:  # GNU_args_size
            self.arguments_size, position = read_uleb128(program, position)
            return position
        register, position = read_uleb128(program, position)
        if opcode == 0x06:  # restore_extended
            self.rules[register] = self.initial.get(register)
        elif opcode == 0x07:
            self.rules[register] = Rule(RuleKind.UNDEFINED)
        elif opcode == 0x08:  # same_value
            self.rules[register] = None
        elif opcode in (0x10, 0x16):  # expression, val_expression
            size, position = read_uleb128(program, position)
            kind = RuleKind.AT_EXPRESSION if opcode == 0x10 else RuleKind.EXPRESSION
            expression = program[position : position + size]
            self.rules[register] = Rule(kind, expression=expression)
            position += size
        elif opcode in (0x11, 0x15):  # offset_extended_sf, val_offset_sf
            offset, position = read_sleb128(program, position)
            kind = RuleKind.AT_CFA_OFFSET if opcode == 0x11 else RuleKind.CFA_OFFSET
            self._save(register, kind, offset)
        elif opcode in (0x05, 0x09, 0x14, 0x2F):
            value, position = read_uleb128(program, position)
            if opcode == 0x05:  # offset_extended
                self._save(register, RuleKind.AT_CFA_OFFSET, value)
            elif opcode == 0x09:
                self.rules[register] = Rule(RuleKind.REGISTER, value)
            elif opcode == 0x14:  # val_offset
                self._save(register, RuleKind.CFA_OFFSET, value)
            else:  # GNU_negative_offset_extended
                self._save(register, RuleKind.AT_CFA_OFFSET, -value)
        else:
            raise UnknownEncodingError(f"call frame instruction {opcode:#x}")
        return position

    def _advance(self, opcode: int, program: bytes, position: int) -> int:
        if opcode == 0x01:  # set_loc
            # Absolute encodings only: the program's own address is not kept.
            self._location, position = read_pointer(program, position, POINTER_ABSOLUTE, 0)
            return position
        size = 1 << opcode - 0x02
        step = int.from_bytes(program[position : position + size], "little")
        self._location += step * self._code_alignment
        return position + size

    def _define_cfa(self, opcode: int, program: bytes, position: int) -> int:
        if opcode == 0x0F:  # def_cfa_expression
            size, position = read_uleb128(program, position)
            self.cfa_expression = program[position : position + size]
            return position + size
        if opcode in (0x0C, 0x0D, 0x12):  # def_cfa, def_cfa_register, def_cfa_sf
            self.cfa_register, position = read_uleb128(program, position)
            self.cfa_expression = b""
        if opcode in (0x0C, 0x0E):  # … def_cfa_offset
            # def_cfa_offset alone leaves an expression in force, as libgcc does.
            self.cfa_offset, position = read_uleb128(program, position)
        elif opcode in (0x12, 0x13):  # def_cfa_sf, def_cfa_offset_sf
            factored, position = read_sleb128(program, position)
            self.cfa_offset = factored * self._data_alignment
        return position

    def _remember_or_restore(self, opcode: int) -> None:
        if opcode == 0x0A:
            if len(self._remembered) >= _MOST_REMEMBERED:
                raise UnknownEncodingError("a call frame program that remembers without end")
            self._remembered.append(
                (self.cfa_register, self.cfa_offset, self.cfa_expression, dict(self.rules))
            )
            return
        self.cfa_register, self.cfa_offset, self.cfa_expression, rules = self._remembered.pop()
        self.rules = dict(rules)
