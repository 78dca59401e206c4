"""math.h: what :mod:`.math` leaves, by Python's own functions, which are the host's libm.

Of ``float`` the double's result is rounded: within an ulp, as glibc's, though not always the same
one. NaN and infinity are C's answers where Python raises (C17, Annex F). ``long double`` functions
that only take a number apart are machine code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from struct import pack, unpack
from typing import Any, ClassVar

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.listing import Listing

SQRT = Listing("f20f51c0 sqrtsd xmm0, xmm0\n c3 ret")
SQRTF = Listing("f30f51c0 sqrtss xmm0, xmm0\n c3 ret")

# By integers: the emulated x87 unit takes denormal numbers apart wrongly (fxtract).
FREXPL = Listing(
    """
    c70700000000            mov dword ptr [rdi], 0
    4c8b4c2408              mov r9, qword ptr [rsp + 8]
    0fb7442410              movzx eax, word ptr [rsp + 0x10]
    89c2                    mov edx, eax
    81e200800000            and edx, 0x8000
    25ff7f0000              and eax, 0x7fff
    3dff7f0000              cmp eax, 0x7fff
    7433                    je 0x57
    4d85c9                  test r9, r9
    742e                    je 0x57
    85c0                    test eax, eax
    7502                    jne 0x2f
    ffc0                    inc eax
    490fbdc9                bsr rcx, r9                                  ; 0x2f
    83f13f                  xor ecx, 0x3f
    49d3e1                  shl r9, cl
    29c8                    sub eax, ecx
    2dfe3f0000              sub eax, 0x3ffe
    8907                    mov dword ptr [rdi], eax
    81cafe3f0000            or edx, 0x3ffe
    4c894c24f0              mov qword ptr [rsp - 0x10], r9
    66895424f8              mov word ptr [rsp - 8], dx
    db6c24f0                fld xword ptr [rsp - 0x10]
    c3                      ret
    db6c2408                fld xword ptr [rsp + 8]                      ; 0x57
    c3                      ret
    """
)

_ONE = (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc"),
    *("exp", "exp2", "expm1", "fabs", "gamma", "lgamma", "log", "log10", "log1p", "log2", "sin"),
    *("sinh", "tan", "tanh"),
)
"""Of one argument, as Python's math module names them."""
_POLES = {"log": 0.0, "log10": 0.0, "log2": 0.0, "log1p": -1.0}
"""Where a logarithm is minus infinity."""
_ODD = frozenset(("sinh",))


def answered(name: str, x: float) -> float:
    """A function of Python's math module, with C's answers where that raises."""
    function: Callable[[float], float] = getattr(math, name)
    try:
        return function(x)
    except OverflowError:
        return math.copysign(math.inf, x) if name in _ODD else math.inf
    except ValueError:
        if _POLES.get(name) == x:
            return -math.inf
        if name == "atanh" and abs(x) == 1:
            return math.copysign(math.inf, x)
        if name == "gamma" and x == 0:
            return math.copysign(math.inf, x)
        return math.inf if name == "lgamma" and not math.isnan(x) else math.nan


def single(value: float) -> float:
    """Round to a float; beyond its range to infinity."""
    try:
        result: float = unpack("<f", pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return result


class Bodies(DeferredBodies):
    LISTINGS: ClassVar[Mapping[str, Listing]] = {"sqrt": SQRT, "sqrtf": SQRTF, "frexpl": FREXPL}

    def __getattr__(self, name: str) -> Any:
        """``sin``, ``sinf``, ``sincos`` …: of a double, and the same for a float."""
        plain = {"tgamma": "gamma"}.get(name.removesuffix("f"), name.removesuffix("f"))
        if name == "erf" or name in _ONE:
            return lambda x: answered(name, x)
        if name == "tgamma":
            return lambda x: answered("gamma", x)
        if plain in _ONE:
            return lambda x: single(answered(plain, x))
        if name.endswith("f") and hasattr(type(self), plain):
            double = getattr(self, plain)
            return lambda *arguments: single(double(*arguments))
        raise AttributeError(name)

    def sqrt(self, x: float) -> float:
        return math.sqrt(x) if x >= 0 else math.copysign(math.nan, -1) if x < 0 else x

    def atan2(self, y: float, x: float) -> float:
        return math.atan2(y, x)

    def hypot(self, x: float, y: float) -> float:
        return math.hypot(x, y)

    def copysign(self, x: float, y: float) -> float:
        return math.copysign(x, y)

    def nextafter(self, x: float, y: float) -> float:
        return math.nextafter(x, y)

    def remainder(self, x: float, y: float) -> float:
        if math.isinf(x) or y == 0:
            return math.nan
        return math.remainder(x, y)

    def fmin(self, x: float, y: float) -> float:
        return y if math.isnan(x) or y < x else x

    def fmax(self, x: float, y: float) -> float:
        return y if math.isnan(x) or y > x else x

    def fdim(self, x: float, y: float) -> float:
        if math.isnan(x) or math.isnan(y):
            return math.nan
        return x - y if x > y else 0.0

    def round(self, x: float) -> float:
        """Halves away from zero."""
        if not math.isfinite(x) or abs(x) >= 1 << 52:
            return x
        whole = math.floor(abs(x))
        return math.copysign(whole + (abs(x) - whole >= 0.5), x)

    def lround(self, x: float) -> int:
        return _as_long(self.round(x))

    def lrint(self, x: float) -> int:
        return _as_long(float(round(x)) if math.isfinite(x) else x)

    def frexp(self, x: float, exponent: int) -> float:
        fraction, power = math.frexp(x)
        self.library.memory.write_u32(exponent, power & 0xFFFF_FFFF)
        return fraction

    def ldexp(self, x: float, exponent: int) -> float:
        try:
            return math.ldexp(x, exponent)
        except OverflowError:
            return math.copysign(math.inf, x)

    def modf(self, x: float, whole: int) -> float:
        fraction, integer = math.modf(x)
        self.library.memory.write(whole, pack("<d", integer))
        return fraction

    def modff(self, x: float, whole: int) -> float:
        fraction, integer = math.modf(x)
        self.library.memory.write(whole, pack("<f", integer))
        return fraction

    def sincos(self, x: float, sine: int, cosine: int) -> None:
        memory = self.library.memory
        memory.write(sine, pack("<d", answered("sin", x)))
        memory.write(cosine, pack("<d", answered("cos", x)))

    def sincosf(self, x: float, sine: int, cosine: int) -> None:
        memory = self.library.memory
        memory.write(sine, pack("<f", answered("sin", x)))
        memory.write(cosine, pack("<f", answered("cos", x)))

    def logb(self, x: float) -> float:
        if x == 0:
            return -math.inf
        return math.frexp(x)[1] - 1.0 if math.isfinite(x) else abs(x)

    def ilogb(self, x: float) -> int:
        if x == 0 or math.isnan(x):
            return -(1 << 31)
        return math.frexp(x)[1] - 1 if math.isfinite(x) else (1 << 31) - 1


def _as_long(x: float) -> int:
    """As cvtsd2si has it where the number does not fit."""
    return int(x) if math.isfinite(x) and abs(x) < 1 << 63 else -(1 << 63)
