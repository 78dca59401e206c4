"""ctype.h: classes of characters, and the tables that the header's macros look into.

A table has 384 entries, for -128 to 255: a ``char`` is signed, and EOF is -1. All locales here have
the same one, because bytes above 127 are no characters by themselves in any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from struct import pack
from typing import ClassVar

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.listing import Listing

# The hole is a cell that points at the entry for 0: the same for all tasks.
LOCATION = Listing(
    """
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc
    c3                      ret
    """
)

CLASSES = (
    *("upper", "lower", "alpha", "digit", "xdigit", "space", "print", "graph"),
    *("blank", "cntrl", "punct", "alnum"),
)
"""In the order of their bits."""
_BELOW_ZERO = 128
_EOF = -1


def ascii_is(name: str, code: int) -> bool:
    """Whether an ASCII character is of a class (C17 7.4.1, the C locale)."""
    character = chr(code) if 0 <= code < 128 else ""
    if not character:
        return False
    printing = 32 <= code < 127
    return {
        "upper": character.isupper(),
        "lower": character.islower(),
        "alpha": character.isalpha(),
        "digit": character.isdigit(),
        "xdigit": character in "0123456789abcdefABCDEF",
        "space": character in " \t\n\v\f\r",
        "print": printing,
        "graph": printing and code != 32,
        "blank": character in " \t",
        "cntrl": not printing,
        "punct": printing and code != 32 and not character.isalnum(),
        "alnum": character.isalnum(),
    }[name]


def _lower(code: int) -> int:
    return code + 32 if 65 <= code <= 90 else code


def _upper(code: int) -> int:
    return code - 32 if 97 <= code <= 122 else code


class Bodies(DeferredBodies):
    LISTINGS: ClassVar[Mapping[str, Listing]] = dict.fromkeys(
        ("__ctype_b_loc", "__ctype_tolower_loc", "__ctype_toupper_loc"), LOCATION
    )

    def machine_code(self, name: str) -> bytes:
        return LOCATION.with_address(getattr(self, name.lstrip("_"))())

    @cached_property
    def tables(self) -> tuple[int, int, int]:
        """Where the entries for 0 are: classes (16 bits each), lower and upper case (32)."""
        codes = range(-_BELOW_ZERO, 256)
        # glibc's _ISbit: the bits stand in network order, read as a little-endian number.
        bits = [bit << 8 if bit < 256 else bit >> 8 for bit in (1 << n for n in range(12))]
        classes = [
            sum(bit for bit, name in zip(bits, CLASSES, strict=True) if ascii_is(name, code))
            for code in codes
        ]
        entries = [code if code >= 0 else code & 0xFF if code != _EOF else -1 for code in codes]
        constant = self.library.constant
        return (
            constant(pack("<384H", *classes)) + _BELOW_ZERO * 2,
            constant(pack("<384i", *map(_lower, entries))) + _BELOW_ZERO * 4,
            constant(pack("<384i", *map(_upper, entries))) + _BELOW_ZERO * 4,
        )

    def ctype_b_loc(self) -> int:
        return self._cell(0)

    def ctype_tolower_loc(self) -> int:
        return self._cell(1)

    def ctype_toupper_loc(self) -> int:
        return self._cell(2)

    def ctype_get_mb_cur_max(self) -> int:
        """How long a character may be in the locale in effect."""
        return 6 if self.deferred.locales().is_utf8() else 1

    def _cell(self, table: int) -> int:
        return self.library.constant(self.tables[table].to_bytes(8, "little"))

    def tolower(self, c: int) -> int:
        return _lower(c)

    def toupper(self, c: int) -> int:
        return _upper(c)

    def toascii(self, c: int) -> int:
        return c & 0x7F

    def isascii(self, c: int) -> int:
        return not c & ~0x7F

    def tolower_l(self, c: int, locale: int) -> int:
        return _lower(c)

    def toupper_l(self, c: int, locale: int) -> int:
        return _upper(c)

    def isupper(self, c: int) -> int:
        return ascii_is("upper", c)

    def islower(self, c: int) -> int:
        return ascii_is("lower", c)

    def isalpha(self, c: int) -> int:
        return ascii_is("alpha", c)

    def isdigit(self, c: int) -> int:
        return ascii_is("digit", c)

    def isxdigit(self, c: int) -> int:
        return ascii_is("xdigit", c)

    def isspace(self, c: int) -> int:
        return ascii_is("space", c)

    def isprint(self, c: int) -> int:
        return ascii_is("print", c)

    def isgraph(self, c: int) -> int:
        return ascii_is("graph", c)

    def isblank(self, c: int) -> int:
        return ascii_is("blank", c)

    def iscntrl(self, c: int) -> int:
        return ascii_is("cntrl", c)

    def ispunct(self, c: int) -> int:
        return ascii_is("punct", c)

    def isalnum(self, c: int) -> int:
        return ascii_is("alnum", c)
