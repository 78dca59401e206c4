"""iconv.h: between character sets, by Python's codecs. Suffixes as //TRANSLIT are EINVAL."""

from __future__ import annotations

import codecs
import errno

from theseus_kit.errors import PlatformError
from theseus_kit.values.record import NamedTuple
from theseus_kit_tlibc.deferred import Deferred
from theseus_kit_tlibc.string_search import StringReader

_OWN_NAMES = {
    **dict.fromkeys(("WCHAR_T", "UCS-4LE", "UCS4LE", "INTERNAL"), "utf-32-le"),
    **dict.fromkeys(("UCS-4", "UCS4", "UCS-4BE", "ISO-10646"), "utf-32-be"),
    **dict.fromkeys(("UCS-2LE", "UNICODELITTLE"), "utf-16-le"),
    **dict.fromkeys(("UCS-2BE", "UNICODEBIG"), "utf-16-be"),
    "ANSI_X3.4-1968": "ascii",
}
"""Names that Python does not have."""
_LONGEST = 8
"""Bytes within which every character of these sets ends."""


class _Conversion(NamedTuple):
    source: codecs.CodecInfo
    encoder: codecs.IncrementalEncoder


class Bodies(StringReader):
    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._conversions: dict[int, _Conversion] = {}

    def iconv_open(self, tocode: int, fromcode: int) -> int:
        """Raises EINVAL for a set that is not known."""
        target = _codec(self.string(tocode))
        source = _codec(self.string(fromcode))
        if target.incrementalencoder is None:
            raise PlatformError(f"no conversion to {target.name}", errno.EINVAL)
        descriptor = self.library.heap.allocate(1)
        self._conversions[descriptor] = _Conversion(source, target.incrementalencoder("strict"))
        return descriptor

    def iconv_close(self, cd: int) -> int:
        if self._conversions.pop(cd, None) is None:
            raise PlatformError("no conversion descriptor", errno.EBADF)
        self.library.heap.free(cd)
        return 0

    def iconv(self, cd: int, inbuf: int, inleft: int, outbuf: int, outleft: int) -> int:
        """Convert what is whole and fits; the pointers and counts go along (iconv(3)).

        Raises E2BIG, EILSEQ, EINVAL (the input ends in the middle of a character).
        """
        conversion = self._conversions.get(cd)
        if conversion is None:
            raise PlatformError("no conversion descriptor", errno.EBADF)
        memory = self.library.memory
        source = memory.read_u64(inbuf) if inbuf else 0
        if not source:
            conversion.encoder.reset()
            return 0
        target, room = memory.read_u64(outbuf), memory.read_u64(outleft)
        data = memory.read(source, memory.read_u64(inleft))
        used, out, failure = _converted(conversion, data, room)
        memory.write(target, out)
        memory.write_u64(inbuf, source + used)
        memory.write_u64(inleft, len(data) - used)
        memory.write_u64(outbuf, target + len(out))
        memory.write_u64(outleft, room - len(out))
        if failure:
            raise PlatformError("a character that does not convert, or does not fit", failure)
        return 0


def _codec(name: bytes) -> codecs.CodecInfo:
    text = name.decode(errors="replace")
    try:
        return codecs.lookup(_OWN_NAMES.get(text.upper(), text))
    except LookupError as error:
        raise PlatformError(f"no character set {text}", errno.EINVAL) from error


def _converted(conversion: _Conversion, data: bytes, room: int) -> tuple[int, bytes, int]:
    """(bytes used, what they became, the error that stopped it or 0)."""
    used, out = 0, bytearray()
    while used < len(data):
        length, character = 0, ""
        while not character:
            length += 1
            if used + length > len(data):
                return used, bytes(out), errno.EINVAL
            try:
                character, _ = conversion.source.decode(data[used : used + length], "strict")
            except UnicodeDecodeError as error:
                is_cut = "truncated" in error.reason or "unexpected end" in error.reason
                if not is_cut or length >= _LONGEST:
                    return used, bytes(out), errno.EILSEQ
        state = conversion.encoder.getstate()
        try:
            piece = conversion.encoder.encode(character)
        except UnicodeEncodeError:
            return used, bytes(out), errno.EILSEQ
        if len(out) + len(piece) > room:
            conversion.encoder.setstate(state)
            return used, bytes(out), errno.E2BIG
        out += piece
        used += length
    return used, bytes(out), 0
