"""stdio.h: formatting, and into memory. Streams are :mod:`.stdio_files`' and :mod:`.stdio_print`'s.

Every conversion of C17 7.21.6.1 but ``%n`` (an error, as fortified libcs have it) and wide
characters and strings. ``%a`` and ``long double`` are :mod:`.stdio_float`'s.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.variadic import CallArguments, ListArguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit_tlibc.variadic import Arguments

_INT_MAX = (1 << 31) - 1
_WORDS = (b"inf", b"nan", b"INF", b"NAN", b"(nil)")
"""What a number may be written as that is not padded with zeros."""

_DIRECTIVE = re.compile(
    rb"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|-?\d*))?"
    rb"(?P<length>hh|h|ll|l|L|j|z|t|q)?(?P<conversion>.)",
    re.DOTALL,
)
_BITS = {b"hh": 8, b"h": 16, None: 32}


class Bodies(DeferredBodies):
    """The functions of stdio.h."""

    def snprintf(self, text: int, size: int, template: int) -> int:
        return self._print(text, size, template, CallArguments(self.library.machine, 3))

    def vsnprintf(self, text: int, size: int, template: int, arguments: int) -> int:
        return self._print(text, size, template, ListArguments(self.library.memory, arguments))

    def sprintf(self, text: int, template: int) -> int:
        return self._print(text, _INT_MAX, template, CallArguments(self.library.machine, 2))

    def vsprintf(self, text: int, template: int, arguments: int) -> int:
        return self.vsnprintf(text, _INT_MAX, template, arguments)

    def snprintf_chk(self, text: int, size: int, flag: int, room: int, template: int) -> int:
        """The compiler passes the size of the object; its own check is the guest's mapping."""
        return self._print(text, size, template, CallArguments(self.library.machine, 5))

    def sprintf_chk(self, text: int, flag: int, room: int, template: int) -> int:
        return self._print(text, _INT_MAX, template, CallArguments(self.library.machine, 4))

    def vsprintf_chk(self, text: int, flag: int, room: int, template: int, arguments: int) -> int:
        return self.vsprintf(text, template, arguments)

    def vsnprintf_chk(
        self, text: int, size: int, flag: int, room: int, template: int, arguments: int
    ) -> int:
        return self.vsnprintf(text, size, template, arguments)

    def _print(self, text: int, size: int, template: int, arguments: Arguments) -> int:
        memory = self.library.memory
        result = formatted(memory.read_string(template), arguments, memory.read_string)
        if len(result) > _INT_MAX:
            raise PlatformError("more than INT_MAX characters", errno.EOVERFLOW)
        if size:
            memory.write(text, result[: size - 1] + b"\0")
        return len(result)


def formatted(template: bytes, arguments: Arguments, read_string: Callable[[int], bytes]) -> bytes:
    """Replace the conversions of a C format string. Raises PlatformError (EINVAL)."""

    def replace(match: re.Match[bytes]) -> bytes:
        flags = match["flags"]
        width = _number(match["width"], arguments)
        precision = _number(match["precision"], arguments)
        if width is not None and width < 0:
            flags, width = flags + b"-", -width
        if precision is not None and precision < 0:
            precision = None
        conversion = match["conversion"]
        if conversion == b"%":
            return b"%"
        if conversion in b"diuoxXp":
            body = _integer(conversion, flags, precision, match["length"], arguments.integer())
        elif conversion in b"aA" or (conversion in b"fFeEgG" and match["length"] == b"L"):
            from theseus_kit_tlibc.stdio_float import written

            number = arguments.long_double() if match["length"] == b"L" else arguments.double()
            body = written(conversion.decode(), flags, precision, number)
        elif conversion in b"fFeEgG":
            plain = "".join(c for c in flags.decode() if c in "+ #")
            places = "" if precision is None else f".{precision}"
            body = (f"%{plain}{places}{conversion.decode()}" % arguments.double()).encode()
        elif conversion == b"c":
            body = bytes((arguments.integer() & 0xFF,))
        elif conversion == b"s":
            address = arguments.integer()
            body = (read_string(address) if address else b"(null)")[:precision]
        else:
            raise PlatformError(f"conversion {match[0]!r} is not supported", errno.EINVAL)
        if b"-" in flags:
            return body.ljust(width or 0)
        zeros = b"0" in flags and conversion not in b"cs" and not body.endswith(_WORDS)
        if zeros and (precision is None or conversion in b"fFeEgGaA"):
            head = re.match(rb"[-+ ]?(?:0[xX])?", body)
            lead = head[0] if head else b""
            return lead + body[len(lead) :].rjust((width or 0) - len(lead), b"0")
        return body.rjust(width or 0)

    return _DIRECTIVE.sub(replace, template)


def _number(text: bytes | None, arguments: Arguments) -> int | None:
    """A width or precision: none, written out, or taken from the arguments."""
    if text is None:
        return None
    if text == b"*":
        value = arguments.integer() & 0xFFFF_FFFF
        return value - (1 << 32) if value >> 31 else value
    return int(text or b"0")


def _integer(
    conversion: bytes, flags: bytes, precision: int | None, length: bytes | None, word: int
) -> bytes:
    bits = 64 if conversion == b"p" else _BITS.get(length, 64)
    value = word & ((1 << bits) - 1)
    sign = b""
    if conversion in b"di":
        if value >> (bits - 1):
            value, sign = (1 << bits) - value, b"-"
        elif b"+" in flags:
            sign = b"+"
        elif b" " in flags:
            sign = b" "
    if conversion == b"p" and value == 0:
        return b"(nil)"
    base = {b"o": "o", b"x": "x", b"X": "X", b"p": "x"}.get(conversion, "d")
    digits = format(value, base).encode()
    if precision == 0 and value == 0:
        digits = b""
    digits = digits.rjust(precision or 0, b"0")
    if conversion == b"p" or (b"#" in flags and conversion in b"xX" and value):
        sign += b"0X" if conversion == b"X" else b"0x"
    elif b"#" in flags and conversion == b"o" and digits[:1] != b"0":
        digits = b"0" + digits
    return sign + digits
