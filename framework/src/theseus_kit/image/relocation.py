"""Relocations: what a loader writes into an image so that it runs at its address.

Almost all relocations of a large library only add the load bias; those go in bulk, see
``relative_relocation``. The others need a symbol. What can be written only later is handed back:
the thread-local ones until the image's TLS module has a number, and what a resolver function
computes (IRELATIVE, STT_GNU_IFUNC) until guest code of the image can run.

Letters as in the psABI: A the addend, B the load bias, S the symbol's address, P the place.
Source: System V ABI, AMD64 supplement, table 4.9; ELF gABI, "Relative Relocation Table" (RELR);
"ELF Handling For Thread-Local Storage" and "TLSDESC" for the thread-local ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import iter_unpack

from theseus_kit.image.dynamic import (
    DT_JMPREL,
    DT_PLTRELSZ,
    DT_RELA,
    DT_RELASZ,
    DT_RELR,
    DT_RELRSZ,
    Dynamic,
)
from theseus_kit.image.segment_reader import SegmentReader
from theseus_kit.image.symbols import STT_TLS, ElfSymbol, SymbolTable
from theseus_kit.values.record import NamedTuple

R_64, R_PC32, R_COPY, R_GLOB_DAT, R_JUMP_SLOT, R_RELATIVE = 1, 2, 5, 6, 7, 8
R_32, R_32S, R_DTPMOD64, R_DTPOFF64, R_TPOFF64 = 10, 11, 16, 17, 18
R_TPOFF32, R_PC64, R_SIZE32, R_SIZE64 = 23, 24, 32, 33
R_TLSDESC, R_IRELATIVE, R_RELATIVE64 = 36, 37, 38
R_NONE = 0

THREAD_LOCAL_TYPES = frozenset({R_DTPMOD64, R_DTPOFF64, R_TPOFF64, R_TPOFF32, R_TLSDESC})
STATIC_TLS_TYPES = frozenset({R_TPOFF64, R_TPOFF32, R_TLSDESC})

RELA_SIZE = 24
_MASK = (1 << 64) - 1


class Target(NamedTuple):
    """A run of writable image memory: addresses [start, end), and its bytes."""

    start: int
    end: int
    view: memoryview


class Relocation(NamedTuple):
    """One entry of a relocation table."""

    place: int
    type: int
    symbol: int
    addend: int


class Definition(NamedTuple):
    """What a reference is bound to."""

    address: int
    """Where it is; 0 for a weak reference that nothing answers. Of a thread-local variable, its
    offset in its module's block."""
    size: int = 0
    is_resolver: bool = False
    """``address`` is a function that, once called, returns the real address."""
    tls_module: int | None = None


class Resolved(NamedTuple):
    """A place that gets the result of a resolver function, with an addend."""

    place: int
    resolver: int
    addend: int


Bind = Callable[[ElfSymbol, str | None], Definition]
"""Answers a reference, by symbol and version; always with something that can be written."""


Bulk = Callable[[int, memoryview], int]
"""Applies the relative relocations that a table (its address, its bytes) starts with, and returns
how many those were."""


class Relocator:
    """Relocates one mapped image. Each step raises ImageError for what the image got wrong."""

    def __init__(
        self,
        reader: SegmentReader,
        dynamic: Dynamic,
        symbols: SymbolTable,
        targets: Sequence[Target],
        bias: int,
        bind: Bind,
        bulk: Bulk,
        locate: Callable[[int], str] = hex,
    ) -> None:
        self._reader = reader
        self._dynamic = dynamic
        self._symbols = symbols
        self._targets = targets
        self._bias = bias
        self._bind = bind
        self._bulk = bulk
        self._locate = locate
        self._bound: dict[int, Definition] = {}
        self._thread_local_symbols: set[int] = set()
        self.resolved: list[Resolved] = []
        """Left to be written by :meth:`write_resolved`, in order."""
        self.thread_local: list[Relocation] = []
        """Left to be written by :meth:`apply_thread_local`."""

    def apply(self) -> None:
        """Write everything that can be written before any code of the image runs."""
        self._apply_relr()
        for address, table in relocation_tables(self._reader, self._dynamic):
            done = self._bulk(address, table)
            for place, info, addend in iter_unpack("<QQq", table[done * RELA_SIZE :]):
                self._apply_one(Relocation(place, info & 0xFFFFFFFF, info >> 32, addend))

    def apply_thread_local(
        self, own_module: int | None, static_offset: Callable[[int], int], descriptor: int
    ) -> None:
        """Write the thread-local relocations.

        ``static_offset`` tells a module's offset from the thread pointer; ``descriptor`` is the
        address of the function that TLS descriptors call.
        """
        for relocation in self.thread_local:
            place, kind, _, addend = relocation
            module, offset = self._thread_local_variable(relocation, own_module)
            offset += addend
            if kind == R_DTPMOD64:
                self._store(place, module)
            elif kind == R_DTPOFF64:
                self._store(place, offset)
            elif kind == R_TPOFF64:
                self._store(place, static_offset(module) + offset)
            elif kind == R_TPOFF32:
                self._store_32(relocation, static_offset(module) + offset, signed=True)
            else:
                self._store(place, descriptor)
                self._store(place + 8, static_offset(module) + offset)

    def write_resolved(self, call: Callable[[int], int]) -> None:
        """Call the resolver functions and write what they return."""
        for place, resolver, addend in self.resolved:
            self._store(place, call(resolver) + addend)

    def _apply_relr(self) -> None:
        """Add the bias to the words a DT_RELR table names.

        An even entry is the address of a word; an odd one is a bitmap, bit 1 up, of the 63 words
        that follow.
        """
        size = self._dynamic.get(DT_RELRSZ)
        if DT_RELR not in self._dynamic or not size:
            return
        table = self._reader.window(self._dynamic.get(DT_RELR), size & -8, "its RELR table")
        following: int | None = None
        for (entry,) in iter_unpack("<Q", table):
            if not entry & 1:
                self._add_bias(entry)
                following = entry + 8
                continue
            if following is None:
                self._reader.fail("its RELR table starts with a bitmap")
            bits, place = entry >> 1, following
            while bits:
                if bits & 1:
                    self._add_bias(place)
                bits >>= 1
                place += 8
            following += 63 * 8

    def _add_bias(self, place: int) -> None:
        word = self._memory(place, 8)
        word[:] = ((int.from_bytes(word, "little") + self._bias) & _MASK).to_bytes(8, "little")

    def _apply_one(self, relocation: Relocation) -> None:
        place, kind, index, addend = relocation
        if kind in (R_RELATIVE, R_RELATIVE64):
            self._store(place, self._bias + addend)
        elif kind in THREAD_LOCAL_TYPES:
            self.thread_local.append(relocation)
        elif kind == R_IRELATIVE:
            self._memory(place, 8)
            self.resolved.append(Resolved(place, self._bias + addend & _MASK, 0))
        elif kind in _SYMBOLIC_TYPES:
            self._apply_symbolic(relocation, self._definition(index))
        elif kind == R_COPY:
            name = self._symbols[index].name
            self._reader.fail(
                f"copies the variable {name} into itself (R_X86_64_COPY), as executables do; "
                "build it as a shared object"
            )
        elif kind != R_NONE:
            self._reader.fail(f"has a relocation of unknown type {kind} at {self._locate(place)}")

    def _apply_symbolic(self, relocation: Relocation, definition: Definition) -> None:
        place, kind, index, addend = relocation
        if index in self._thread_local_symbols:
            name = self._symbols[index].name
            self._reader.fail(f"refers to the thread-local variable {name} as to a global one")
        if kind in (R_GLOB_DAT, R_JUMP_SLOT):
            addend = 0
        if definition.is_resolver:
            if kind not in (R_64, R_GLOB_DAT, R_JUMP_SLOT):
                self._reader.fail(
                    f"{self._describe(relocation)}: the symbol's address is a resolver's choice, "
                    "which only a whole word can take; compile it with -fPIC"
                )
            self._memory(place, 8)
            self.resolved.append(Resolved(place, definition.address, addend))
            return
        value = definition.address + addend
        if kind in (R_64, R_GLOB_DAT, R_JUMP_SLOT):
            self._store(place, value)
        elif kind == R_PC64:
            self._store(place, value - self._bias - place)
        elif kind == R_PC32:
            self._store_32(relocation, value - self._bias - place, signed=True)
        elif kind == R_SIZE64:
            self._store(place, definition.size + addend)
        elif kind == R_SIZE32:
            self._store_32(relocation, definition.size + addend, signed=False)
        else:
            self._store_32(relocation, value, signed=kind == R_32S)

    def _definition(self, index: int) -> Definition:
        definition = self._bound.get(index)
        if definition is None:
            if index == 0:
                definition = Definition(0)
            else:
                symbol = self._symbols[index]
                definition = self._bind(symbol, self._symbols.versions.name(index))
                if symbol.type == STT_TLS:
                    self._thread_local_symbols.add(index)
            self._bound[index] = definition
        return definition

    def _thread_local_variable(
        self, relocation: Relocation, own_module: int | None
    ) -> tuple[int, int]:
        """The module and the offset in its block that a thread-local relocation means."""
        if relocation.symbol:
            definition = self._definition(relocation.symbol)
            if definition.tls_module is None:
                name = self._symbols[relocation.symbol].name
                self._reader.fail(
                    f"needs the thread-local variable {name}, which no loaded image defines"
                )
            return definition.tls_module, definition.address
        if own_module is None:
            self._reader.fail("has thread-local relocations, but no thread-local segment")
        return own_module, 0

    def _store(self, place: int, value: int) -> None:
        self._memory(place, 8)[:] = (value & _MASK).to_bytes(8, "little")

    def _store_32(self, relocation: Relocation, value: int, *, signed: bool) -> None:
        low, high = (-(1 << 31), 1 << 31) if signed else (0, 1 << 32)
        if not low <= value < high:
            self._reader.fail(
                f"{self._describe(relocation)}: 32 bits cannot reach; compile it with -fPIC"
            )
        data = value.to_bytes(4, "little", signed=signed)
        self._memory(relocation.place, 4)[:] = data

    def _describe(self, relocation: Relocation) -> str:
        """A relocation for a message: where it is, its type, what it is against."""
        # Imported here: no image that loads needs it.
        from theseus_kit.image.objects.relocation_types import type_name

        name = self._symbols[relocation.symbol].name if relocation.symbol else ""
        against = name or self._locate(relocation.addend)
        return f"{self._locate(relocation.place)}: {type_name(relocation.type)} against {against}"

    def _memory(self, place: int, size: int) -> memoryview:
        for target in self._targets:
            if target.start <= place and place + size <= target.end:
                return target.view[place - target.start :][:size]
        return self._reader.fail(f"a relocation at {place:#x} lies outside its writable segments")


_SYMBOLIC_TYPES = frozenset(
    {R_64, R_GLOB_DAT, R_JUMP_SLOT, R_PC32, R_PC64, R_32, R_32S, R_SIZE32, R_SIZE64}
)


def relocation_tables(reader: SegmentReader, dynamic: Dynamic) -> list[tuple[int, memoryview]]:
    """The tables of relocations with addends: the image's own address of each, and its bytes."""
    tables = []
    for table_tag, size_tag in ((DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)):
        address, size = dynamic.get(table_tag), dynamic.get(size_tag)
        if table_tag in dynamic and size >= RELA_SIZE:
            size -= size % RELA_SIZE
            tables.append((address, reader.window(address, size, "a relocation table")))
    return tables
