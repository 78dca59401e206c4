"""How printf writes floating-point numbers that Python's ``%`` cannot: ``%a`` and ``long double``.

Imported where one is printed. A ``long double`` that is a double's number is written as that.
"""

from __future__ import annotations

import math
from fractions import Fraction

from theseus_kit_tlibc.floating import extended_value

_PRECISE = 12_000
"""Digits that hold the smallest long double exactly."""


def written(conversion: str, flags: bytes, precision: int | None, value: float | bytes) -> bytes:
    """A number with its sign, not padded; ``value`` is a double or a long double's ten bytes."""
    if isinstance(value, bytes):
        negative, size = extended_value(value)
    else:
        negative, size = math.copysign(1, value) < 0, abs(value)
    sign = "-" if negative else "+" if b"+" in flags else " " if b" " in flags else ""
    if isinstance(size, float) and not math.isfinite(size):
        word = "nan" if math.isnan(size) else "inf"
        text = word.upper() if conversion.isupper() else word
    elif conversion in "aA":
        text = _hexadecimal(Fraction(size), precision, b"#" in flags, isinstance(value, bytes))
        text = text.upper() if conversion == "A" else text
    elif _is_double(size):
        places = "" if precision is None else f".{precision}"
        text = f"%{'#' if b'#' in flags else ''}{places}{conversion}" % float(size)
    else:
        digits = 6 if precision is None else precision
        text = _decimal(Fraction(size), conversion.lower(), digits, b"#" in flags)
        text = text.upper() if conversion.isupper() else text
    return (sign + text).encode()


def _is_double(size: Fraction | float) -> bool:
    try:
        return isinstance(size, float) or Fraction(float(size)) == size
    except OverflowError:
        return False


def _decimal(size: Fraction, conversion: str, places: int, alternative: bool) -> str:
    from decimal import Context, Decimal, localcontext

    with localcontext(Context(prec=_PRECISE, Emax=999_999, Emin=-999_999)):
        exact = Decimal(size.numerator) / Decimal(size.denominator)
        if conversion == "f":
            return f"{exact:.{places}f}" + ("." if alternative and not places else "")
        if conversion == "g":
            places = max(places, 1) - 1
        mantissa, _, power = f"{exact:.{places}e}".partition("e")
        exponent = int(power)
        if conversion == "g" and -4 <= exponent <= places:
            mantissa, power = f"{exact:.{places - exponent}f}", ""
        else:
            power = f"e{exponent:+03d}"
    if alternative and "." not in mantissa:
        mantissa += "."
    elif conversion == "g" and not alternative and "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return mantissa + power


def _hexadecimal(size: Fraction, precision: int | None, alternative: bool, is_long: bool) -> str:
    """glibc's: a double starts with 1 (0 if denormal), a long double with its four highest bits."""
    digits, minimum, lead = (15, -16385, 3) if is_long else (13, -1022, 0)
    if not size:
        whole, exponent = 0, 0
    else:
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        if size < Fraction(2) ** exponent:
            exponent -= 1
        exponent = max(exponent - lead, minimum)
        whole = int(size / Fraction(2) ** (exponent - 4 * digits))
    if precision is not None and precision < digits:
        dropped = 4 * (digits - precision)
        whole = round(Fraction(whole, 1 << dropped))
        digits = precision
    head, tail = whole >> 4 * digits, f"{whole & (1 << 4 * digits) - 1:0{digits or 1}x}"
    tail = tail if digits else ""
    tail = tail.rstrip("0") if precision is None else tail.ljust(precision, "0")
    point = "." if tail or alternative else ""
    return f"0x{head:x}{point}{tail}p{exponent:+d}"
