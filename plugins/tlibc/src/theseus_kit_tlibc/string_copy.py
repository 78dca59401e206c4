"""string.h and strings.h: copying and joining strings, and what the library has to say in words."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import ClassVar

from theseus_kit_tlibc.errno import error_text
from theseus_kit_tlibc.listing import Listing
from theseus_kit_tlibc.string_search import StringReader

# The hole is memcpy; the result is the end of what it wrote.
MEMPCPY = Listing(
    """
    53                      push rbx
    488d1c17                lea rbx, [rdi + rdx]
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc
    ffd0                    call rax
    4889d8                  mov rax, rbx
    5b                      pop rbx
    c3                      ret
    """
)


class Bodies(StringReader):
    LISTINGS: ClassVar[Mapping[str, Listing]] = dict.fromkeys(("mempcpy", "__mempcpy"), MEMPCPY)

    def machine_code(self, name: str) -> bytes:
        return MEMPCPY.with_address(self.library.provided("memcpy"))

    def mempcpy(self, dest: int, src: int, n: int) -> int:
        memory = self.library.memory
        memory.write(dest, memory.read(src, n))
        return dest + n

    def memccpy(self, dest: int, src: int, c: int, n: int) -> int:
        """Copy up to a byte, and answer what lies behind its copy; 0 if it is not there."""
        memory = self.library.memory
        for at in range(n):
            byte = memory.read(src + at, 1)
            memory.write(dest + at, byte)
            if byte[0] == c & 0xFF:
                return dest + at + 1
        return 0

    def strcat(self, dest: int, src: int) -> int:
        self._put(dest + len(self.string(dest)), self.string(src))
        return dest

    def strncat(self, dest: int, src: int, n: int) -> int:
        self._put(dest + len(self.string(dest)), self.bounded(src, n))
        return dest

    def stpcpy(self, dest: int, src: int) -> int:
        return self._put(dest, self.string(src))

    def stpncpy(self, dest: int, src: int, n: int) -> int:
        text = self.bounded(src, n)
        self.library.memory.write(dest, text.ljust(n, b"\0"))
        return dest + len(text)

    def strlcpy(self, dest: int, src: int, size: int) -> int:
        text = self.string(src)
        if size:
            self._put(dest, text[: size - 1])
        return len(text)

    def strlcat(self, dest: int, src: int, size: int) -> int:
        start = len(self.bounded(dest, size))
        text = self.string(src)
        if start < size:
            self._put(dest + start, text[: size - start - 1])
        return start + len(text)

    def strndup(self, s: int, n: int) -> int:
        text = self.bounded(s, n)
        copy = self.library.heap.allocate(len(text) + 1)
        self._put(copy, text)
        return copy

    def strxfrm(self, dest: int, src: int, n: int) -> int:
        """Bytes compare as they are, so nothing is transformed."""
        return self.strlcpy(dest, src, n)

    def strxfrm_l(self, dest: int, src: int, n: int, locale: int) -> int:
        return self.strxfrm(dest, src, n)

    def bzero(self, s: int, n: int) -> None:
        self.library.memory.write(s, bytes(n))

    def bcopy(self, src: int, dest: int, n: int) -> None:
        self.mempcpy(dest, src, n)

    def strsignal(self, sig: int) -> int:
        try:
            text = signal.strsignal(sig)
        except ValueError:
            text = None
        return self.library.constant((text or f"Unknown signal {sig}").encode() + b"\0")

    def strerror_r(self, errnum: int, buf: int, size: int) -> int:
        """GNU's: the text may be the library's own instead of the caller's."""
        return self.library.constant(error_text(errnum) + b"\0")

    def strerror_l(self, errnum: int, locale: int) -> int:
        return self.library.constant(error_text(errnum) + b"\0")

    def basename(self, path: int) -> int:
        """GNU's: what follows the last slash."""
        return path + self.string(path).rfind(b"/") + 1

    def _put(self, address: int, text: bytes) -> int:
        """Write a string and answer where its zero is."""
        self.library.memory.write(address, text + b"\0")
        return address + len(text)
