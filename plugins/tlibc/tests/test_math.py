"""math.h beside the host's libm, bit for bit."""

import ctypes
import ctypes.util
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from theseus_kit_tlibc.library import Library, Options
from theseus_kit_tlibc.math import Math

HOST = ctypes.CDLL(ctypes.util.find_library("m"))
DOUBLES = st.one_of(
    st.floats(), st.floats(-100, 100), st.sampled_from([0.0, -0.0, 0.5, -2.5, 1e16])
)
SINGLES = st.one_of(st.floats(width=32), st.floats(-100, 100, width=32))


def host(name, *values, single=False):
    kind = ctypes.c_float if single else ctypes.c_double
    function = getattr(HOST, name)
    function.restype, function.argtypes = kind, [kind] * len(values)
    return function(*values)


def same(one, other):
    """Equal bits; any NaN is any other."""
    return (one != one and other != other) or struct.pack("<d", one) == struct.pack("<d", other)


@pytest.fixture(scope="module")
def bodies(shared):
    return Math(Library(shared.platform.services, Options()))


def guest(c, name, *values):
    c.machine.call(c.platform.namespace.resolve(name), (), float_arguments=values)
    return c.machine.float_result()


def as_register(value):
    return struct.unpack("<d", struct.pack("<f", value) + bytes(4))[0]


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "rint", "nearbyint"])
@given(x=DOUBLES)
def test_doubles_are_rounded_as_the_host_rounds_them(shared, bodies, name, x):
    expected = host(name, x)

    assert same(guest(shared, name, x), expected)
    assert same(getattr(bodies, name.replace("nearbyint", "rint"))(x), expected)


@pytest.mark.parametrize("name", ["floorf", "ceilf", "truncf", "rintf"])
@given(x=SINGLES)
def test_floats_are_rounded_as_the_host_rounds_them(shared, bodies, name, x):
    expected = host(name, x, single=True)
    low = struct.pack("<d", guest(shared, name, as_register(x)))[:4]

    assert same(struct.unpack("<f", low)[0], expected)
    assert same(getattr(bodies, name)(x), expected)


@pytest.mark.parametrize("name", ["pow", "fmod"])
@given(x=DOUBLES, y=DOUBLES)
@example(x=-0.0, y=-3.0)
@example(x=-8.0, y=0.5)
@example(x=-1e300, y=3.0)
def test_functions_of_two_doubles_answer_as_the_host_does(shared, name, x, y):
    assert same(guest(shared, name, x, y), host(name, x, y))


@given(x=DOUBLES, y=DOUBLES, z=DOUBLES)
@example(x=1e308, y=10.0, z=0.0)
@example(x=0.1, y=10.0, z=-1.0)
def test_fused_doubles_are_rounded_once(shared, x, y, z):
    assert same(guest(shared, "fma", x, y, z), host("fma", x, y, z))


@given(x=SINGLES, y=SINGLES, z=SINGLES)
@example(x=2.0**-100, y=2.0**-49, z=0.0)
@example(x=1.0 + 2.0**-12, y=1.0 + 2.0**-12, z=2.0**-60)
def test_fused_floats_are_rounded_once(shared, x, y, z):
    expected = host("fmaf", x, y, z, single=True)
    registers = [as_register(value) for value in (x, y, z)]
    low = struct.pack("<d", guest(shared, "fmaf", *registers))[:4]

    assert same(struct.unpack("<f", low)[0], expected)
