"""Numbers as C writes them in text, and the forms that memory has of floating-point ones.

One format stands for each of C's types (C17 7.22.1.3, 5.2.4.2.2)::

    float        24 bits of significand,  smallest normal 2**-126,    largest below 2**128
    double       53                       2**-1022                    2**1024
    long double  64, the first written    2**-16382                   2**16384
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from theseus_kit.values.record import NamedTuple

_DECIMAL = re.compile(
    rb"[ \t\n\v\f\r]*(?P<sign>[-+]?)(?:"
    rb"(?P<special>inf(?:inity)?|nan(?:\([0-9a-z_]*\))?)"
    rb"|0x(?P<hex>[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p(?P<power>[-+]?\d+))?"
    rb"|(?P<digits>\d+\.?\d*|\.\d+)(?:e(?P<exponent>[-+]?\d+))?)",
    re.IGNORECASE,
)
_INTEGER = re.compile(rb"[ \t\n\v\f\r]*(?P<sign>[-+]?)(?P<prefix>0x(?=[0-9a-f]))?", re.IGNORECASE)
_FAR = 100_000
"""An exponent of ten or two beyond which any format's answer is 0 or infinity."""


_PIECE = 4000


class Format(NamedTuple):
    """A binary floating-point format."""

    digits: int
    minimum: int
    """Exponent of the smallest normal number."""
    maximum: int
    """Exponent of the largest."""

    def round(self, exact: Fraction) -> Fraction | None:
        """The nearest number of the format, halves to even; None if that would be infinite."""
        size = abs(exact)
        if not size:
            return exact
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        if size < _power(exponent):
            exponent -= 1
        unit = _power(max(exponent, self.minimum) - self.digits + 1)
        rounded = round(size / unit) * unit
        if rounded >= _power(self.maximum + 1):
            return None
        return rounded if exact > 0 else -rounded


SINGLE = Format(24, -126, 127)
DOUBLE = Format(53, -1022, 1023)
EXTENDED = Format(64, -16382, 16383)


class Parsed(NamedTuple):
    """A number read off the start of a text."""

    length: int
    """Bytes used, white space included; 0 if there is no number."""
    negative: bool
    value: Fraction | float
    """Without its sign; a float only for infinity and NaN."""


class Rounded(NamedTuple):
    """A number of a format."""

    negative: bool
    value: Fraction | float
    in_range: bool
    """False where the format has no such number: too large, or too small and not exact."""

    def as_float(self) -> float:
        """As Python has it; exact for formats up to double."""
        size = float(self.value)
        return -size if self.negative else size


def parse_float(text: bytes) -> Parsed:
    """Read a number as strtod does (C17 7.22.1.3)."""
    match = _DECIMAL.match(text)
    if match is None:
        return Parsed(0, False, Fraction(0))
    negative = match["sign"] == b"-"
    value: Fraction | float
    if match["special"]:
        value = math.inf if match["special"][:1] in b"iI" else math.nan
    elif match["hex"] is not None:
        value = _scaled(match["hex"], 16, 4, 2, int(match["power"] or 0))
    else:
        value = _scaled(match["digits"], 10, 1, 10, int(match["exponent"] or 0))
    return Parsed(match.end(), negative, value)


def _scaled(digits: bytes, base: int, places: int, radix: int, exponent: int) -> Fraction | float:
    whole, _, fraction = digits.partition(b".")
    number = _natural(whole + fraction, base)
    exponent -= places * len(fraction)
    if not number:
        return Fraction(0)
    # Without this, 1e999999999 would be computed in full.
    if exponent > _FAR:
        return math.inf
    if exponent + places * len(whole + fraction) < -_FAR:
        return Fraction(1, 1 << _FAR)
    return Fraction(number) * Fraction(radix) ** exponent


def rounded(parsed: Parsed, form: Format) -> Rounded:
    """The nearest number of a format."""
    value = parsed.value
    if isinstance(value, float):
        overflowed = math.isinf(value) and parsed.length > 0
        return Rounded(parsed.negative, value, not overflowed)
    near = form.round(value)
    if near is None:
        return Rounded(parsed.negative, math.inf, False)
    tiny = near < _power(form.minimum) and near != value
    return Rounded(parsed.negative, near, not tiny)


def is_infinite_word(text: bytes) -> bool:
    """Whether a text spells infinity out, which is no overflow."""
    match = _DECIMAL.match(text)
    return match is not None and bool(match["special"])


def extended_bytes(number: Rounded) -> bytes:
    """The ten bytes of an x87 long double."""
    sign = number.negative << 15
    value = number.value
    if isinstance(value, float):
        significand = 1 << 63 if math.isinf(value) else 3 << 62
        return significand.to_bytes(8, "little") + (sign | 0x7FFF).to_bytes(2, "little")
    if not value:
        return bytes(8) + sign.to_bytes(2, "little")
    exponent = max(
        value.numerator.bit_length() - value.denominator.bit_length(), EXTENDED.minimum - 1
    )
    if value < _power(exponent):
        exponent -= 1
    exponent = max(exponent, EXTENDED.minimum)
    significand = int(value / _power(exponent - 63))
    biased = exponent + 16383 if significand >> 63 else 0
    return significand.to_bytes(8, "little") + (sign | biased).to_bytes(2, "little")


def extended_value(data: bytes) -> tuple[bool, Fraction | float]:
    """(negative, size) of the ten bytes of a long double."""
    significand = int.from_bytes(data[:8], "little")
    top = int.from_bytes(data[8:10], "little")
    negative, biased = bool(top >> 15), top & 0x7FFF
    if biased == 0x7FFF:
        return negative, math.nan if significand & (1 << 63) - 1 else math.inf
    return negative, significand * _power(max(biased, 1) - 16383 - 63)


def parse_integer(text: bytes, base: int) -> tuple[int, int]:
    """(value, bytes used) as strtol reads it; (0, 0) if there is no number.

    The value has no limits here. ``base`` is 0 or 2 to 36.
    """
    match = _INTEGER.match(text)
    assert match is not None
    position = match.end("sign")
    if match["prefix"] and base in (0, 16):
        base, position = 16, match.end()
    elif base == 0:
        base = 8 if text[position : position + 1] == b"0" else 10
    end = position
    while end < len(text) and _digit(text[end]) < base:
        end += 1
    if end == position:
        return 0, 0
    value = _natural(text[position:end], base)
    return (-value if match["sign"] == b"-" else value), end


def _digit(byte: int) -> int:
    """A digit's value; 99 for what is none."""
    if 48 <= byte <= 57:
        return byte - 48
    letter = byte | 32
    return letter - 87 if 97 <= letter <= 122 else 99


def _natural(digits: bytes, base: int) -> int:
    """A number of any length: Python's int() refuses a decimal one of more than 4300 digits."""
    value = 0
    for start in range(0, len(digits), _PIECE):
        piece = digits[start : start + _PIECE]
        value = value * base ** len(piece) + int(piece, base)
    return value


def _power(exponent: int) -> Fraction:
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)
