"""wctype.h: classes and cases of wide characters.

In C's locale these are ASCII's. In C.UTF-8 they are Unicode's, by Python's tables, whose version
may differ from the one that a host's C library has.
"""

from __future__ import annotations

import unicodedata

from theseus_kit_tlibc.ctype import CLASSES, ascii_is
from theseus_kit_tlibc.deferred import DeferredBodies

_MAPPINGS = ("tolower", "toupper")


def unicode_is(name: str, code: int) -> bool:
    """Whether a character beyond ASCII is of a class, as glibc derives it from Unicode's data."""
    if code >= 0x110000 or name in ("digit", "xdigit"):
        return False
    character = chr(code)
    category = unicodedata.category(character)
    is_space = category in ("Zs", "Zl", "Zp") and "<noBreak>" not in unicodedata.decomposition(
        character
    )
    is_control = category in ("Cc", "Zl", "Zp")
    printing = category not in ("Cc", "Cs", "Cn", "Zl", "Zp")
    alphabetic = category[0] == "L" or (category in ("Nd", "Nl", "So") and character.isalpha())
    alphabetic = alphabetic or category == "Nd"
    return {
        "upper": character.lower() != character,
        "lower": character.upper() != character or character == "ß",
        "alpha": alphabetic,
        "space": is_space,
        "print": printing,
        "graph": printing and not is_space,
        "blank": is_space and category == "Zs",
        "cntrl": is_control,
        "punct": printing and not is_space and not alphabetic,
        "alnum": alphabetic,
    }[name]


class Bodies(DeferredBodies):
    def wctype(self, name: int) -> int:
        """A class by its name; 0 is none."""
        text = self.library.memory.read_string(name).decode(errors="replace")
        return CLASSES.index(text) + 1 if text in CLASSES else 0

    def wctype_l(self, name: int, locale: int) -> int:
        return self.wctype(name)

    def iswctype(self, wc: int, desc: int) -> int:
        return self.iswctype_l(wc, desc, 0)

    def iswctype_l(self, wc: int, desc: int, locale: int) -> int:
        return 1 <= desc <= len(CLASSES) and self._is(CLASSES[desc - 1], wc, locale)

    def wctrans(self, name: int) -> int:
        text = self.library.memory.read_string(name).decode(errors="replace")
        return _MAPPINGS.index(text) + 1 if text in _MAPPINGS else 0

    def wctrans_l(self, name: int, locale: int) -> int:
        return self.wctrans(name)

    def towctrans(self, wc: int, desc: int) -> int:
        return self.towctrans_l(wc, desc, 0)

    def towctrans_l(self, wc: int, desc: int, locale: int) -> int:
        if not 1 <= desc <= len(_MAPPINGS):
            return wc
        return (self.towlower_l, self.towupper_l)[desc - 1](wc, locale)

    def towlower(self, wc: int) -> int:
        return self.towlower_l(wc, 0)

    def towupper(self, wc: int) -> int:
        return self.towupper_l(wc, 0)

    def towlower_l(self, wc: int, locale: int) -> int:
        return self._case(wc, locale, "lower")

    def towupper_l(self, wc: int, locale: int) -> int:
        return self._case(wc, locale, "upper")

    def iswupper(self, wc: int) -> int:
        return self._is("upper", wc)

    def iswlower(self, wc: int) -> int:
        return self._is("lower", wc)

    def iswalpha(self, wc: int) -> int:
        return self._is("alpha", wc)

    def iswdigit(self, wc: int) -> int:
        return self._is("digit", wc)

    def iswxdigit(self, wc: int) -> int:
        return self._is("xdigit", wc)

    def iswspace(self, wc: int) -> int:
        return self._is("space", wc)

    def iswprint(self, wc: int) -> int:
        return self._is("print", wc)

    def iswgraph(self, wc: int) -> int:
        return self._is("graph", wc)

    def iswblank(self, wc: int) -> int:
        return self._is("blank", wc)

    def iswcntrl(self, wc: int) -> int:
        return self._is("cntrl", wc)

    def iswpunct(self, wc: int) -> int:
        return self._is("punct", wc)

    def iswalnum(self, wc: int) -> int:
        return self._is("alnum", wc)

    def _case(self, wc: int, locale: int, case: str) -> int:
        """Only where one character stands for one."""
        if wc >= 0x110000 or (wc >= 128 and not self.deferred.locales().is_utf8(locale)):
            return wc
        character = chr(wc)
        changed = character.lower() if case == "lower" else character.upper()
        return ord(changed) if len(changed) == 1 else wc

    def _is(self, name: str, wc: int, locale: int = 0) -> bool:
        if wc < 128:
            return ascii_is(name, wc)
        return self.deferred.locales().is_utf8(locale) and unicode_is(name, wc)
