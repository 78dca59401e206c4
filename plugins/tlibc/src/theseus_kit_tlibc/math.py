"""math.h: rounding in machine code, the rest by Python's own arithmetic.

Python's math module raises where C returns a NaN or an infinity; here it is C's answer (C17,
Annex F). errno and floating-point exceptions are not reported, as math_errhandling leaves open.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from theseus_kit_tlibc.declare import Header, c_function
from theseus_kit_tlibc.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

_FLOAT_MAX_EXPONENT, _FLOAT_MIN_EXPONENT, _FLOAT_DIGITS = 127, -126, 24


def _rounding(mode: str, *, single: bool) -> Listing:
    """ROUNDSD or ROUNDSS by SSE4.1, which also keeps NaNs, infinities and the zero's sign."""
    code, name = ("0a", "roundss") if single else ("0b", "roundsd")
    shown = int(mode, 16) if int(mode, 16) < 10 else f"0x{mode[1]}"
    return Listing(f"660f3a{code}c0{mode} {name} xmm0, xmm0, {shown}\n c3 ret")


FLOOR, FLOORF = _rounding("09", single=False), _rounding("09", single=True)
CEIL, CEILF = _rounding("0a", single=False), _rounding("0a", single=True)
TRUNC, TRUNCF = _rounding("0b", single=False), _rounding("0b", single=True)
RINT, RINTF = _rounding("04", single=False), _rounding("04", single=True)


class Math(Header):
    header: ClassVar[str] = "math.h"

    @c_function("double floor(double x)", listing=FLOOR)
    def floor(self, x: float) -> float:
        return _whole(x, math.floor)

    @c_function("float floorf(float x)", listing=FLOORF)
    def floorf(self, x: float) -> float:
        return _whole(x, math.floor)

    @c_function("double ceil(double x)", listing=CEIL)
    def ceil(self, x: float) -> float:
        return _whole(x, math.ceil)

    @c_function("float ceilf(float x)", listing=CEILF)
    def ceilf(self, x: float) -> float:
        return _whole(x, math.ceil)

    @c_function("double trunc(double x)", listing=TRUNC)
    def trunc(self, x: float) -> float:
        return _whole(x, math.trunc)

    @c_function("float truncf(float x)", listing=TRUNCF)
    def truncf(self, x: float) -> float:
        return _whole(x, math.trunc)

    @c_function("double rint(double x)", aliases=("nearbyint",), listing=RINT)
    def rint(self, x: float) -> float:
        """To the nearest, halves to the even one: the rounding mode nobody changes here."""
        return _whole(x, round)

    @c_function("float rintf(float x)", aliases=("nearbyintf",), listing=RINTF)
    def rintf(self, x: float) -> float:
        return _whole(x, round)

    @c_function("double fmod(double x, double y)")
    def fmod(self, x: float, y: float) -> float:
        if math.isinf(x) or y == 0:
            return math.nan
        return math.fmod(x, y)

    @c_function("double pow(double x, double y)")
    def pow(self, x: float, y: float) -> float:
        """Python's own pow is the host's; only where it raises is C's answer put together here."""
        odd = y.is_integer() and math.fmod(y, 2) != 0
        try:
            return math.pow(x, y)
        except OverflowError:
            return -math.inf if x < 0 and odd else math.inf
        except ValueError:
            if x == 0:
                return math.copysign(math.inf, x) if odd else math.inf
            return math.nan

    @c_function("double fma(double x, double y, double z)")
    def fma(self, x: float, y: float, z: float) -> float:
        exact = _exact_fma(x, y, z)
        if isinstance(exact, float):
            return exact
        try:
            return float(exact)
        except OverflowError:
            return math.inf if exact > 0 else -math.inf

    @c_function("float fmaf(float x, float y, float z)")
    def fmaf(self, x: float, y: float, z: float) -> float:
        exact = _exact_fma(x, y, z)
        return exact if isinstance(exact, float) else _nearest_single(exact)


def _whole(x: float, rounding: Callable[[float], int]) -> float:
    if not math.isfinite(x):
        return x
    return math.copysign(float(rounding(x)), x)


def _exact_fma(x: float, y: float, z: float) -> Fraction | float:
    """x*y+z without rounding; a float where it is no number or its zero has a sign to keep."""
    from fractions import Fraction

    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)) or x == 0 or y == 0:
        return x * y + z
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    return exact if exact else 0.0


def _nearest_single(exact: Fraction) -> float:
    """Round once to a float; going by way of a double would round twice."""
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if size < _power_of_two(exponent):
        exponent -= 1
    unit = _power_of_two(max(exponent, _FLOAT_MIN_EXPONENT) - _FLOAT_DIGITS + 1)
    rounded = round(size / unit) * unit
    if rounded >= _power_of_two(_FLOAT_MAX_EXPONENT + 1):
        return math.inf if exact > 0 else -math.inf
    return float(rounded if exact > 0 else -rounded)


def _power_of_two(exponent: int) -> Fraction:
    from fractions import Fraction

    return Fraction(2) ** exponent
