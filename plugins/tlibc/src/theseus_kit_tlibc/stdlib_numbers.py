"""stdlib.h and inttypes.h: numbers in text. How they are read is :mod:`.floating`'s.

``long double`` travels in the x87 unit's st0, which no Python body can fill: machine code has the
ten bytes written to its stack and loads them.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Mapping
from typing import ClassVar

from theseus_kit.errors import InvalidParameterError
from theseus_kit_tlibc.floating import (
    DOUBLE,
    EXTENDED,
    SINGLE,
    Format,
    Rounded,
    extended_bytes,
    is_infinite_word,
    parse_float,
    parse_integer,
    rounded,
)
from theseus_kit_tlibc.listing import Listing
from theseus_kit_tlibc.string_search import StringReader

# The hole is __strtold_to(nptr, endptr, where to).
STRTOLD = Listing(
    """
    4883ec18                sub rsp, 0x18
    4889e2                  mov rdx, rsp
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc
    ffd0                    call rax
    db2c24                  fld xword ptr [rsp]
    4883c418                add rsp, 0x18
    c3                      ret
    """
)

_LONG_MAX, _ULONG_MAX = (1 << 63) - 1, (1 << 64) - 1


class Bodies(StringReader):
    LISTINGS: ClassVar[Mapping[str, Listing]] = dict.fromkeys(
        ("strtold", "strtold_l", "__strtold_l"), STRTOLD
    )

    def machine_code(self, name: str) -> bytes:
        return STRTOLD.with_address(self.library.provided("__strtold_to"))

    def strtol(self, nptr: int, endptr: int, base: int) -> int:
        value = self._integer(nptr, endptr, base)
        if -_LONG_MAX - 1 <= value <= _LONG_MAX:
            return value
        self.set_errno(errno.ERANGE)
        return _LONG_MAX if value > 0 else -_LONG_MAX - 1

    def strtoul(self, nptr: int, endptr: int, base: int) -> int:
        """A minus sign negates the unsigned result (C17 7.22.1.4)."""
        value = self._integer(nptr, endptr, base)
        if abs(value) <= _ULONG_MAX:
            return value & _ULONG_MAX
        self.set_errno(errno.ERANGE)
        return _ULONG_MAX

    def strtol_l(self, nptr: int, endptr: int, base: int, locale: int) -> int:
        return self.strtol(nptr, endptr, base)

    def strtoul_l(self, nptr: int, endptr: int, base: int, locale: int) -> int:
        return self.strtoul(nptr, endptr, base)

    def atoi(self, nptr: int) -> int:
        return self.atol(nptr)

    def atol(self, nptr: int) -> int:
        return self.strtol(nptr, 0, 10)

    def strtod(self, nptr: int, endptr: int) -> float:
        return self._float(nptr, endptr, DOUBLE).as_float()

    def strtod_l(self, nptr: int, endptr: int, locale: int) -> float:
        return self.strtod(nptr, endptr)

    def strtof(self, nptr: int, endptr: int) -> float:
        """Rounded once, from the text; by way of a double it would be twice."""
        return self._float(nptr, endptr, SINGLE).as_float()

    def strtof_l(self, nptr: int, endptr: int, locale: int) -> float:
        return self.strtof(nptr, endptr)

    def atof(self, nptr: int) -> float:
        return self.strtod(nptr, 0)

    def strtold_to(self, nptr: int, endptr: int, result: int) -> None:
        number = self._float(nptr, endptr, EXTENDED)
        self.library.memory.write(result, extended_bytes(number))

    def strtod_nan(self, nptr: int, endptr: int, end: int) -> float:
        """The NaN that ``nan(text)`` names; texts are not told apart."""
        return math.nan

    def strtof_nan(self, nptr: int, endptr: int, end: int) -> float:
        return math.nan

    def _integer(self, nptr: int, endptr: int, base: int) -> int:
        if base != 0 and not 2 <= base <= 36:
            raise InvalidParameterError(f"numbers of base {base}")
        value, length = parse_integer(self.string(nptr), base)
        if endptr:
            self.library.memory.write_u64(endptr, nptr + length)
        return value

    def _float(self, nptr: int, endptr: int, form: Format) -> Rounded:
        text = self.string(nptr)
        parsed = parse_float(text)
        if endptr:
            self.library.memory.write_u64(endptr, nptr + parsed.length)
        number = rounded(parsed, form)
        if not number.in_range and not is_infinite_word(text):
            self.set_errno(errno.ERANGE)
        return number
