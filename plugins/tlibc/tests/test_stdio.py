"""Formatting, beside the host's own snprintf."""

import ctypes
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from theseus_kit_tlibc.stdio import formatted

HOST = ctypes.CDLL(None)


class Given:
    """Arguments as a test gives them."""

    def __init__(self, *values):
        self.values = list(values)

    def integer(self):
        return self.values.pop(0) & (1 << 64) - 1

    def double(self):
        return self.values.pop(0)


FLAGS = st.text(alphabet="-+ #0", max_size=3)
WIDTHS = st.one_of(st.just(""), st.integers(1, 30).map(str))
PRECISIONS = st.one_of(st.just(""), st.just("."), st.integers(0, 25).map(lambda n: f".{n}"))
LENGTHS = st.sampled_from(["", "hh", "h", "l", "ll", "z", "j", "t"])


@settings(max_examples=300)
@given(
    flags=FLAGS,
    width=WIDTHS,
    precision=PRECISIONS,
    length=LENGTHS,
    conversion=st.sampled_from("diuoxX"),
    value=st.one_of(st.integers(0, (1 << 64) - 1), st.integers(-5, 5)),
)
@example(flags="#0", width="10", precision="", length="", conversion="o", value=8)
@example(flags="#", width="", precision=".0", length="", conversion="o", value=0)
def test_integers_are_written_as_the_host_writes_them(
    flags, width, precision, length, conversion, value
):
    template = f"<%{flags}{width}{precision}{length}{conversion}>".encode()
    buffer = ctypes.create_string_buffer(100)
    size = HOST.snprintf(
        buffer, ctypes.c_size_t(100), template, ctypes.c_uint64(value & (1 << 64) - 1)
    )

    result = formatted(template, Given(value), lambda address: b"")

    assert result == buffer.raw[:size]


@example(flags="0#", width="3", precision=".", conversion="f", value=0.0)
@settings(max_examples=200)
@given(
    flags=FLAGS,
    width=WIDTHS,
    precision=PRECISIONS,
    conversion=st.sampled_from("fFeEgG"),
    value=st.floats(-1e20, 1e20) | st.sampled_from([float("inf"), float("-inf")]),
)
def test_doubles_are_written_as_the_host_writes_them(flags, width, precision, conversion, value):
    template = f"<%{flags}{width}{precision}{conversion}>".encode()
    buffer = ctypes.create_string_buffer(200)
    size = HOST.snprintf(buffer, ctypes.c_size_t(200), template, ctypes.c_double(value))

    assert formatted(template, Given(value), lambda address: b"") == buffer.raw[:size]


@settings(max_examples=100)
@given(
    flags=st.text(alphabet="-", max_size=1),
    width=WIDTHS,
    precision=PRECISIONS,
    text=st.binary(max_size=20).map(lambda t: t.replace(b"\0", b"!")),
)
def test_strings_are_cut_and_padded_as_the_host_does_it(flags, width, precision, text):
    template = f"<%{flags}{width}{precision}s>".encode()
    buffer = ctypes.create_string_buffer(200)
    size = HOST.snprintf(buffer, ctypes.c_size_t(200), template, text)

    assert formatted(template, Given(1), lambda address: text) == buffer.raw[:size]


def test_integers_and_doubles_come_from_registers_and_then_from_the_stack(c):
    template = b"%d %g %d %g %d %g %d %g %d %g %g %g %g %g %d"
    integers = (1, 2, 3, -4, 5, 6)
    doubles = (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5)
    (ninth,) = struct.unpack("<Q", struct.pack("<d", doubles[8]))
    text = c.block(bytes(200))
    # Three integers fit in registers, eight doubles; the rest follows on the stack as it comes.
    stack = (integers[3] & (1 << 64) - 1, integers[4], ninth, integers[5])

    size = c.machine.call(
        c.platform.namespace.resolve("snprintf"),
        (text, 200, c.string(template), *integers[:3], *stack),
        float_arguments=doubles[:8],
    )

    expected = b"1 0.5 2 1.5 3 2.5 -4 3.5 5 4.5 5.5 6.5 7.5 8.5 6"
    assert c.memory.read(text, size) == expected


def test_a_va_list_is_read_and_advanced(c):
    saved = c.block(struct.pack("<6Q", 0, 0, 0, 0, 41, 42) + struct.pack("<dd", 1.5, 0) * 8)
    overflow = c.block(struct.pack("<Q", 43))
    arguments = c.block(struct.pack("<IIQQ", 32, 48, overflow, saved))
    text = c.block(bytes(50))

    c.vsnprintf(text, 50, c.string(b"%d %d %g %d"), arguments)

    assert c.memory.read_string(text) == b"41 42 1.5 43"
    assert struct.unpack("<IIQQ", c.memory.read(arguments, 24))[:3] == (48, 64, overflow + 8)


def test_a_text_that_does_not_fit_is_cut_and_its_length_told(c):
    text = c.block(b"\xff" * 8)

    assert c.snprintf(text, 4, c.string(b"%s"), c.string(b"too long")) == 8
    assert c.memory.read(text, 5) == b"too\0\xff"
    assert c.snprintf(0, 0, c.string(b"%%%c"), ord("x")) == 2


@pytest.mark.parametrize("template", [b"%n", b"%k"])
def test_a_conversion_that_is_not_supported_is_an_error(c, template):
    assert c.snprintf(c.block(bytes(8)), 8, c.string(template), 1) == (1 << 64) - 1
    assert c.errno == 22
