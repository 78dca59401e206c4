"""stdio.h: scanf and its family (C17 7.21.6.2), from strings and from streams.

Not here: wide characters (``%ls``, ``%lc``, ``%l[``) and numbered arguments; such a conversion ends
the scan, as one that is no conversion does.
"""

from __future__ import annotations

import re
from struct import pack
from typing import Protocol

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.floating import (
    DOUBLE,
    EXTENDED,
    SINGLE,
    extended_bytes,
    parse_float,
    parse_integer,
    rounded,
)
from theseus_kit_tlibc.string_search import StringReader
from theseus_kit_tlibc.variadic import Arguments, CallArguments, ListArguments

_EOF = -1
_SPACE = b" \t\n\v\f\r"
_DIRECTIVE = re.compile(
    rb"[ \t\n\v\f\r]+|%(?P<skip>\*)?(?P<width>\d+)?(?P<allocate>m)?"
    rb"(?P<length>hh|h|ll|l|L|q|j|z|t)?"
    rb"(?P<conversion>\[\^?\]?[^\]]*\]|.)|(?P<literal>.)",
    re.DOTALL,
)
_SIZES = {b"hh": 1, b"h": 2, None: 4}
_BASES = {b"d": 10, b"u": 10, b"i": 0, b"o": 8, b"x": 16, b"X": 16, b"p": 16}
# What a number may go on with: the longest prefix of one is read (7.21.6.2, footnote 288).
_INTEGER_PREFIX = {
    10: re.compile(rb"[-+]?[0-9]*\Z"),
    8: re.compile(rb"[-+]?[0-7]*\Z"),
    16: re.compile(rb"[-+]?(?:0(?:[xX][0-9a-fA-F]*)?|[0-9a-fA-F]*)\Z"),
    0: re.compile(rb"[-+]?(?:0(?:[xX][0-9a-fA-F]*|[0-7]*)|[1-9][0-9]*)?\Z"),
}
_FLOAT_PREFIX = re.compile(
    rb"[-+]?(?:(?:i(?:n(?:f(?:i(?:n(?:i(?:t(?:y)?)?)?)?)?)?)?|n(?:a(?:n)?)?)?"
    rb"|0x(?:[0-9a-f]*\.?[0-9a-f]*)(?:p[-+]?\d*)?|\d+\.?\d*(?:e[-+]?\d*)?"
    rb"|\.(?:\d+(?:e[-+]?\d*)?)?)\Z",
    re.IGNORECASE,
)


class Source(Protocol):
    """Bytes, one after the other."""

    def take(self) -> int:
        """The next byte, or EOF."""
        ...

    def give_back(self, byte: int) -> None: ...


class _Text:
    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def take(self) -> int:
        if self._at >= len(self._text):
            return _EOF
        self._at += 1
        return self._text[self._at - 1]

    def give_back(self, byte: int) -> None:
        self._at -= byte != _EOF


class _Stream:
    def __init__(self, bodies: DeferredBodies, stream: int) -> None:
        self._stdio = bodies.deferred.stdio
        self._stream = stream

    def take(self) -> int:
        return self._stdio.fgetc(self._stream)

    def give_back(self, byte: int) -> None:
        if byte != _EOF:
            self._stdio.ungetc(byte, self._stream)


class _Counting:
    """A source, and how much of it was used."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.used = 0

    def take(self) -> int:
        byte = self._source.take()
        self.used += byte != _EOF
        return byte

    def give_back(self, byte: int) -> None:
        self.used -= byte != _EOF
        self._source.give_back(byte)

    def is_at_end(self) -> bool:
        """An item that meets the end is an input failure; else nothing fits, a matching failure."""
        byte = self.take()
        self.give_back(byte)
        return byte == _EOF

    def skip_space(self) -> None:
        while (byte := self.take()) != _EOF and byte in _SPACE:
            pass
        self.give_back(byte)

    def take_while(self, accepted: bytes | None, width: int) -> bytes:
        """Bytes of a set (any that is no space, for None), ``width`` of them at most."""
        taken = bytearray()
        while len(taken) < width:
            byte = self.take()
            if byte == _EOF:
                break
            if byte in _SPACE if accepted is None else byte not in accepted:
                self.give_back(byte)
                break
            taken.append(byte)
        return bytes(taken)

    def take_prefix(self, pattern: re.Pattern[bytes], width: int) -> bytes:
        """The longest start of what a pattern has."""
        taken = bytearray()
        while len(taken) < width:
            byte = self.take()
            if byte == _EOF:
                break
            taken.append(byte)
            if not pattern.match(taken):
                del taken[-1]
                self.give_back(byte)
                break
        return bytes(taken)


class Bodies(StringReader):
    def sscanf(self, text: int, template: int) -> int:
        return self._scan(_Text(self.string(text)), template, self._call(2))

    def vsscanf(self, text: int, template: int, arguments: int) -> int:
        return self._scan(_Text(self.string(text)), template, self._list(arguments))

    def fscanf(self, stream: int, template: int) -> int:
        return self._scan(_Stream(self, stream), template, self._call(2))

    def vfscanf(self, stream: int, template: int, arguments: int) -> int:
        return self._scan(_Stream(self, stream), template, self._list(arguments))

    def scanf(self, template: int) -> int:
        source = _Stream(self, self.deferred.stdio.standard(0))
        return self._scan(source, template, self._call(1))

    def vscanf(self, template: int, arguments: int) -> int:
        source = _Stream(self, self.deferred.stdio.standard(0))
        return self._scan(source, template, self._list(arguments))

    def _call(self, named: int) -> CallArguments:
        return CallArguments(self.library.machine, named)

    def _list(self, address: int) -> ListArguments:
        return ListArguments(self.library.memory, address)

    def _scan(self, origin: Source, template: int, arguments: Arguments) -> int:
        source, assigned = _Counting(origin), 0
        for match in _DIRECTIVE.finditer(self.string(template)):
            conversion = match["conversion"]
            if match["literal"]:
                if source.is_at_end():
                    return assigned or _EOF
                if not self._literal(source, match["literal"][0]):
                    return assigned
                continue
            if conversion is None:
                source.skip_space()
                continue
            if conversion == b"%":
                source.skip_space()
                if source.is_at_end():
                    return assigned or _EOF
                if not self._literal(source, 37):
                    return assigned
                continue
            if conversion[:1] not in b"cn[":
                source.skip_space()
            if conversion == b"n":
                if not match["skip"]:
                    self._store(arguments, source.used, match["length"])
                continue
            if source.is_at_end():
                return assigned or _EOF
            target = 0 if match["skip"] else arguments.integer()
            if not self._convert(source, match, target):
                return assigned
            assigned += target != 0
        return assigned

    def _convert(self, source: _Counting, match: re.Match[bytes], target: int) -> bool:
        """Read one item and store it where there is a target; False where nothing fits."""
        conversion, length = match["conversion"], match["length"]
        width = int(match["width"] or 0)
        if conversion in _BASES:
            base = _BASES[conversion]
            text = source.take_prefix(_INTEGER_PREFIX[base], width or 1 << 30)
            value, used = parse_integer(text, base)
            if not used:
                return False
            size = 8 if conversion == b"p" else _SIZES.get(length, 8)
            limit = 1 << 63 if conversion in b"di" else 1 << 64
            lowest = -limit if conversion in b"di" else -limit + 1
            value = min(max(value, lowest), limit - 1) & (1 << 8 * size) - 1
            self._write(target, value.to_bytes(size, "little"))
            return True
        if conversion in b"aAeEfFgG":
            parsed = parse_float(source.take_prefix(_FLOAT_PREFIX, width or 1 << 30))
            if not parsed.length:
                return False
            if length == b"L":
                self._write(target, extended_bytes(rounded(parsed, EXTENDED)))
            elif length == b"l":
                self._write(target, pack("<d", rounded(parsed, DOUBLE).as_float()))
            else:
                self._write(target, pack("<f", rounded(parsed, SINGLE).as_float()))
            return True
        if length == b"l" or conversion[:1] not in b"sc[":
            return False
        accepted: bytes | None = None
        if conversion == b"c":
            accepted, width = bytes(range(256)), width or 1
        elif conversion != b"s":
            accepted = _set(conversion)
        text = source.take_while(accepted, width or 1 << 30)
        if not text:
            return False
        data = text if conversion == b"c" else text + b"\0"
        if target and match["allocate"]:
            copy = self.library.heap.allocate(len(data))
            self.library.memory.write_u64(target, copy)
            target = copy
        self._write(target, data)
        return True

    def _write(self, target: int, data: bytes) -> None:
        if target:
            self.library.memory.write(target, data)

    def _store(self, arguments: Arguments, count: int, length: bytes | None) -> None:
        size = _SIZES.get(length, 8)
        self._write(arguments.integer(), count.to_bytes(size, "little"))

    @staticmethod
    def _literal(source: _Counting, wanted: int) -> bool:
        byte = source.take()
        if byte == wanted:
            return True
        source.give_back(byte)
        return False


def _set(conversion: bytes) -> bytes:
    """The bytes of ``[a-z]``, or of ``[^a-z]`` all others."""
    inner = conversion[1:-1]
    inverted = inner[:1] == b"^"
    inner = inner[inverted:]
    chosen: set[int] = set()
    at = 0
    while at < len(inner):
        if inner[at + 1 : at + 2] == b"-" and at + 2 < len(inner):
            chosen.update(range(inner[at], inner[at + 2] + 1))
            at += 3
        else:
            chosen.add(inner[at])
            at += 1
    return bytes(byte for byte in range(256) if (byte in chosen) != inverted)
