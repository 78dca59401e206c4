"""Symbol versions: which version of a name a symbol defines, or refers to.

Each symbol has a number in DT_VERSYM; DT_VERDEF names the numbers of what the image defines,
DT_VERNEED those of what it needs from others. Both share one numbering, so one table of names
serves both: a reference to a symbol of the image's own has its version from DT_VERDEF.

Source: "ELF Symbol Versioning" (Drepper); the Linux Standard Base, 10.7.
"""

from __future__ import annotations

from struct import Struct

from theseus_kit.image.dynamic import (
    DT_VERDEF,
    DT_VERDEFNUM,
    DT_VERNEED,
    DT_VERNEEDNUM,
    DT_VERSYM,
    Dynamic,
)
from theseus_kit.image.segment_reader import SegmentReader

_VERSYM_HIDDEN = 0x8000
_FIRST_NAMED = 2
"""Numbers 0 and 1 stand for local symbols and for unversioned global ones."""
_VER_FLG_BASE = 1
_NEED = Struct("<HHIII")
_NEED_AUXILIARY = Struct("<IHHII")
_DEFINITION = Struct("<HHHHIII")
_DEFINITION_AUXILIARY = Struct("<II")


class SymbolVersions:
    """The versions of one image's dynamic symbols; empty where it has none."""

    def __init__(self, reader: SegmentReader, dynamic: Dynamic) -> None:
        self._reader = reader
        self._dynamic = dynamic
        self._entries = 0
        self._numbers: memoryview | None = None
        self._names: dict[int, str] = {}
        self.providers: dict[int, str] = {}
        """By version number, the library a needed version is expected from (``libc.so.6``)."""
        if DT_VERSYM not in dynamic:
            return
        window = reader.window_to_end(dynamic.get(DT_VERSYM), "its symbol versions")
        self._numbers = window[: len(window) & -2].cast("H")
        self._read_needs()
        self._read_definitions()

    def number(self, index: int) -> int:
        """The version number of a symbol; 0 where the image has no versions."""
        if self._numbers is None:
            return 0
        if index >= len(self._numbers):
            self._reader.fail(f"the version of symbol {index} lies outside its segments")
        return self._numbers[index] & ~_VERSYM_HIDDEN

    def name(self, index: int) -> str | None:
        """The version of a symbol, such as ``GLIBC_2.34``; None for an unversioned one."""
        return self._names.get(self.number(index))

    def library(self, index: int) -> str | None:
        """The library that a symbol's version is needed from, None where none is named."""
        return self.providers.get(self.number(index))

    def is_hidden(self, index: int) -> bool:
        """Whether a symbol is not its name's default version (``name@V``, not ``name@@V``)."""
        return self._numbers is not None and bool(self._numbers[index] & _VERSYM_HIDDEN)

    def satisfies(self, index: int, version: str | None) -> bool:
        """Whether a defined symbol answers a reference that asks for a version, or for none.

        As glibc's do_lookup_x: a version is answered by the same one and by an unversioned
        symbol; a reference without version by the default one, and by the oldest.
        """
        if self._numbers is None:
            return True
        number = self.number(index)
        if version is None:
            return number <= _FIRST_NAMED or not self.is_hidden(index)
        name = self._names.get(number)
        return name == version or (name is None and not self.is_hidden(index))

    def _read_needs(self) -> None:
        address = self._dynamic.get(DT_VERNEED)
        strings = self._dynamic.strings
        for _ in range(self._dynamic.get(DT_VERNEEDNUM)):
            _, count, file_name, auxiliary, following = self._unpack(_NEED, address)
            library = strings.text(file_name)
            entry = address + auxiliary
            for _ in range(count):
                _, _, number, name, step = self._unpack(_NEED_AUXILIARY, entry)
                self._names[number & ~_VERSYM_HIDDEN] = strings.text(name)
                self.providers[number & ~_VERSYM_HIDDEN] = library
                if not self._goes_on(step, _NEED_AUXILIARY):
                    break
                entry += step
            if not self._goes_on(following, _NEED):
                break
            address += following

    def _read_definitions(self) -> None:
        address = self._dynamic.get(DT_VERDEF)
        for _ in range(self._dynamic.get(DT_VERDEFNUM)):
            _, flags, number, _, _, auxiliary, following = self._unpack(_DEFINITION, address)
            name, _ = self._unpack(_DEFINITION_AUXILIARY, address + auxiliary)
            if not flags & _VER_FLG_BASE:
                self._names[number & ~_VERSYM_HIDDEN] = self._dynamic.strings.text(name)
            if not self._goes_on(following, _DEFINITION):
                break
            address += following

    def _goes_on(self, step: int, layout: Struct) -> bool:
        """Whether there is a next entry, so many bytes on. Bounds the walk through a damaged list:
        entries may not overlap, nor be more than there are version numbers."""
        self._entries += 1
        if step == 0:
            return False
        if step < layout.size or self._entries > _VERSYM_HIDDEN:
            self._reader.fail("its list of symbol versions is damaged")
        return True

    def _unpack(self, layout: Struct, address: int) -> tuple[int, ...]:
        return layout.unpack(self._reader.window(address, layout.size, "a symbol version"))
