"""String functions against the host's own libc: the machine code and the Python bodies."""

import ctypes
import ctypes.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import KilledByException
from theseus_kit_tlibc.library import Library, Options
from theseus_kit_tlibc.string import String

HOST = ctypes.CDLL(ctypes.util.find_library("c"))
SIZES = st.one_of(st.integers(0, 70), st.sampled_from([127, 128, 129, 255, 256, 4095, 4096, 5000]))


def sign(value: int) -> int:
    value = ctypes.c_int32(value & 0xFFFF_FFFF).value
    return (value > 0) - (value < 0)


@pytest.fixture(scope="module")
def bodies(shared):
    """The Python bodies, which a wrapper of the functions would reach."""
    return String(Library(shared.platform.services, Options()))


@pytest.fixture(scope="module")
def arena(shared):
    """Three pages of memory with nothing readable behind them."""
    return shared.block(bytes(3 * 4096)), 3 * 4096


@pytest.fixture(scope="module", params=["machine code", "Python"])
def functions(request, shared, bodies):
    return shared if request.param == "machine code" else bodies


@given(data=st.data(), size=SIZES, name=st.sampled_from(["memmove", "memcpy"]))
def test_memmove_copies_overlapping_blocks_as_the_host_does(
    shared, bodies, functions, arena, data, size, name
):
    start, room = arena
    source = data.draw(st.integers(0, room - size))
    near = st.integers(max(0, source - 80), min(room - size, source + 80))
    target = data.draw(st.one_of(near, st.integers(0, room - size), st.just(room - size)))
    content = bytes((i * 7 + i // 256) & 0xFF for i in range(room))
    host = ctypes.create_string_buffer(content, room)
    shared.memory.write(start, content)

    HOST.memmove(ctypes.byref(host, target), ctypes.byref(host, source), size)
    copy = functions.memcpy if functions is bodies else getattr(shared, name)
    assert copy(start + target, start + source, size) == start + target

    assert shared.memory.read(start, room) == host.raw


@given(data=st.data(), size=SIZES, byte=st.integers(-300, 300))
def test_memset_fills_exactly_its_bytes(shared, functions, arena, data, size, byte):
    start, room = arena
    target = data.draw(st.one_of(st.integers(0, room - size), st.just(room - size)))
    shared.memory.write(start, b"\xa5" * room)

    assert functions.memset(start + target, byte, size) == start + target

    filled = bytes((byte & 0xFF,)) * size
    expected = b"\xa5" * target + filled + b"\xa5" * (room - target - size)
    assert shared.memory.read(start, room) == expected


@given(
    common=st.binary(max_size=60),
    one=st.binary(max_size=4),
    other=st.binary(max_size=4),
    tail=st.binary(max_size=20),
)
def test_memcmp_finds_the_first_difference_as_unsigned_bytes(
    shared, functions, arena, common, one, other, tail
):
    start, room = arena
    width = min(len(one), len(other))
    a, b = common + one[:width] + tail, common + other[:width] + tail
    # The second block ends where nothing is mapped.
    first, second = start, start + room - len(b)
    shared.memory.write(first, a)
    shared.memory.write(second, b)

    result = functions.memcmp(first, second, len(a))

    assert sign(result) == sign(HOST.memcmp(a, b, len(a)))


@given(text=st.binary(max_size=100).filter(lambda t: 0 not in t))
def test_strlen_stops_at_the_last_byte_of_the_last_page(shared, functions, arena, text):
    start, room = arena
    address = start + room - len(text) - 1
    shared.memory.write(address, text + b"\0")

    assert functions.strlen(address) == len(text)


TEXTS = st.binary(max_size=12).map(lambda t: t.replace(b"\0", b"\1"))


@given(one=TEXTS, other=TEXTS, count=st.integers(0, 14), byte=st.integers(0, 255))
def test_string_searches_and_comparisons_agree_with_the_host(shared, one, other, count, byte):
    a, b = shared.string(one), shared.string(other)
    host = ctypes.create_string_buffer(one)
    base = ctypes.addressof(host)
    for name in ("strchr", "strrchr"):
        function = getattr(HOST, name)
        function.restype = ctypes.c_void_p
        expected = function(host, byte)
        found = getattr(shared, name)(a, byte)
        assert (found - a if found else None) == (None if expected is None else expected - base)
    assert sign(shared.strcmp(a, b)) == sign(HOST.strcmp(one, other))
    assert sign(shared.strncmp(a, b, count)) == sign(HOST.strncmp(one, other, count))
    assert shared.strnlen(a, count) == min(len(one), count)
    expected = one.find(byte) if byte else -1
    found = shared.memchr(a, byte, len(one))
    assert (found - a if found else -1) == expected


def test_memchr_may_be_given_more_bytes_than_there_are(shared):
    address = shared.string(b"needle")

    assert shared.memchr(address, ord("d"), 1 << 40) == address + 3


def test_strncpy_pads_with_zeros_and_may_leave_out_the_end(shared):
    source, target = shared.string(b"abc"), shared.block(b"\xff" * 8)

    assert shared.strncpy(target, source, 6) == target
    assert shared.memory.read(target, 8) == b"abc\0\0\0\xff\xff"

    shared.strncpy(target, source, 2)
    assert shared.memory.read(target, 3) == b"abc"


def test_strdup_makes_a_string_that_can_be_freed(shared):
    copy = shared.strdup(shared.string(b"text"))

    assert shared.memory.read_string(copy) == b"text"
    shared.free(copy)


def test_a_bad_pointer_faults_in_the_function_like_any_code(c):
    with pytest.raises(GuestKilled) as killed:
        c.memcpy(c.block(bytes(16)), 0x10, 16)

    assert killed.value.reason == KilledByException(14)
    assert killed.value.context.page_fault.accessed_address == 0x10
