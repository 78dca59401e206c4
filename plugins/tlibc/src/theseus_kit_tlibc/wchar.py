"""wchar.h: strings and blocks of wide characters, four bytes each, and wide streams.

Streams have no orientation here: wide and plain functions may be mixed, as characters are read and
written in the streams' own buffers.
"""

from __future__ import annotations

import errno
from struct import pack, unpack

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.floating import DOUBLE, SINGLE, parse_float, parse_integer, rounded
from theseus_kit_tlibc.wchar_convert import Read, decode, encode

_WEOF = 0xFFFF_FFFF
_EOF = -1
_LONG_MAX, _ULONG_MAX = (1 << 63) - 1, (1 << 64) - 1
_PAGE = 4096


class Bodies(DeferredBodies):
    def wide(self, address: int, limit: int = 1 << 40) -> tuple[int, ...]:
        """The characters before the zero, ``limit`` of them at most."""
        memory = self.library.memory
        taken: list[int] = []
        while len(taken) < limit:
            count = min(limit - len(taken), max((_PAGE - address % _PAGE) // 4, 1))
            piece = unpack(f"<{count}i", memory.read(address, 4 * count))
            if 0 in piece:
                taken += piece[: piece.index(0)]
                break
            taken += piece
            address += 4 * count
        return tuple(taken)

    def put(self, address: int, *codes: int) -> int:
        """Write characters and a zero; answer where the zero is."""
        self._write(address, (*codes, 0))
        return address + 4 * len(codes)

    def wcslen(self, s: int) -> int:
        return len(self.wide(s))

    def wcsnlen(self, s: int, limit: int) -> int:
        return len(self.wide(s, limit))

    def wcscpy(self, dest: int, src: int) -> int:
        self.put(dest, *self.wide(src))
        return dest

    def wcpcpy(self, dest: int, src: int) -> int:
        return self.put(dest, *self.wide(src))

    def wcsncpy(self, dest: int, src: int, n: int) -> int:
        codes = self.wide(src, n)
        self._write(dest, codes + (0,) * (n - len(codes)))
        return dest

    def wcscat(self, dest: int, src: int) -> int:
        self.put(dest + 4 * self.wcslen(dest), *self.wide(src))
        return dest

    def wcsncat(self, dest: int, src: int, n: int) -> int:
        self.put(dest + 4 * self.wcslen(dest), *self.wide(src, n))
        return dest

    def wcsdup(self, s: int) -> int:
        codes = self.wide(s)
        copy = self.library.heap.allocate(4 * len(codes) + 4)
        self.put(copy, *codes)
        return copy

    def wcscmp(self, s1: int, s2: int) -> int:
        return _order(self.wide(s1), self.wide(s2))

    def wcsncmp(self, s1: int, s2: int, n: int) -> int:
        return _order(self.wide(s1, n), self.wide(s2, n))

    def wcscoll(self, s1: int, s2: int) -> int:
        return self.wcscmp(s1, s2)

    def wcscoll_l(self, s1: int, s2: int, locale: int) -> int:
        return self.wcscmp(s1, s2)

    def wcsxfrm(self, dest: int, src: int, n: int) -> int:
        codes = self.wide(src)
        if n:
            self.put(dest, *codes[: n - 1])
        return len(codes)

    def wcsxfrm_l(self, dest: int, src: int, n: int, locale: int) -> int:
        return self.wcsxfrm(dest, src, n)

    def wcschr(self, s: int, c: int) -> int:
        codes = (*self.wide(s), 0)
        return s + 4 * codes.index(c) if c in codes else 0

    def wcsrchr(self, s: int, c: int) -> int:
        codes = (*self.wide(s), 0)
        return s + 4 * (len(codes) - 1 - codes[::-1].index(c)) if c in codes else 0

    def wcsstr(self, haystack: int, needle: int) -> int:
        codes, wanted = self.wide(haystack), self.wide(needle)
        for at in range(len(codes) - len(wanted) + 1):
            if codes[at : at + len(wanted)] == wanted:
                return haystack + 4 * at
        return 0

    def wcsspn(self, s: int, accept: int) -> int:
        codes, accepted = self.wide(s), self.wide(accept)
        return next((at for at, code in enumerate(codes) if code not in accepted), len(codes))

    def wcscspn(self, s: int, reject: int) -> int:
        codes, rejected = self.wide(s), self.wide(reject)
        return next((at for at, code in enumerate(codes) if code in rejected), len(codes))

    def wcspbrk(self, s: int, accept: int) -> int:
        codes, length = self.wide(s), self.wcscspn(s, accept)
        return s + 4 * length if length < len(codes) else 0

    def wmemchr(self, s: int, c: int, n: int) -> int:
        codes = self._read(s, n)
        return s + 4 * codes.index(c) if c in codes else 0

    def wmemcmp(self, s1: int, s2: int, n: int) -> int:
        return _order(self._read(s1, n), self._read(s2, n))

    def wmemcpy(self, dest: int, src: int, n: int) -> int:
        self.library.memory.write(dest, self.library.memory.read(src, 4 * n))
        return dest

    def wmemset(self, s: int, c: int, n: int) -> int:
        self.library.memory.write(s, pack("<i", c) * n)
        return s

    def wcstol(self, nptr: int, endptr: int, base: int) -> int:
        value = self._integer(nptr, endptr, base)
        if not -_LONG_MAX - 1 <= value <= _LONG_MAX:
            self.set_errno(errno.ERANGE)
        return max(-_LONG_MAX - 1, min(value, _LONG_MAX))

    def wcstoul(self, nptr: int, endptr: int, base: int) -> int:
        value = self._integer(nptr, endptr, base)
        if abs(value) <= _ULONG_MAX:
            return value & _ULONG_MAX
        self.set_errno(errno.ERANGE)
        return _ULONG_MAX

    def wcstod(self, nptr: int, endptr: int) -> float:
        parsed = parse_float(self._narrow(nptr))
        self._end(endptr, nptr + 4 * parsed.length)
        return rounded(parsed, DOUBLE).as_float()

    def wcstof(self, nptr: int, endptr: int) -> float:
        parsed = parse_float(self._narrow(nptr))
        self._end(endptr, nptr + 4 * parsed.length)
        return rounded(parsed, SINGLE).as_float()

    def fgetwc(self, stream: int) -> int:
        """WEOF at the end; for bytes that are no character with EILSEQ."""
        stdio, is_utf8 = self.deferred.stdio, self.deferred.locales().is_utf8()
        data = b""
        while True:
            byte = stdio.fgetc(stream)
            if byte == _EOF:
                return _WEOF
            data += bytes((byte,))
            read = decode(data, is_utf8)
            if read is Read.INVALID:
                self.set_errno(errno.EILSEQ)
                return _WEOF
            if not isinstance(read, Read):
                return read[0]

    def getwchar(self) -> int:
        return self.fgetwc(self.deferred.stdio.standard(0))

    def fputwc(self, wc: int, stream: int) -> int:
        self.deferred.stdio.write_text(stream, encode(wc, self.deferred.locales().is_utf8()))
        return wc

    def putwchar(self, wc: int) -> int:
        return self.fputwc(wc, self.deferred.stdio.standard(1))

    def fputws(self, ws: int, stream: int) -> int:
        is_utf8 = self.deferred.locales().is_utf8()
        text = b"".join(encode(code & _WEOF, is_utf8) for code in self.wide(ws))
        self.deferred.stdio.write_text(stream, text)
        return 1

    def ungetwc(self, wc: int, stream: int) -> int:
        if wc == _WEOF:
            return _WEOF
        for byte in reversed(encode(wc, self.deferred.locales().is_utf8())):
            if self.deferred.stdio.ungetc(byte, stream) == _EOF:
                return _WEOF
        return wc

    def fwide(self, stream: int, mode: int) -> int:
        """Whatever orientation is asked for is there."""
        return mode

    def _integer(self, nptr: int, endptr: int, base: int) -> int:
        value, length = parse_integer(self._narrow(nptr), base)
        self._end(endptr, nptr + 4 * length)
        return value

    def _narrow(self, address: int) -> bytes:
        """Wide characters as bytes; those beyond ASCII are in no number."""
        return bytes(code if 0 < code < 128 else 1 for code in self.wide(address))

    def _end(self, endptr: int, address: int) -> None:
        if endptr:
            self.library.memory.write_u64(endptr, address)

    def _read(self, address: int, count: int) -> tuple[int, ...]:
        return unpack(f"<{count}i", self.library.memory.read(address, 4 * count))

    def _write(self, address: int, codes: tuple[int, ...]) -> None:
        self.library.memory.write(address, pack(f"<{len(codes)}i", *codes))


def _order(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return (one > other) - (one < other)
