"""Unwind rules, against pyelftools over real libraries, and tables that make no sense."""

from pathlib import Path

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.errors import PlatformError
from theseus_kit.image import ElfFile
from theseus_kit_backtrace.call_frame_information import (
    FrameDescription,
    RuleKind,
    Window,
    read_common_information,
    read_frame_description,
    row_at,
    scan,
)
from theseus_kit_backtrace.dwarf_expression import evaluate
from theseus_kit_backtrace.dwarf_reading import (
    BROKEN,
    UnknownEncodingError,
    read_pointer,
    read_sleb128,
    read_uleb128,
)

LIBRARIES = ["libgcc_s.so.1", "libz.so.1", "libm.so.6"]
KINDS = {
    "OFFSET": RuleKind.AT_CFA_OFFSET,
    "VAL_OFFSET": RuleKind.CFA_OFFSET,
    "REGISTER": RuleKind.REGISTER,
    "EXPRESSION": RuleKind.AT_EXPRESSION,
    "VAL_EXPRESSION": RuleKind.EXPRESSION,
    "UNDEFINED": RuleKind.UNDEFINED,
}


def system_library(name):
    for directory in ("/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"):
        path = Path(directory, name)
        if path.is_file():
            return path
    pytest.skip(f"this host has no {name}")


def unwind_table(path):
    """The window of an ELF file's .eh_frame, at the file's own addresses."""
    with ElfFile.open(path) as elf:
        section = elf.section(".eh_frame")
        data = bytes(elf.contents[section.offset : section.offset + section.size])
        return Window(data, section.address)


@pytest.fixture(scope="module")
def small_table(compile_image):
    source = "int f(int x) { int a[x + 1]; a[x] = x; return a[x / 2]; } int g(void) { return 1; }"
    return unwind_table(compile_image("small", source))


def expected_rule(rule):
    kind = KINDS[rule.type]
    if kind in (RuleKind.AT_EXPRESSION, RuleKind.EXPRESSION):
        return (kind, 0, bytes(rule.arg))
    return (kind, rule.arg or 0, b"")


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_row_of_a_library_is_the_one_pyelftools_decodes(name):
    path = system_library(name)
    window = unwind_table(path)
    ours = {frame.start: frame for frame in scan(window, 0, len(window.data))}
    checked = 0
    with path.open("rb") as file:
        for entry in ELFFile(file).get_dwarf_info().EH_CFI_entries():
            if not isinstance(entry, FDE):
                continue
            frame = ours.pop(entry["initial_location"])
            assert frame.end - frame.start == entry["address_range"]
            assert (frame.language_specific_data or 0) == (entry.lsda_pointer or 0)
            for line in entry.get_decoded().table:
                row = row_at(frame, line["pc"])
                if line["cfa"].expr is None:
                    expected = (line["cfa"].reg, line["cfa"].offset, b"")
                    assert (row.cfa_register, row.cfa_offset, row.cfa_expression) == expected
                else:
                    assert row.cfa_expression == bytes(line["cfa"].expr)
                rules = {
                    register: expected_rule(rule)
                    for register, rule in line.items()
                    if isinstance(register, int) and rule.type != "SAME_VALUE"
                }
                assert row.rules == rules
                checked += 1
    assert not ours
    assert checked > 100


def test_a_plt_stubs_expression_tells_how_much_it_has_pushed():
    # DW_OP_breg7 8, breg16 0, lit15, and, lit11, ge, lit3, shl, plus: what linkers write for .plt.
    expression = bytes.fromhex("77 08 80 00 3f 1a 3b 2a 33 24 22")
    registers = [0] * 17
    registers[7] = 0x1000
    for offset, pushed in ((0, 8), (6, 8), (10, 8), (11, 16), (15, 16)):
        registers[16] = 0x4000 + offset
        assert evaluate(expression, registers, read_word=no_memory) == 0x1000 + pushed


def no_memory(address, size):
    raise PlatformError("no memory")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("08 ff", 255),
        ("09 ff", (1 << 64) - 1),
        ("0e 0102030405060708", 0x0807060504030201),
        ("10 e5 8e 26", 624485),
        ("11 7f", (1 << 64) - 1),
        ("35 32 1c", 3),
        ("32 35 1c", (1 << 64) - 3),
        ("37 12 1e", 49),
        ("31 32 14 22 22", 4),
        ("31 32 33 17 1c 1c", 4),  # rot leaves 3 1 2: 3 - (1 - 2)
        ("31 32 16 1c", 1),
        ("09 f9 32 1b", (1 << 64) - 3),
        ("37 32 1d", 1),
        ("09 f8 31 26", (1 << 64) - 4),
        ("31 28 0100 96 35", 5),  # a taken branch over the nop
        ("35 2f 0000", 5),
        ("31 23 07", 8),
        ("57", 0x1000),
        ("92 07 08", 0x1008),
        ("57 06", 0x1234),
        ("57 94 01", 0x34),
    ],
)
def test_an_expression_has_the_value_dwarf_gives_it(expression, value):
    registers = [0] * 17
    registers[7] = 0x1000
    memory = (0x1234).to_bytes(8, "little")

    def read_word(address, size):
        return int.from_bytes(memory[address - 0x1000 :][:size], "little")

    assert evaluate(bytes.fromhex(expression), registers, read_word) == value


@pytest.mark.parametrize("expression", ["", "06", "2f fdff", "35 30 1b", "e0", "08", "50 22"])
def test_what_is_no_expression_is_said_to_be_broken(expression):
    with pytest.raises(BROKEN):
        evaluate(bytes.fromhex(expression), [0] * 17, no_memory)


@given(st.binary(max_size=40))
def test_any_expression_ends_with_a_word_or_is_broken(expression):
    try:
        value = evaluate(expression, [1 << 63] * 17, lambda address, size: 7)
    except BROKEN:
        return
    assert 0 <= value < 1 << 64


@given(st.integers(0, (1 << 64) - 1))
def test_leb128_numbers_read_back(number):
    encoded = bytearray()
    rest = number
    while True:
        encoded.append(rest & 0x7F | (0x80 if rest >> 7 else 0))
        rest >>= 7
        if not rest:
            break
    assert read_uleb128(bytes(encoded), 0) == (number, len(encoded))


@pytest.mark.parametrize(
    ("encoded", "value"),
    [("02", 2), ("7e", -2), ("ff00", 127), ("807f", -128), ("8001", 128), ("ff7e", -129)],
)
def test_signed_leb128_numbers_are_those_of_dwarfs_own_table(encoded, value):
    data = bytes.fromhex(encoded)
    assert read_sleb128(data, 0) == (value, len(data))


def test_a_pointer_is_relative_to_what_its_encoding_says():
    data = (-4 & 0xFFFFFFFF).to_bytes(4, "little")
    assert read_pointer(data, 0, 0x1B, address=0x1000) == (0xFFC, 4)
    assert read_pointer(data, 0, 0x3B, address=0x1000, data_base=0x8000) == (0x7FFC, 4)
    assert read_pointer(bytes(4), 0, 0x1B, address=0x1000) == (0, 4)
    with pytest.raises(UnknownEncodingError):
        read_pointer(data, 0, 0x4B, address=0x1000)


def test_an_fde_whose_common_entry_is_no_cie_is_broken():
    entry = (8).to_bytes(4, "little") + (4).to_bytes(4, "little") + bytes(4)
    with pytest.raises(UnknownEncodingError, match="no CIE"):
        read_frame_description(Window(entry, 0x1000), 0, {})
    with pytest.raises(UnknownEncodingError, match="no CIE"):
        read_common_information(Window(entry, 0x1000), 0)


@given(st.data())
def test_a_corrupt_table_yields_frames_or_breaks_off(small_table, data):
    corrupt = bytearray(small_table.data)
    for _ in range(data.draw(st.integers(1, 8))):
        position = data.draw(st.integers(0, len(corrupt) - 1))
        corrupt[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(corrupt)))
    for frame in scan(Window(bytes(corrupt[:cut]), small_table.start), 0, cut):
        assert isinstance(frame, FrameDescription)
        for address in (frame.start, frame.start + 5, frame.end - 1):
            try:
                row_at(frame, address)
            except BROKEN:
                continue
