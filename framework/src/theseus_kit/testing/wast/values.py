"""The values of ``.wast`` scripts, as exact bits.

A constant is a kind and a bit pattern, never a Python float: a float would lose the payload and
the signalling bit of a NaN. Literals are rounded once, from the exact rational number they
denote, straight to the format they are for: a decimal or hexadecimal literal that went through
binary64 on its way to binary32 would be rounded twice.

What a result is compared with may also be a pattern: a NaN of a certain class, a reference of a
certain type, one of several.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TypeAlias

from theseus_kit.values.record import NamedTuple


class Kind(IntEnum):
    """``wasmtime_valkind_t``: what ``kind`` of a ``wasmtime_val_t`` may be (wasmtime/val.h)."""

    I32 = 0
    I64 = 1
    F32 = 2
    F64 = 3
    V128 = 4
    FUNCREF = 5
    EXTERNREF = 6
    ANYREF = 7
    EXNREF = 8


class Number(NamedTuple):
    """A number or vector: its little-endian bits as an unsigned integer."""

    kind: Kind
    bits: int

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {self.bits:#0{_BITS[self.kind] // 4 + 2}x}"


class NanPattern(NamedTuple):
    """Any NaN of a class: canonical ones, or all arithmetic (quiet) ones."""

    kind: Kind
    canonical: bool

    def matches(self, bits: int) -> bool:
        """Tell whether the bits are such a NaN, of either sign.

        An arithmetic NaN has the most significant bit of its payload set, a canonical one has no
        other payload bit (WebAssembly specification, "Values", "Floating-Point").
        """
        fraction, exponent = _FORMATS[self.kind]
        quiet = ((1 << exponent + 1) - 1) << fraction - 1
        magnitude = bits & ~(1 << fraction + exponent)
        return magnitude == quiet if self.canonical else magnitude & quiet == quiet

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} nan:{'canonical' if self.canonical else 'arithmetic'}"


class VectorPattern(NamedTuple):
    """A v128 of floating-point lanes, lane 0 first, some of them any NaN of a class."""

    kind: Kind
    lanes: tuple[int | NanPattern, ...]

    def matches(self, bits: int) -> bool:
        """Tell whether every lane of a v128 fits."""
        width = _BITS[self.kind]
        mask = (1 << width) - 1
        for number, lane in enumerate(self.lanes):
            found = bits >> number * width & mask
            if not (lane.matches(found) if isinstance(lane, NanPattern) else lane == found):
                return False
        return True

    def __str__(self) -> str:
        digits = _BITS[self.kind] // 4 + 2
        lanes = " ".join(
            str(lane).split()[-1] if isinstance(lane, NanPattern) else f"{lane:#0{digits}x}"
            for lane in self.lanes
        )
        return f"v128 {self.kind.name.lower()}x{len(self.lanes)} {lanes}"


class Null(NamedTuple):
    """A null reference; of any type if ``heap_type`` is empty."""

    heap_type: str

    @property
    def kind(self) -> Kind | None:
        """The kind that holds such a null; None if the type does not say (``$t``, empty)."""
        return HEAP_TYPE_KINDS.get(self.heap_type)

    def __str__(self) -> str:
        return f"ref.null {self.heap_type}".rstrip()


class HostReference(NamedTuple):
    """A reference to something of the host's, told apart by a number.

    ``(ref.extern n)`` is one as an externref, ``(ref.host n)`` the same internalised: an anyref.
    """

    kind: Kind
    number: int

    def __str__(self) -> str:
        return f"{'ref.extern' if self.kind is Kind.EXTERNREF else 'ref.host'} {self.number}"


class ReferencePattern(NamedTuple):
    """Any reference of a heap type that is not null: ``(ref.func)``, ``(ref.i31)``…"""

    heap_type: str

    def __str__(self) -> str:
        return f"ref.{self.heap_type}"


class Either(NamedTuple):
    """One of several, where the specification leaves a choice."""

    alternatives: tuple[Expectation, ...]

    def __str__(self) -> str:
        return "either " + " or ".join(str(one) for one in self.alternatives)


Constant: TypeAlias = Number | Null | HostReference
"""What a function may be given."""

Expectation: TypeAlias = (
    Number | NanPattern | VectorPattern | Null | HostReference | ReferencePattern | Either
)
"""What a result may be compared with."""

HEAP_TYPE_KINDS = {
    **dict.fromkeys(("func", "nofunc"), Kind.FUNCREF),
    **dict.fromkeys(("extern", "noextern"), Kind.EXTERNREF),
    **dict.fromkeys(("any", "eq", "i31", "struct", "array", "none"), Kind.ANYREF),
    **dict.fromkeys(("exn", "noexn"), Kind.EXNREF),
}
SHAPES = {
    "i8x16": (Kind.I32, 8, 16),
    "i16x8": (Kind.I32, 16, 8),
    "i32x4": (Kind.I32, 32, 4),
    "i64x2": (Kind.I64, 64, 2),
    "f32x4": (Kind.F32, 32, 4),
    "f64x2": (Kind.F64, 64, 2),
}
"""The shapes of v128: kind of a lane, bits of a lane, number of lanes."""

_BITS = {Kind.I32: 32, Kind.I64: 64, Kind.F32: 32, Kind.F64: 64, Kind.V128: 128}
# IEEE 754 binary32 and binary64: bits of the fraction, bits of the exponent.
_FORMATS = {Kind.F32: (23, 8), Kind.F64: (52, 11)}
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?:"
    r"(?P<infinity>inf)|(?P<nan>nan)(?::(?P<payload>0x[0-9a-fA-F_]+))?|"
    r"0x(?P<hex>[0-9a-fA-F_]+)(?:\.(?P<hex_fraction>[0-9a-fA-F_]*))?(?:[pP](?P<power>[+-]?[0-9_]+))?|"
    r"(?P<whole>[0-9_]+)(?:\.(?P<fraction>[0-9_]*))?(?:[eE](?P<exponent>[+-]?[0-9_]+))?)"
)


def integer_bits(literal: str, width: int) -> int:
    """Return the bits of an integer literal, signed or unsigned. Raises ValueError.

    >>> hex(integer_bits("-0x1", 32))
    '0xffffffff'
    """
    value = int(literal.replace("_", ""), 16 if "x" in literal else 10)
    if not -(1 << width - 1) <= value < 1 << width:
        raise ValueError(f"{literal} does not fit {width} bits")
    return value & (1 << width) - 1


def float_bits(literal: str, kind: Kind) -> int:
    """Return the bits of a floating-point literal, rounded once, to nearest, ties to even.

    Raises ValueError for what is no literal, and for one that rounds to infinity, which the
    specification calls malformed.

    >>> hex(float_bits("-nan:0x200000", Kind.F32))
    '0xffa00000'
    """
    match = _NUMBER.fullmatch(literal)
    if match is None:
        raise ValueError(f"{literal} is no floating-point literal")
    fraction_bits, exponent_bits = _FORMATS[kind]
    sign = (match["sign"] == "-") << fraction_bits + exponent_bits
    infinity = ((1 << exponent_bits) - 1) << fraction_bits
    if match["infinity"]:
        return sign | infinity
    if match["nan"]:
        payload = match["payload"]
        if payload is None:
            return sign | infinity | 1 << fraction_bits - 1
        return sign | infinity | int(payload.replace("_", ""), 16)
    magnitude = _round(*_ratio(match), fraction_bits, exponent_bits)
    if magnitude >= infinity:
        raise ValueError(f"{literal} does not fit an {kind.name.lower()}")
    return sign | magnitude


def _ratio(match: re.Match[str]) -> tuple[int, int]:
    """Return the literal's magnitude as numerator and denominator, exactly."""
    if match["hex"] is not None:
        fraction = (match["hex_fraction"] or "").replace("_", "")
        significand = int(match["hex"].replace("_", "") + fraction, 16)
        power = int((match["power"] or "0").replace("_", "")) - 4 * len(fraction)
        base = 2
    else:
        fraction = (match["fraction"] or "").replace("_", "")
        significand = int(match["whole"].replace("_", "") + fraction)
        power = int((match["exponent"] or "0").replace("_", "")) - len(fraction)
        base = 10
    return (significand * base**power, 1) if power >= 0 else (significand, base**-power)


def _round(numerator: int, denominator: int, fraction_bits: int, exponent_bits: int) -> int:
    """Return the bits, without sign, of the nearest number of a format, ties to even.

    The result is scaled so that its unit is one unit in the last place: the integer quotient is
    then the significand, the remainder decides the rounding, and a carry out of the significand
    lands in the exponent, where it belongs.
    """
    if numerator == 0:
        return 0
    bias = (1 << exponent_bits - 1) - 1
    # 2**exponent <= numerator/denominator < 2**(exponent + 1)
    exponent = numerator.bit_length() - denominator.bit_length()
    if numerator << max(0, -exponent) < denominator << max(0, exponent):
        exponent -= 1
    exponent = max(exponent, 1 - bias)  # below are the subnormals, which share one unit
    shift = exponent - fraction_bits
    numerator <<= max(0, -shift)
    denominator <<= max(0, shift)
    significand, remainder = divmod(numerator, denominator)
    if 2 * remainder > denominator or (2 * remainder == denominator and significand & 1):
        significand += 1
    # A subnormal has biased exponent 0 and no implicit bit: adding the significand to the biased
    # exponent less one gives both cases.
    return (exponent + bias - 1 << fraction_bits) + significand
