"""What programs call that were compiled with _FORTIFY_SOURCE: functions told the object's size.

``memcpy`` and its like are checked in machine code and go on in the ordinary function::

    __memcpy_chk(dest, src, len, room)
      ├─ room < len → __chk_fail, which kills the guest
      └─ otherwise  → memcpy
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NoReturn

from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import Panicked
from theseus_kit_tlibc.listing import Listing
from theseus_kit_tlibc.string_search import StringReader

# Holes: the function itself, __chk_fail.
CHECKED = Listing(
    """
    4839d1                  cmp rcx, rdx
    720d                    jb 0x12
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc
    41ffe3                  jmp r11
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc                   ; 0x12
    41ffe3                  jmp r11
    """
)
_BLOCKS = ("memcpy", "memmove", "memset", "mempcpy")
_FD_SETSIZE = 1024
_FD_BITS = 64


class Bodies(StringReader):
    LISTINGS: ClassVar[Mapping[str, Listing]] = {f"__{name}_chk": CHECKED for name in _BLOCKS}

    def machine_code(self, name: str) -> bytes:
        plain = name.removeprefix("__").removesuffix("_chk")
        provided = self.library.provided
        return CHECKED.with_addresses(provided(plain), provided("__chk_fail"))

    def memcpy_chk(self, dest: int, src: int, n: int, room: int) -> int:
        memory = self.library.memory
        self._put(dest, memory.read(src, n), room)
        return dest

    def memmove_chk(self, dest: int, src: int, n: int, room: int) -> int:
        return self.memcpy_chk(dest, src, n, room)

    def mempcpy_chk(self, dest: int, src: int, n: int, room: int) -> int:
        return self.memcpy_chk(dest, src, n, room) + n

    def memset_chk(self, s: int, c: int, n: int, room: int) -> int:
        self._put(s, bytes((c & 0xFF,)) * n, room)
        return s

    def chk_fail(self) -> NoReturn:
        raise GuestKilled(Panicked("*** buffer overflow detected ***"))

    def strcpy_chk(self, dest: int, src: int, room: int) -> int:
        self._put(dest, self.string(src) + b"\0", room)
        return dest

    def stpcpy_chk(self, dest: int, src: int, room: int) -> int:
        text = self.string(src)
        self._put(dest, text + b"\0", room)
        return dest + len(text)

    def strncpy_chk(self, dest: int, src: int, n: int, room: int) -> int:
        self._put(dest, self.bounded(src, n).ljust(n, b"\0"), room)
        return dest

    def stpncpy_chk(self, dest: int, src: int, n: int, room: int) -> int:
        text = self.bounded(src, n)
        self._put(dest, text.ljust(n, b"\0"), room)
        return dest + len(text)

    def strcat_chk(self, dest: int, src: int, room: int) -> int:
        start = len(self.string(dest))
        self._put(dest + start, self.string(src) + b"\0", room - start)
        return dest

    def strncat_chk(self, dest: int, src: int, n: int, room: int) -> int:
        start = len(self.string(dest))
        self._put(dest + start, self.bounded(src, n) + b"\0", room - start)
        return dest

    def strlcpy_chk(self, dest: int, src: int, size: int, room: int) -> int:
        self._require(size, room)
        text = self.string(src)
        if size:
            self.library.memory.write(dest, text[: size - 1] + b"\0")
        return len(text)

    def fdelt_chk(self, fd: int) -> int:
        """The word of an fd_set that a descriptor's bit is in."""
        if not 0 <= fd < _FD_SETSIZE:
            self.chk_fail()
        return fd // _FD_BITS

    def _put(self, address: int, data: bytes, room: int) -> None:
        self._require(len(data), room)
        self.library.memory.write(address, data)

    def _require(self, size: int, room: int) -> None:
        if size > room:
            self.chk_fail()
