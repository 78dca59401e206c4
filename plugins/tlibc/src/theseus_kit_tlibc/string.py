"""string.h: blocks of memory and strings of bytes.

The Python bodies read or write guest memory in one piece, checked; where a pointer is bad the
guest is killed, with the function's name, instead of faulting. Functions that programs call all
the time are machine code (:mod:`.string_code`), which faults as real code does.
"""

from __future__ import annotations

from typing import ClassVar

from theseus_kit.values.memory import PAGE_SIZE, Protection
from theseus_kit_tlibc.declare import Header, c_function
from theseus_kit_tlibc.string_code import MEMCMP, MEMMOVE, MEMSET, STRLEN

_STRING_LIMIT = 1 << 30


class String(Header):
    header: ClassVar[str] = "string.h"

    @c_function(
        "void *memcpy(void *dest, const void *src, size_t n)",
        aliases=("memmove",),
        listing=MEMMOVE,
    )
    def memcpy(self, dest: int, src: int, n: int) -> int:
        """memcpy and memmove alike: the source is copied out before anything is written."""
        memory = self.library.memory
        memory.write(dest, memory.read(src, n))
        return dest

    @c_function("void *memset(void *s, int c, size_t n)", listing=MEMSET)
    def memset(self, s: int, c: int, n: int) -> int:
        self.library.memory.write(s, bytes((c & 0xFF,)) * n)
        return s

    @c_function(
        "int memcmp(const void *s1, const void *s2, size_t n)", aliases=("bcmp",), listing=MEMCMP
    )
    def memcmp(self, s1: int, s2: int, n: int) -> int:
        memory = self.library.memory
        return compare(memory.read(s1, n), memory.read(s2, n))

    @c_function("void *memchr(const void *s, int c, size_t n)")
    def memchr(self, s: int, c: int, n: int) -> int:
        """Find a byte; what lies behind the first match need not be readable (C17 7.24.5.1)."""
        memory = self.library.memory
        wanted = c & 0xFF
        position, end = s, s + n
        while position < end:
            stop = min(end, (position & -PAGE_SIZE) + PAGE_SIZE)
            index = memory.read(position, stop - position).find(wanted)
            if index >= 0:
                return position + index
            position = stop
        return 0

    @c_function("void *memrchr(const void *s, int c, size_t n)")
    def memrchr(self, s: int, c: int, n: int) -> int:
        index = self.library.memory.read(s, n).rfind(c & 0xFF)
        return s + index if index >= 0 else 0

    @c_function("size_t strlen(const char *s)", listing=STRLEN)
    def strlen(self, s: int) -> int:
        return len(self._string(s))

    @c_function("size_t strnlen(const char *s, size_t maxlen)")
    def strnlen(self, s: int, maxlen: int) -> int:
        end = self.memchr(s, 0, maxlen)
        return end - s if end else maxlen

    @c_function("int strcmp(const char *s1, const char *s2)")
    def strcmp(self, s1: int, s2: int) -> int:
        return compare(self._string(s1), self._string(s2))

    @c_function("int strncmp(const char *s1, const char *s2, size_t n)")
    def strncmp(self, s1: int, s2: int, n: int) -> int:
        memory = self.library.memory
        return compare(memory.read(s1, self.strnlen(s1, n)), memory.read(s2, self.strnlen(s2, n)))

    @c_function("char *strchr(const char *s, int c)")
    def strchr(self, s: int, c: int) -> int:
        index = (self._string(s) + b"\0").find(c & 0xFF)
        return s + index if index >= 0 else 0

    @c_function("char *strrchr(const char *s, int c)")
    def strrchr(self, s: int, c: int) -> int:
        index = (self._string(s) + b"\0").rfind(c & 0xFF)
        return s + index if index >= 0 else 0

    @c_function("char *strcpy(char *dest, const char *src)")
    def strcpy(self, dest: int, src: int) -> int:
        self.library.memory.write(dest, self._string(src) + b"\0")
        return dest

    @c_function("char *strncpy(char *dest, const char *src, size_t n)")
    def strncpy(self, dest: int, src: int, n: int) -> int:
        memory = self.library.memory
        text = memory.read(src, self.strnlen(src, n))
        memory.write(dest, text.ljust(n, b"\0"))
        return dest

    @c_function("char *strdup(const char *s)")
    def strdup(self, s: int) -> int:
        text = self._string(s) + b"\0"
        copy = self.library.heap.allocate(len(text))
        self.library.memory.write(copy, text)
        return copy

    def _string(self, address: int) -> bytes:
        # The check names the function's own fault; read_string names the first unreadable byte.
        self.library.memory.check(address, 1, Protection.READ)
        return self.library.memory.read_string(address, _STRING_LIMIT)


def compare(one: bytes, other: bytes) -> int:
    """Compare as unsigned bytes; a prefix of the other is the smaller."""
    return (one > other) - (one < other)
