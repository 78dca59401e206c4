"""An image's dynamic symbol table: lookups by name through its hash table, nothing read ahead.

Values are the image's own, without the load bias. The full symbol table of a file that was not
stripped (.symtab) is no concern of loading, and not read here.

Source: System V ABI, chapter 4, "Symbol Table".
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from theseus_kit.image.dynamic import DT_GNU_HASH, DT_HASH, DT_SYMTAB, Dynamic
from theseus_kit.image.hash_tables import GnuHashTable, HashTable, SystemVHashTable
from theseus_kit.image.segment_reader import SegmentReader
from theseus_kit.image.versions import SymbolVersions
from theseus_kit.values.record import NamedTuple

STB_LOCAL = 0
STB_WEAK = 2
STB_GNU_UNIQUE = 10
STT_NOTYPE = 0
STT_OBJECT = 1
STT_FUNC = 2
STT_COMMON = 5
STT_TLS = 6
STT_GNU_IFUNC = 10
SHN_UNDEF = 0
SHN_ABS = 0xFFF1

_EXPORTED_TYPES = frozenset({STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC})
_STV_DEFAULT, _STV_PROTECTED = 0, 3
_SYMBOL = Struct("<IBBHQQ")
_KIND_NAMES = {STT_OBJECT: "object", STT_FUNC: "function", STT_COMMON: "object", STT_TLS: "tls"}


class ElfSymbol(NamedTuple):
    """One entry of a symbol table; ``number`` is its place there."""

    number: int
    name: str
    type: int
    binding: int
    visibility: int
    section_index: int
    value: int
    size: int

    @property
    def is_defined(self) -> bool:
        return self.section_index != SHN_UNDEF

    @property
    def is_weak(self) -> bool:
        return self.binding == STB_WEAK

    @property
    def is_absolute(self) -> bool:
        """Its value is no address of the image: the load bias is not added."""
        return self.section_index == SHN_ABS

    @property
    def is_exported(self) -> bool:
        """Other images may be bound to it."""
        return (
            self.is_defined
            and self.binding != STB_LOCAL
            and self.visibility in (_STV_DEFAULT, _STV_PROTECTED)
            and self.type in _EXPORTED_TYPES
        )

    @property
    def binds_locally(self) -> bool:
        """References from its own image always mean this very symbol."""
        return self.binding == STB_LOCAL or (self.is_defined and self.visibility != _STV_DEFAULT)

    @property
    def kind(self) -> str:
        """``function``, ``object``, ``tls`` or ``unknown``, for reports."""
        return _KIND_NAMES.get(self.type, "function" if self.type == STT_GNU_IFUNC else "unknown")


class SymbolTable:
    """The dynamic symbols of one image."""

    def __init__(self, reader: SegmentReader, dynamic: Dynamic) -> None:
        self._reader = reader
        self._strings = dynamic.strings
        self._table = memoryview(b"")
        if DT_SYMTAB in dynamic:
            self._table = reader.window_to_end(dynamic.get(DT_SYMTAB), "its symbol table")
        self.versions = SymbolVersions(reader, dynamic)
        self._hash: HashTable | None = None
        if DT_GNU_HASH in dynamic:
            self._hash = GnuHashTable(reader, dynamic.get(DT_GNU_HASH))
        elif DT_HASH in dynamic:
            self._hash = SystemVHashTable(reader, dynamic.get(DT_HASH))

    def __getitem__(self, index: int) -> ElfSymbol:
        """The symbol of an index. Raises ImageError where there is none."""
        offset = index * _SYMBOL.size
        if offset + _SYMBOL.size > len(self._table):
            self._reader.fail(f"symbol {index} lies outside its segments")
        name, info, other, section, value, size = _SYMBOL.unpack_from(self._table, offset)
        return ElfSymbol(
            index, self._strings.text(name), info & 15, info >> 4, other & 3, section, value, size
        )

    @property
    def hashed_count(self) -> int:
        """How many symbols the hash table accounts for; the first is never a symbol."""
        return 1 if self._hash is None else self._hash.symbol_count

    def exported(self) -> Iterator[ElfSymbol]:
        """Every symbol that other images may be bound to, one for each version of a name."""
        for index in range(1, self.hashed_count):
            symbol = self[index]
            if symbol.is_exported:
                yield symbol

    def imported(self, highest: int = 0) -> Iterator[ElfSymbol]:
        """Every symbol that the image expects from others.

        ``highest`` is the last symbol its relocations name: an image that exports nothing has
        imports that no hash table counts.
        """
        for index in range(1, max(self.hashed_count, highest + 1)):
            symbol = self[index]
            if symbol.name and not symbol.is_defined and symbol.binding != STB_LOCAL:
                yield symbol

    def lookup(self, name: str, version: str | None = None) -> ElfSymbol | None:
        """The exported symbol of a name, in a version or in the default one; None if unknown."""
        if self._hash is None:
            return None
        encoded = name.encode("utf-8", "surrogateescape")
        found = None
        for index in self._hash.candidates(encoded):
            if not self.versions.satisfies(index, version):
                continue
            symbol = self[index]
            if symbol.name != name or not symbol.is_exported:
                continue
            if not self.versions.is_hidden(index):
                return symbol
            found = found or symbol
        return found
