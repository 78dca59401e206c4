"""Reading what a guest's pointers point at, without ever failing: a trace must not end the run.

Strings are quoted as strace quotes them: C escapes, octal for what has none, ``...`` behind what
was cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit import MemoryFaultError
from theseus_kit.values.memory import PAGE_SIZE

if TYPE_CHECKING:
    from theseus_kit import Memory

_NAMED_ESCAPES = {
    ord(character): f"\\{name}"
    for character, name in {
        **{"\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r"},
        **{'"': '"', "\\": "\\"},
    }.items()
}
_PLAIN = frozenset(range(32, 127)) - frozenset(_NAMED_ESCAPES)
_DIGITS = frozenset(b"01234567")


def quote(data: bytes, *, is_cut: bool = False) -> str:
    """``"text\\n"``, with ``...`` behind if there is more of it."""
    dots = "..." if is_cut else ""
    if data.isascii():
        text = data.decode("ascii")
        if text.isprintable() and '"' not in text and "\\" not in text:
            return f'"{text}"{dots}'
    parts = []
    for place, byte in enumerate(data):
        if byte in _PLAIN:
            parts.append(chr(byte))
        elif byte in _NAMED_ESCAPES:
            parts.append(_NAMED_ESCAPES[byte])
        else:
            following = data[place + 1 : place + 2]
            # A digit behind a short escape would be taken for a part of it.
            parts.append(
                f"\\{byte:03o}" if following and following[0] in _DIGITS else f"\\{byte:o}"
            )
    return f'"{"".join(parts)}"{dots}'


_LONGEST_PATH = 4096
"""PATH_MAX of Linux: a path is shown whole."""


class Reader:
    """Reads guest memory for people; ``limit`` is how many bytes of a string are shown."""

    def __init__(self, memory: Memory, limit: int) -> None:
        self._memory = memory
        self.limit = limit

    def peek(self, address: int, size: int) -> bytes | None:
        """Up to ``size`` bytes, fewer where the next page cannot be read; None where none can."""
        read = self._memory.read
        try:
            return read(address, size)
        except MemoryFaultError:
            pass
        found = b""
        end = address + size
        while address < end:
            step = min(end, (address & -PAGE_SIZE) + PAGE_SIZE) - address
            try:
                found += read(address, step)
            except MemoryFaultError:
                break
            address += step
        return found or None

    def string(self, address: int) -> str:
        """The C string at an address, quoted; ``NULL``, or the address if it cannot be read."""
        if not address:
            return "NULL"
        data = self.peek(address, self.limit + 1)
        if data is None:
            return f"{address:#x}"
        text, zero, _ = data.partition(b"\0")
        return quote(text[: self.limit], is_cut=not zero and len(text) > self.limit)

    def path(self, address: int) -> str:
        """The path at an address, as :meth:`string`, whole however long it is."""
        if not address:
            return "NULL"
        data = self.peek(address, _LONGEST_PATH)
        return f"{address:#x}" if data is None else quote(data.partition(b"\0")[0])

    def bytes(self, address: int, size: int) -> str:
        """So many bytes at an address, quoted as far as the limit goes."""
        if not address:
            return "NULL"
        if size <= 0:
            return '""' if size == 0 else f"{address:#x}"
        data = self.peek(address, min(size, self.limit))
        if data is None:
            return f"{address:#x}"
        return quote(data, is_cut=size > len(data))
