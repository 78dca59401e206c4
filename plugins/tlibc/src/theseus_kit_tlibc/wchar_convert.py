"""wchar.h and stdlib.h: characters of several bytes, and strings of them, to wide ones and back.

In C's locale a character is a byte of ASCII; in C.UTF-8 it is UTF-8's. A ``mbstate_t`` is what has
come of a character whose end has not::

    ┌───────────────┬───────────────────┐
    │ count, 4 bytes│ up to 4 bytes     │   count 0: the initial state, which mbsinit looks for
    └───────────────┴───────────────────┘
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import Enum

from theseus_kit.errors import PlatformError
from theseus_kit_tlibc.deferred import Deferred, DeferredBodies

EOF = -1
ERROR, INCOMPLETE = (1 << 64) - 1, (1 << 64) - 2
"""Results of type size_t."""
_STATE_SIZE = 8
_UNLIMITED = 1 << 40


class Read(Enum):
    """What stands in the way of a character."""

    INVALID = "no character begins like this"
    INCOMPLETE = "there is not enough of it"


def decode(data: bytes, utf8: bool) -> tuple[int, int] | Read:
    """(code, length) of the character that some bytes begin with."""
    if not data:
        return Read.INCOMPLETE
    first = data[0]
    if first < 0x80:
        return first, 1
    if not utf8 or first < 0xC2 or first > 0xF4:
        return Read.INVALID
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    piece = data[:length]
    if any(byte & 0xC0 != 0x80 for byte in piece[1:]):
        return Read.INVALID
    if len(piece) < length:
        return Read.INCOMPLETE
    try:
        # Surrogates, what is too large or could be shorter: told at the end only, as glibc does.
        return ord(piece.decode()), length
    except UnicodeDecodeError:
        return Read.INVALID


def encode(code: int, utf8: bool) -> bytes:
    """The bytes of a character. Raises PlatformError (EILSEQ)."""
    if code < 0x80 or (utf8 and code < 0x110000 and not 0xD800 <= code < 0xE000):
        return chr(code).encode()
    raise PlatformError(f"no character {code:#x}", errno.EILSEQ)


class Bodies(DeferredBodies):
    """Functions that stop at an invalid character set EILSEQ; their tables say how."""

    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._is_utf8 = deferred.locales().is_utf8
        self._states: dict[str, int] = {}

    def btowc(self, c: int) -> int:
        return c if 0 <= c < 0x80 else EOF

    def wctob(self, c: int) -> int:
        return c if c < 0x80 else EOF

    def mbsinit(self, ps: int) -> int:
        return not ps or self.library.memory.read_u32(ps) == 0

    def mbrtowc(self, pwc: int, s: int, n: int, ps: int) -> int:
        state = self._state("mbrtowc", ps)
        if not s:
            pwc, s, n = 0, self.library.constant(b"\0"), 1
        memory = self.library.memory
        before = self._pending(state)
        read: tuple[int, int] | Read = Read.INCOMPLETE
        data = before
        # A byte at a time: what follows the character need not be readable.
        while isinstance(read, Read) and len(data) - len(before) < n:
            data += memory.read(s + len(data) - len(before), 1)
            read = decode(data, self._is_utf8())
            if read is Read.INVALID:
                raise PlatformError("no character", errno.EILSEQ)
        if isinstance(read, Read):
            self._set_pending(state, data)
            return INCOMPLETE
        self._set_pending(state, b"")
        if pwc:
            memory.write_u32(pwc, read[0])
        return read[1] - len(before) if read[0] else 0

    def mbrlen(self, s: int, n: int, ps: int) -> int:
        return self.mbrtowc(0, s, n, ps or self._state("mbrlen", 0))

    def mbtowc(self, pwc: int, s: int, n: int) -> int:
        """An incomplete character is an error here, and there is no state."""
        if not s:
            return 0
        state = self._state("mbtowc", 0)
        self._set_pending(state, b"")
        length = self.mbrtowc(pwc, s, n, state)
        if length == INCOMPLETE:
            self._set_pending(state, b"")
            return -1
        return length

    def mblen(self, s: int, n: int) -> int:
        return self.mbtowc(0, s, n)

    def wcrtomb(self, s: int, wc: int, ps: int) -> int:
        if not s:
            return 1
        data = encode(wc & 0xFFFF_FFFF, self._is_utf8())
        self.library.memory.write(s, data)
        return len(data)

    def wctomb(self, s: int, wc: int) -> int:
        return self.wcrtomb(s, wc, 0) if s else 0

    def mbsnrtowcs(self, dest: int, src: int, nms: int, size: int, ps: int) -> int:
        """At most ``nms`` bytes to ``size`` wide characters; the source pointer goes along."""
        memory, is_utf8 = self.library.memory, self._is_utf8()
        state = self._state("mbsrtowcs", ps)
        source, data = memory.read_u64(src), self._pending(state)
        end, done = source + nms, 0
        while not dest or done < size:
            read = decode(data, is_utf8)
            if isinstance(read, Read):
                if read is Read.INVALID:
                    if dest:
                        memory.write_u64(src, source - len(data))
                    raise PlatformError("no character", errno.EILSEQ)
                if source == end:
                    break
                data += memory.read(source, 1)
                source += 1
                continue
            data = b""
            if dest:
                memory.write_u32(dest + 4 * done, read[0])
            if not read[0]:
                source = 0
                break
            done += 1
        if dest:
            self._set_pending(state, data)
            memory.write_u64(src, source)
        return done

    def mbsrtowcs(self, dest: int, src: int, size: int, ps: int) -> int:
        return self.mbsnrtowcs(dest, src, _UNLIMITED, size, ps)

    def mbstowcs(self, dest: int, src: int, size: int) -> int:
        return self._with_cell(src, lambda cell, state: self.mbsrtowcs(dest, cell, size, state))

    def wcsnrtombs(self, dest: int, src: int, nwc: int, size: int, ps: int) -> int:
        """At most ``nwc`` wide characters to ``size`` bytes, never a part of a character."""
        memory, is_utf8 = self.library.memory, self._is_utf8()
        source, done = memory.read_u64(src), 0
        for _ in range(nwc):
            code = memory.read_u32(source)
            try:
                data = encode(code, is_utf8)
            except PlatformError:
                if dest:
                    memory.write_u64(src, source)
                raise
            if dest and done + len(data) > size:
                break
            if dest:
                memory.write(dest + done, data)
            if not code:
                source = 0
                break
            source += 4
            done += len(data)
        if dest:
            memory.write_u64(src, source)
        return done

    def wcsrtombs(self, dest: int, src: int, size: int, ps: int) -> int:
        return self.wcsnrtombs(dest, src, _UNLIMITED, size, ps)

    def wcstombs(self, dest: int, src: int, size: int) -> int:
        return self._with_cell(src, lambda cell, state: self.wcsrtombs(dest, cell, size, state))

    def _with_cell(self, pointer: int, convert: Callable[[int, int], int]) -> int:
        """Convert from a pointer that the caller keeps as it is, in an initial state."""
        heap, memory = self.library.heap, self.library.memory
        cell = heap.allocate(8 + _STATE_SIZE)
        try:
            memory.write(cell, pointer.to_bytes(8, "little") + bytes(_STATE_SIZE))
            return convert(cell, cell + 8)
        finally:
            heap.free(cell)

    def _state(self, function: str, ps: int) -> int:
        """The caller's state, or the function's own (C17 7.29.6.3)."""
        if ps:
            return ps
        state = self._states.get(function)
        if state is None:
            state = self._states[function] = self.library.heap.allocate(_STATE_SIZE)
            self.library.memory.write(state, bytes(_STATE_SIZE))
        return state

    def _pending(self, state: int) -> bytes:
        data = self.library.memory.read(state, _STATE_SIZE)
        return data[4 : 4 + data[0]]

    def _set_pending(self, state: int, data: bytes) -> None:
        memory = self.library.memory
        memory.write(state, len(data).to_bytes(4, "little") + data.ljust(4, b"\0"))
