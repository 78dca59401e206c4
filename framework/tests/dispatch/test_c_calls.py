"""C functions served by Python, called by guest code on a real machine."""

import ctypes
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.assembly import BUNDLED, assemble
from theseus_kit.dispatch.prototype import parse_prototype
from theseus_kit.dispatch.trampolines import (
    CALLS_BEFORE,
    Parts,
    generated_trampoline,
    growing_trampoline,
    shape_of,
)
from theseus_kit.errors import (
    GuestKilled,
    MemoryFaultError,
    MissingSymbolError,
    OutOfMemoryError,
    PlatformError,
    PluginError,
)
from theseus_kit.hookspecs import hookimpl
from theseus_kit.plugin import Plugin, PluginDescription
from theseus_kit.values.exceptions import Panicked
from theseus_kit.values.linkage import CFunction, ErrorConvention

MINUS_ONE = 0xFFFF_FFFF_FFFF_FFFF
WORDS = st.integers(0, MINUS_ONE)
KINDS = {
    "plain": lambda parts: growing_trampoline(parts, lambda *settled: None),
    "generated": generated_trampoline,
}


def test_unsigned_arguments_and_pointers_arrive_as_they_are(export):
    got = []
    call = export("void f(size_t n, const void *p)", lambda *args: got.append(args))

    call(MINUS_ONE, 0x8000_0000_0000_0000)

    assert got == [(MINUS_ONE, 0x8000_0000_0000_0000)]


@pytest.mark.parametrize(
    ("ctype", "equivalent"),
    [
        ("int", ctypes.c_int32),
        ("unsigned int", ctypes.c_uint32),
        ("long", ctypes.c_int64),
        ("size_t", ctypes.c_uint64),
        ("short", ctypes.c_int16),
        ("uint16_t", ctypes.c_uint16),
        ("char", ctypes.c_int8),
        ("unsigned char", ctypes.c_uint8),
        ("bool", ctypes.c_bool),
        ("void *", ctypes.c_uint64),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
@given(word=WORDS)
def test_a_register_is_cut_to_its_c_type_as_a_compiler_cuts_it(kind, ctype, equivalent, word):
    got = []
    shape = shape_of(parse_prototype(f"void f({ctype} x)"))
    trampoline, arity = KINDS[kind](Parts(shape, got.append, None, None, None))

    trampoline(word)

    low = word & 0xFF if ctype == "bool" else word
    assert arity == 1
    assert got == [equivalent(low).value]


@pytest.mark.parametrize(
    ("result", "rax"), [(7, 7), (-1, MINUS_ONE), (True, 1), (1 << 64, 0), (MINUS_ONE, MINUS_ONE)]
)
def test_a_result_arrives_in_rax_cut_to_64_bits(export, result, rax):
    assert export("long f(void)", lambda: result)() == rax


def test_a_void_function_may_return_nothing(export):
    assert export("void f(int x)", lambda x: None)(1) == 0


def test_arguments_beyond_the_registers_come_from_the_stack(export):
    got = []
    call = export(
        "void f(int a, int b, int c, int d, int e, int f, int g, unsigned char h)",
        lambda *args: got.append(args),
    )

    call(1, 2, 3, 4, 5, 6, -7 & MINUS_ONE, 0x1FF)

    assert got == [(1, 2, 3, 4, 5, 6, -7, 0xFF)]


def test_doubles_travel_in_vector_registers_between_integers(export, platform):
    call = export("double f(int a, double x, long b, double y)", lambda a, x, b, y: a * x - b * y)

    call(3, 5, float_arguments=(0.5, 0.25))

    assert platform.machine.float_result() == 3 * 0.5 - 5 * 0.25


def test_a_float_travels_in_the_low_half_of_its_register(export, platform):
    as_double = struct.unpack("<d", struct.pack("<f", 1.5) + b"\xaa" * 4)[0]
    call = export("float f(float x)", lambda x: x * 2)

    call(float_arguments=(as_double,))

    low = struct.pack("<d", platform.machine.float_result())[:4]
    assert struct.unpack("<f", low) == (3.0,)


def test_the_prototype_is_parsed_at_the_first_call_only(export):
    call = export("int f(mystery_t x)", lambda x: 0)

    with pytest.raises(PluginError, match="unknown type 'mystery_t'"):
        call(1)


def test_calls_before_and_after_a_trampoline_is_generated_are_alike(export, platform):
    numbers = iter(range(100))
    call = export("int f(int a, int b)", lambda a, b: a * next(numbers) + b)
    scale = export("double f(int a, float x, double y)", lambda a, x, y: a * x + y)
    half = struct.unpack("<d", struct.pack("<fi", 0.5, -1))[0]

    for number in range(CALLS_BEFORE + 3):
        assert call(3, -5 & MINUS_ONE) == (3 * number - 5) & MINUS_ONE
        scale(number, float_arguments=(half, 0.25))
        assert platform.machine.float_result() == number / 2 + 0.25


def test_errors_before_and_after_a_trampoline_is_generated_are_alike(export):
    def refuse(size: int) -> int:
        raise OutOfMemoryError("no room") if size else ZeroDivisionError("oh")

    call = export("long f(size_t size)", refuse, ErrorConvention.NEGATIVE)
    for _ in range(CALLS_BEFORE + 3):
        assert call(1) == -errno.ENOMEM & MINUS_ONE
        with pytest.raises(PluginError, match="raised ZeroDivisionError: oh"):
            call(0)


def test_a_trampoline_is_generated_once_and_settled(export):
    settled = []
    parts = Parts(shape_of(parse_prototype("int f(int a)")), abs, None, None, None)
    trampoline, _ = growing_trampoline(parts, lambda *made: settled.append(made))

    assert [trampoline(-3 & MINUS_ONE) for _ in range(CALLS_BEFORE)] == [3] * CALLS_BEFORE
    assert not settled
    assert trampoline(-3 & MINUS_ONE) == 3
    ((generated, arity),) = settled
    assert (generated(-3 & MINUS_ONE), arity) == (3, 1)


@pytest.mark.parametrize(
    ("convention", "rax", "sets_errno"),
    [
        (ErrorConvention.MINUS_ONE, MINUS_ONE, True),
        (ErrorConvention.NULL, 0, True),
        (ErrorConvention.RESULT, errno.ENOMEM, False),
        (ErrorConvention.NEGATIVE, -errno.ENOMEM & MINUS_ONE, False),
    ],
)
def test_a_platform_error_is_told_as_the_convention_says(
    export, platform, convention, rax, sets_errno
):
    def refuse() -> int:
        raise OutOfMemoryError("no room")

    location = platform.machine.call(platform.namespace.resolve("__errno_location"))
    platform.machine.memory.write_u32(location, 0)

    assert export("long f(void)", refuse, convention)() == rax
    assert platform.machine.memory.read_u32(location) == (errno.ENOMEM if sets_errno else 0)


def test_a_platform_error_kills_where_there_is_no_way_to_tell(export):
    def refuse(p: int) -> int:
        raise MemoryFaultError(p, "read")

    with pytest.raises(GuestKilled) as killed:
        export("int f(const void *p)", refuse)(0x10)

    assert killed.value.reason == Panicked("f: read of 0x10: not mapped for it")
    assert isinstance(killed.value.__cause__, PlatformError)


def test_an_error_in_a_body_names_plugin_function_and_decoded_arguments(export):
    def broken(fd: int, size: int) -> int:
        raise ZeroDivisionError("oh")

    with pytest.raises(PluginError, match="oh") as raised:
        export("int f(int fd, size_t size)", broken)(MINUS_ONE, 5)

    assert raised.value.plugin == __name__.partition(".")[0]
    assert raised.value.hook == "f"
    assert raised.value.values == {"fd": -1, "size": 5}
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("wrong", ["text", None, 1.5, [1]])
def test_a_body_that_returns_no_integer_is_the_plugins_mistake(export, wrong):
    with pytest.raises(PluginError, match="takes or returns what its prototype does not say"):
        export("int f(void)", lambda: wrong)()


def test_a_body_of_other_arity_is_the_plugins_mistake(export):
    with pytest.raises(PluginError, match="takes or returns what its prototype does not say"):
        export("int f(int a, int b)", lambda a: a)(1, 2)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MissingSymbolError("g", "lib")])
def test_interrupts_and_the_kits_own_errors_pass_untouched(export, error):
    def body() -> int:
        raise error

    with pytest.raises(type(error)) as raised:
        export("int f(void)", body)()

    assert raised.value is error


def test_machine_code_is_bound_instead_of_the_body(export):
    code = bytes.fromhex("8d443701 c3")  # lea eax, [rdi + rsi + 1]; ret

    assert export("int f(int a, int b)", lambda a, b: 0, machine_code=code)(2, 3) == 6
    assert export("int f(int a, int b)", lambda a, b: 0, machine_code=lambda: code)(2, 3) == 6


def test_a_function_that_reenters_may_call_the_guest(export, platform):
    double = platform.machine.place_code(bytes.fromhex("8d043f c3"))  # lea eax, [rdi + rdi]; ret
    call = export("int f(int x)", lambda x: platform.machine.call(double, (x,)) + 1, reenters=True)

    assert call(20) == 41


def test_an_assembled_platform_names_the_plugin_a_function_comes_from():
    class Faulty(Plugin):
        description = PluginDescription(name="faulty", version="1")

        @hookimpl
        def c_symbols(self):
            return [CFunction("int wrong(int x)", lambda x: x / 0)]

    with assemble([Faulty, *BUNDLED]) as platform:
        address = platform.namespace.resolve("wrong")
        with pytest.raises(PluginError, match=r"plugin 'faulty', hook wrong\(x=3\): raised Zero"):
            platform.machine.call(address, (3,))
