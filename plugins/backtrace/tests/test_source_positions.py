"""File, line, column and inlined functions, with addr2line as the oracle."""

import random
import re
import shutil
import struct
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit_backtrace.source_positions import SourcePositions

SECTIONS = (".text", ".debug_info")


def functions_of(path):
    """Start and size of the functions in a file's .symtab."""
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("needs readelf")
    text = subprocess.run([readelf, "-sW", path], capture_output=True, text=True, check=True)
    rows = re.findall(r"^ *\d+: ([0-9a-f]+) +(\d+) FUNC .* (\S+)$", text.stdout, re.MULTILINE)
    return [(int(start, 16), int(size), name) for start, size, name in rows if int(size)]


def addr2line(path, addresses):
    """For each address the (function, file, line) frames, innermost first, as addr2line has it."""
    program = shutil.which("addr2line")
    if program is None:
        pytest.skip("needs addr2line")
    text = subprocess.run(
        [program, "-e", path, "-a", "-i", "-f", *map(hex, addresses)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    answers = []
    for line in text.splitlines():
        if line.startswith("0x"):
            answers.append([])
        else:
            answers[-1].append(line)
    return [list(zip(answer[::2], answer[1::2], strict=True)) for answer in answers]


def position_of(text):
    file, _, line = text.partition(" (discriminator")[0].rpartition(":")
    return (None if file == "??" else file), (int(line) if line.isdigit() and line != "0" else None)


@pytest.fixture(params=["cpp_path", "rust_path"])
def path(request):
    return request.getfixturevalue(request.param)


def test_lines_and_inlined_functions_are_those_of_addr2line(path):
    chosen = random.Random(7)
    own = [
        f
        for f in functions_of(path)
        if re.search(r"6panics|inneri|middlei|^outer|^nested|4Drop[CD]", f[2])
    ]
    addresses = sorted(
        {start + chosen.randrange(size) for start, size, _ in own for _ in range(20)}
    )
    positions = SourcePositions(path.read_bytes(), SECTIONS)
    compared = 0
    for address, theirs in zip(addresses, addr2line(path, addresses), strict=True):
        ours = positions.at(address)
        assert [(p.file, p.line) for p in ours] == [position_of(text) for _, text in theirs], hex(
            address
        )
        names = [p.name for p in ours]
        assert all(
            name is None or name in their for name, (their, _) in zip(names, theirs, strict=True)
        ), (hex(address), names, theirs)
        compared += len(theirs)
    assert compared > len(addresses) > 50


def test_symbols_carry_positions_innermost_first(any_platform, cpp_library, cpp_path):
    any_platform.load(cpp_library)
    image = any_platform.load(cpp_path)
    start = image.symbols["outer"]
    answers = [any_platform.hooks.symbolicate(address=start + offset) for offset in range(100)]
    inlined = next(answer for answer in answers if len(answer) > 1)
    assert "Drop" in inlined[0].display_name
    assert inlined[-1].name == "outer"
    assert all(symbol.file.endswith("throws.cpp") and symbol.line for symbol in inlined)
    assert all(
        symbol.address + symbol.offset == start + answers.index(inlined) for symbol in inlined
    )


def test_an_image_without_dwarf_has_names_and_no_positions(platform, compile_image):
    image = platform.load(compile_image("plain", "int plain(void) { return 1; }"))
    (symbol,) = platform.hooks.symbolicate(address=image.symbols["plain"])
    assert (symbol.name, symbol.file, symbol.line, symbol.column) == ("plain", None, None, None)


def section(contents, name):
    """Offset and size of one section of an ELF file."""
    header, size, count, names = (
        struct.unpack_from("<Q", contents, 40)[0],
        64,
        *struct.unpack_from("<HH", contents, 60),
    )
    rows = [struct.unpack_from("<IIQQQQIIQQ", contents, header + n * size) for n in range(count)]
    start = rows[names][4]
    for row in rows:
        end = contents.index(b"\0", start + row[0])
        if contents[start + row[0] : end] == name:
            return row[4], row[5]
    raise AssertionError(name)


BROKEN_SECTIONS = (b".debug_info", b".debug_abbrev", b".debug_line", b".debug_aranges")


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(BROKEN_SECTIONS),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_broken_dwarf_is_never_an_error(cpp_path, name, changes):
    contents = bytearray(cpp_path.read_bytes())
    offset, size = section(contents, name)
    for place, byte in changes:
        contents[offset + place % size] = byte
    positions = SourcePositions(bytes(contents), SECTIONS)
    for start, length, _ in functions_of(cpp_path)[:20]:
        assert isinstance(positions.at(start + length // 2), (list, tuple))


@pytest.mark.parametrize("kept", [0, 64, 0.3, 0.6, 0.9, 0.99])
def test_truncated_dwarf_is_never_an_error(cpp_path, kept):
    contents = cpp_path.read_bytes()
    contents = contents[: kept if kept > 1 else int(len(contents) * kept)]
    assert list(SourcePositions(contents, SECTIONS).at(0x1200)) == []
