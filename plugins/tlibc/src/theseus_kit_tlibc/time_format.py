"""What strftime(3) makes of a date, with glibc's flags and widths: the C locale's words."""

from __future__ import annotations

import re

from theseus_kit.values.record import NamedTuple
from theseus_kit_tlibc.locale import DAYS, MONTHS

_DIRECTIVE = re.compile(rb"%(?P<flag>[-_0^#]*)(?P<width>\d*)[EO]?(?P<letter>.)", re.DOTALL)
_COMPOSED = {
    **{b"c": b"%a %b %e %H:%M:%S %Y", b"D": b"%m/%d/%y", b"x": b"%m/%d/%y", b"F": b"%Y-%m-%d"},
    **{b"R": b"%H:%M", b"r": b"%I:%M:%S %p", b"T": b"%H:%M:%S", b"X": b"%H:%M:%S"},
    **{b"h": b"%b"},
}


class Date(NamedTuple):
    """A struct tm; fields may be out of their ranges."""

    second: int
    minute: int
    hour: int
    day: int
    month: int
    year: int
    weekday: int
    yearday: int
    is_dst: int
    offset: int
    zone: bytes
    seconds: int
    """The fields as seconds since the epoch, for ``%s``, as if they were UTC's."""


def formatted_date(template: bytes, date: Date) -> bytes:
    """Replace the conversions of a format."""

    def replace(match: re.Match[bytes]) -> bytes:
        letter, flags = match["letter"], match["flag"]
        width = int(match["width"] or 0)
        if letter in _COMPOSED:
            text = formatted_date(_COMPOSED[letter], date)
            return _cased(text, flags).rjust(width, b"0" if b"0" in flags else b" ")
        number = _number(letter, date)
        if number is not None:
            return _padded(*number, flags, width)
        words = _words(letter, date)
        if words is None:
            return match[0]
        if letter in b"pZ" and b"#" in flags:
            return words.lower()
        return _cased(words, flags).rjust(width, b"0" if b"0" in flags else b" ")

    return _DIRECTIVE.sub(replace, template)


def _cased(text: bytes, flags: bytes) -> bytes:
    return text.upper() if b"^" in flags or b"#" in flags else text


def _padded(value: int, digits: int, fill: bytes, flags: bytes, width: int) -> bytes:
    if b"-" in flags:
        return str(value).encode()
    if b"_" in flags:
        fill = b" "
    elif b"0" in flags:
        fill = b"0"
    size = max(digits, width)
    if value >= 0:
        return str(value).encode().rjust(size, fill)
    if fill == b" ":
        return str(value).encode().rjust(size)
    return b"-" + str(-value).encode().rjust(size - 1, b"0")


def _number(letter: bytes, date: Date) -> tuple[int, int, bytes] | None:
    """(value, digits, what fills them) of a conversion to a number."""
    year = date.year + 1900
    twelve = (date.hour - 1) % 12 + 1
    values = {
        b"C": (year // 100, 2, b"0"),
        b"d": (date.day, 2, b"0"),
        b"e": (date.day, 2, b" "),
        b"H": (date.hour, 2, b"0"),
        b"I": (twelve, 2, b"0"),
        b"j": (date.yearday + 1, 3, b"0"),
        b"k": (date.hour, 2, b" "),
        b"l": (twelve, 2, b" "),
        b"M": (date.minute, 2, b"0"),
        b"m": (date.month + 1, 2, b"0"),
        b"S": (date.second, 2, b"0"),
        b"s": (date.seconds - date.offset, 1, b"0"),
        b"U": ((date.yearday - date.weekday + 7) // 7, 2, b"0"),
        b"u": ((date.weekday - 1) % 7 + 1, 1, b"0"),
        b"W": ((date.yearday - (date.weekday - 1) % 7 + 7) // 7, 2, b"0"),
        b"w": (date.weekday, 1, b"0"),
        b"Y": (year, 1, b"0"),
        b"y": (year % 100, 2, b"0"),
    }
    if letter in b"GgV":
        iso_year, week = _iso_week(date)
        return {b"G": (iso_year, 1, b"0"), b"g": (iso_year % 100, 2, b"0"), b"V": (week, 2, b"0")}[
            letter
        ]
    return values.get(letter)


def _words(letter: bytes, date: Date) -> bytes | None:
    weekday = DAYS[date.weekday] if 0 <= date.weekday < 7 else b"?"
    month = MONTHS[date.month] if 0 <= date.month < 12 else b"?"
    if letter == b"z":
        minutes = abs(date.offset) // 60
        sign = b"-" if date.offset < 0 else b"+"
        return b"" if date.is_dst < 0 else b"%s%02d%02d" % (sign, minutes // 60, minutes % 60)
    half = b"PM" if date.hour >= 12 else b"AM"
    return {
        b"A": weekday,
        b"a": weekday[:3],
        b"B": month,
        b"b": month[:3],
        b"n": b"\n",
        b"t": b"\t",
        b"p": half,
        b"P": half.lower(),
        b"Z": date.zone,
        b"%": b"%",
    }.get(letter)


def _iso_week(date: Date) -> tuple[int, int]:
    """(year, week) of ISO 8601: a week belongs to the year its Thursday is in."""
    year = date.year + 1900
    week = (date.yearday - (date.weekday - 1) % 7 + 10) // 7
    if week < 1:
        return year - 1, _weeks(year - 1)
    if week > _weeks(year):
        return year + 1, 1
    return year, week


def _weeks(year: int) -> int:
    """How many weeks a year of ISO 8601 has: 53 if it begins or ends on a Thursday."""

    def last_weekday(of: int) -> int:
        return (of + of // 4 - of // 100 + of // 400) % 7

    return 53 if last_weekday(year) == 4 or last_weekday(year - 1) == 3 else 52
