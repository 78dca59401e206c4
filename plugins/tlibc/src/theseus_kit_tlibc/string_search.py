"""string.h and strings.h: finding, splitting and comparing strings.

Letters are ASCII's: both character sets there are, C's and UTF-8, have no other single bytes whose
case could be changed (:mod:`.ctype`).
"""

from __future__ import annotations

from theseus_kit.values.memory import Protection
from theseus_kit_tlibc.deferred import Deferred, DeferredBodies

_STRING_LIMIT = 1 << 30


class StringReader(DeferredBodies):
    """What functions of strings have in common."""

    def string(self, address: int) -> bytes:
        """The bytes before the zero. Kills the guest where they cannot be read, as a fault."""
        memory = self.library.memory
        memory.check(address, 1, Protection.READ)
        return memory.read_string(address, _STRING_LIMIT)

    def bounded(self, address: int, limit: int) -> bytes:
        """At most ``limit`` bytes; what lies behind the zero need not be readable."""
        memory = self.library.memory
        taken = b""
        while limit > 0:
            # To the end of a page at a time.
            size = min(limit, 4096 - (address & 4095))
            piece = memory.read(address, size)
            end = piece.find(0)
            if end >= 0:
                return taken + piece[:end]
            taken += piece
            address += size
            limit -= size
        return taken


class Bodies(StringReader):
    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._rest = 0
        """Where the next strtok goes on."""

    def strstr(self, haystack: int, needle: int) -> int:
        return _found(haystack, self.string(haystack).find(self.string(needle)))

    def strcasestr(self, haystack: int, needle: int) -> int:
        return _found(haystack, self.string(haystack).lower().find(self.string(needle).lower()))

    def memmem(self, haystack: int, size: int, needle: int, needle_size: int) -> int:
        memory = self.library.memory
        found = memory.read(haystack, size).find(memory.read(needle, needle_size))
        return _found(haystack, found)

    def rawmemchr(self, s: int, c: int) -> int:
        """A byte that the caller knows to be there."""
        memory, wanted = self.library.memory, c & 0xFF
        while True:
            size = 4096 - (s & 4095)
            found = memory.read(s, size).find(wanted)
            if found >= 0:
                return s + found
            s += size

    def strchrnul(self, s: int, c: int) -> int:
        text = self.string(s)
        found = text.find(c & 0xFF)
        return s + (found if found >= 0 else len(text))

    def strspn(self, s: int, accept: int) -> int:
        text = self.string(s)
        return len(text) - len(text.lstrip(self.string(accept) or b"\0"))

    def strcspn(self, s: int, reject: int) -> int:
        text = self.string(s)
        rejected = self.string(reject)
        return next((at for at, byte in enumerate(text) if byte in rejected), len(text))

    def strpbrk(self, s: int, accept: int) -> int:
        length = self.strcspn(s, accept)
        return s + length if self.library.memory.read(s + length, 1) != b"\0" else 0

    def strtok(self, s: int, delimiters: int) -> int:
        token, self._rest = self._token(s or self._rest, self.string(delimiters))
        return token

    def strtok_r(self, s: int, delimiters: int, saved: int) -> int:
        memory = self.library.memory
        token, rest = self._token(s or memory.read_u64(saved), self.string(delimiters))
        memory.write_u64(saved, rest)
        return token

    def strsep(self, stringp: int, delimiters: int) -> int:
        """Like strtok, but two delimiters have an empty token between them."""
        memory = self.library.memory
        start = memory.read_u64(stringp)
        if not start:
            return 0
        end = self.strpbrk(start, delimiters)
        if end:
            memory.write(end, b"\0")
        memory.write_u64(stringp, end + 1 if end else 0)
        return start

    def strcasecmp(self, s1: int, s2: int) -> int:
        return _difference(self.string(s1).lower(), self.string(s2).lower())

    def strncasecmp(self, s1: int, s2: int, n: int) -> int:
        return _difference(self.bounded(s1, n).lower(), self.bounded(s2, n).lower())

    def strcasecmp_l(self, s1: int, s2: int, locale: int) -> int:
        return self.strcasecmp(s1, s2)

    def strncasecmp_l(self, s1: int, s2: int, n: int, locale: int) -> int:
        return self.strncasecmp(s1, s2, n)

    def strcoll(self, s1: int, s2: int) -> int:
        """By bytes: the order of the C locale, and of C.UTF-8."""
        return _difference(self.string(s1), self.string(s2))

    def strcoll_l(self, s1: int, s2: int, locale: int) -> int:
        return self.strcoll(s1, s2)

    def strverscmp(self, s1: int, s2: int) -> int:
        """With runs of digits by their numbers, as strverscmp(3) tells it.

        A run that starts with a zero is a fraction: ``000`` < ``00`` < ``01`` < ``0`` < ``1``.
        """
        one, other = self.string(s1) + b"\0", self.string(s2) + b"\0"
        if one == other:
            return 0
        at = next(at for at, byte in enumerate(one) if byte != other[at])
        start = at
        while start and one[start - 1 : start].isdigit():
            start -= 1
        starts = one[start : start + 1], other[start : start + 1]
        if all(first.isdigit() and first != b"0" for first in starts):
            lengths = _digits(one, at), _digits(other, at)
            if lengths[0] != lengths[1]:
                return lengths[0] - lengths[1]
        elif (
            start < at
            and not one[start:at].strip(b"0")
            and (one[at : at + 1].isdigit() or other[at : at + 1].isdigit())
        ):
            return (one[at] - 48) % 256 - (other[at] - 48) % 256
        return one[at] - other[at]

    def ffs(self, i: int) -> int:
        return (i & -i).bit_length()

    def ffsl(self, i: int) -> int:
        return (i & -i).bit_length()

    def _token(self, start: int, delimiters: bytes) -> tuple[int, int]:
        """(a token, where to go on), ending the token with a zero in place of its delimiter."""
        if not start:
            return 0, 0
        text = self.string(start)
        lead = len(text) - len(text.lstrip(delimiters or b"\0"))
        if lead == len(text):
            return 0, start + lead
        end = next((at for at in range(lead, len(text)) if text[at] in delimiters), len(text))
        if end == len(text):
            return start + lead, start + end
        self.library.memory.write(start + end, b"\0")
        return start + lead, start + end + 1


def _found(address: int, index: int) -> int:
    return address + index if index >= 0 else 0


def _difference(one: bytes, other: bytes) -> int:
    """The difference of the first bytes that differ, as glibc answers."""
    for first, second in zip(one + b"\0", other + b"\0", strict=False):
        if first != second:
            return first - second
    return 0


def _digits(text: bytes, start: int) -> int:
    """How many digits stand from a place on."""
    return len(text) - start - len(text[start:].lstrip(b"0123456789"))
