"""Literals to bits, with Wasmtime's own text parser as the oracle."""

import struct

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.testing.wast.values import (
    Kind,
    NanPattern,
    VectorPattern,
    float_bits,
    integer_bits,
)

FLOATS = st.sampled_from([Kind.F32, Kind.F64])
SIGNS = st.sampled_from(["", "+", "-"])


def bits_by_wasmtime(kind: Kind, literal: str) -> int:
    """Return the bits Wasmtime's parser gives a literal: the last bytes of a global's value."""
    type_ = kind.name.lower()
    binary = wasmtime.wat2wasm(f"(module (global {type_} ({type_}.const {literal})))")
    size = 4 if kind is Kind.F32 else 8
    return int.from_bytes(binary[-1 - size : -1], "little")


@given(FLOATS, SIGNS, st.integers(0, 10**25), st.integers(0, 10**25), st.integers(-60, 12))
def test_decimal_literals_round_as_wasmtime_rounds_them(
    kind: Kind, sign: str, whole: int, fraction: int, exponent: int
) -> None:
    literal = f"{sign}{whole}.{fraction}e{exponent}"
    assert float_bits(literal, kind) == bits_by_wasmtime(kind, literal)


@given(FLOATS, SIGNS, st.integers(0, 2**80), st.integers(0, 2**60), st.integers(-250, 40))
def test_hexadecimal_literals_round_as_wasmtime_rounds_them(
    kind: Kind, sign: str, whole: int, fraction: int, power: int
) -> None:
    literal = f"{sign}0x{whole:x}.{fraction:x}p{power}"
    assert float_bits(literal, kind) == bits_by_wasmtime(kind, literal)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_read_back_is_itself(value: float) -> None:
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    assert float_bits(repr(value), Kind.F64) == bits
    assert float_bits(value.hex(), Kind.F64) == bits


def test_a_literal_is_not_rounded_through_binary64() -> None:
    # A little above the middle of two binary32 numbers: binary64 has only the middle itself.
    literal = "0x1.00000100000000001p0"
    assert float_bits(literal, Kind.F32) == 0x3F800001
    through_double = struct.unpack("<I", struct.pack("<f", float.fromhex(literal)))[0]
    assert through_double == 0x3F800000


@pytest.mark.parametrize(
    ("literal", "kind", "bits"),
    [
        ("nan", Kind.F32, 0x7FC00000),
        ("-nan:0x200000", Kind.F32, 0xFFA00000),
        ("nan:0x4_0000_0000_0000", Kind.F64, 0x7FF4000000000000),
        ("-inf", Kind.F64, 0xFFF0000000000000),
        ("-0", Kind.F32, 0x80000000),
        ("0x1p-149", Kind.F32, 1),
        ("0x1p-150", Kind.F32, 0),
        ("0x1.000002p-150", Kind.F32, 1),
        ("0x1.fffffep127", Kind.F32, 0x7F7FFFFF),
        ("4.9406564584124654e-324", Kind.F64, 1),
        ("1_000.5", Kind.F32, 0x447A2000),
    ],
)
def test_edges_of_the_formats(literal: str, kind: Kind, bits: int) -> None:
    assert float_bits(literal, kind) == bits == bits_by_wasmtime(kind, literal)


@pytest.mark.parametrize("literal", ["0x1p128", "0x1.ffffffp127", "1e39", "nan:canonical", "x"])
def test_what_is_no_binary32_literal_is_refused(literal: str) -> None:
    with pytest.raises(ValueError, match=literal):
        float_bits(literal, Kind.F32)


def test_integers_are_signed_or_unsigned() -> None:
    assert integer_bits("-1", 32) == integer_bits("4294967295", 32) == 0xFFFFFFFF
    assert integer_bits("-0x8000_0000", 32) == 0x80000000
    for literal in ("4294967296", "-2147483649"):
        with pytest.raises(ValueError, match="does not fit 32 bits"):
            integer_bits(literal, 32)


def test_a_canonical_nan_has_one_payload_bit_and_any_sign() -> None:
    pattern = NanPattern(Kind.F32, canonical=True)
    assert pattern.matches(0x7FC00000)
    assert pattern.matches(0xFFC00000)
    assert not pattern.matches(0x7FC00001)
    assert not pattern.matches(0x7FA00000)
    assert not pattern.matches(0x7F800000)


def test_an_arithmetic_nan_is_any_quiet_one() -> None:
    pattern = NanPattern(Kind.F64, canonical=False)
    assert pattern.matches(0x7FF8000000000000)
    assert pattern.matches(0xFFFFFFFFFFFFFFFF)
    assert not pattern.matches(0x7FF4000000000000)
    assert not pattern.matches(0x7FF0000000000000)


def test_a_vector_pattern_is_judged_lane_by_lane() -> None:
    pattern = VectorPattern(Kind.F64, (0x3FF0000000000000, NanPattern(Kind.F64, canonical=True)))
    one, nan = 0x3FF0000000000000, 0x7FF8000000000000
    assert pattern.matches(nan << 64 | one)
    assert not pattern.matches(one << 64 | nan)
    assert str(pattern) == "v128 f64x2 0x3ff0000000000000 nan:canonical"
