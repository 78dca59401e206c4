"""A shared object written in pure Python, piece by piece.

The real tool chain is not everywhere, and never writes the damaged files that a loader must
refuse; so most tests here build their image themselves. Its addresses are always the same::

    0x0000  r--  headers, symbols, hash tables, relocations
    0x4000  r-x  code
    0x8000  rw-  data, then zero bytes up to 0x9000 (only the first part is in the file)
    0xa000  rw-  the dynamic section, made read-only after relocation (PT_GNU_RELRO)

In the file the segments lie close together, so that addresses and offsets differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from struct import pack

from theseus_kit.image.hash_tables import gnu_hash, system_v_hash

CODE, DATA, DYNAMIC = 0x4000, 0x8000, 0xA000
FUNCTION, OBJECT, TLS, RESOLVER = 2, 1, 6, 10
GLOBAL, WEAK, UNIQUE = 1, 2, 10


@dataclass
class Symbol:
    """A dynamic symbol; undefined without ``value``."""

    name: str
    value: int | None = None
    type: int = FUNCTION
    binding: int = GLOBAL
    visibility: int = 0
    size: int = 8
    version: str | None = None
    hidden: bool = False
    absolute: bool = False


@dataclass
class Relocation:
    """An entry of a relocation table; ``symbol`` is a name, empty for none."""

    place: int
    type: int
    symbol: str = ""
    addend: int = 0


@dataclass
class TinyImage:
    """What a shared object is to contain. :meth:`build` writes it, :meth:`write` to a file."""

    code: bytes = b"\xc3"
    data: bytes = b""
    symbols: list[Symbol] = field(default_factory=list)
    relocations: list[Relocation] = field(default_factory=list)
    plt_relocations: list[Relocation] = field(default_factory=list)
    relr: list[int] = field(default_factory=list)
    tags: list[tuple[int, int]] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    soname: str = ""
    hashes: tuple[str, ...] = ("gnu",)
    tls: tuple[int, int, int, int] | None = None
    """address, file size, memory size, alignment"""
    relro: tuple[int, int] = (DYNAMIC, 0x1000)
    relative_count: int | None = None
    extra_headers: list[bytes] = field(default_factory=list)

    def build(self) -> bytes:
        self._strings = bytearray(b"\0")
        ordered = self._ordered_symbols()
        self._index = {symbol.name: i for i, symbol in enumerate(ordered, 1)}
        meta = _Area(0x400)
        tags = list(self.tags)
        tags += [(1, self._string(name)) for name in self.needed]
        if self.soname:
            tags.append((14, self._string(self.soname)))
        tags.append((6, meta.add(self._symbol_table(ordered), 8)))
        tags.append((11, 24))
        if "gnu" in self.hashes:
            tags.append((0x6FFFFEF5, meta.add(self._gnu_hash(ordered), 8)))
        if "sysv" in self.hashes:
            tags.append((4, meta.add(self._system_v_hash(ordered), 8)))
        tags += self._versions(ordered, meta)
        for table, tag, size_tag in ((self.relocations, 7, 8), (self.plt_relocations, 23, 2)):
            if table:
                data = b"".join(self._relocation(entry) for entry in table)
                tags += [(tag, meta.add(data, 8)), (size_tag, len(data))]
        if self.relocations:
            tags.append((9, 24))
            if self.relative_count is not None:
                tags.append((0x6FFFFFF9, self.relative_count))
        if self.relr:
            data = b"".join(pack("<Q", entry) for entry in self.relr)
            tags += [(36, meta.add(data, 8)), (35, len(data)), (37, 8)]
        tags += [(5, meta.add(bytes(self._strings), 1)), (10, len(self._strings)), (0, 0)]
        assert meta.end <= CODE
        return self._file(meta, b"".join(pack("<QQ", *tag) for tag in tags))

    def write(self, path: Path) -> Path:
        path.write_bytes(self.build())
        return path

    def _file(self, meta: _Area, dynamic: bytes) -> bytes:
        parts = [(0, 4, meta.bytes(), 0), (CODE, 5, self.code, 0), (DATA, 6, self.data, 0x1000)]
        parts.append((DYNAMIC, 6, dynamic, 0x1000))
        headers, body = list(self.extra_headers), bytearray()
        for address, flags, contents, memory_size in parts:
            offset = len(body)
            body += contents + bytes(-len(contents) % 0x1000)
            size = max(len(contents), memory_size)
            headers.append(_program_header(1, flags, offset, address, len(contents), size, 0x1000))
            if address == DYNAMIC:
                header = (2, 6, offset, address, len(contents), len(contents), 8)
                headers.append(_program_header(*header))
        if self.tls is not None:
            address, file_size, memory_size, alignment = self.tls
            headers.append(_program_header(7, 4, 0, address, file_size, memory_size, alignment))
        headers.append(_program_header(0x6474E552, 4, 0, *self.relro, self.relro[1], 1))
        header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + pack(
            "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, len(headers), 64, 0, 0
        )
        start = header + b"".join(headers)
        assert len(start) <= 0x400
        body[: len(start)] = start
        return bytes(body)

    def _string(self, text: str) -> int:
        offset = len(self._strings)
        self._strings += text.encode() + b"\0"
        return offset

    def _ordered_symbols(self) -> list[Symbol]:
        """Undefined ones first, then by bucket: what DT_GNU_HASH demands."""
        self._undefined = [symbol for symbol in self.symbols if symbol.value is None]
        defined = [symbol for symbol in self.symbols if symbol.value is not None]
        self._buckets = max(1, len(defined) // 2)
        defined.sort(key=lambda symbol: gnu_hash(symbol.name.encode()) % self._buckets)
        return self._undefined + defined

    def _symbol_table(self, ordered: list[Symbol]) -> bytes:
        table = bytearray(24)
        for symbol in ordered:
            section = 0 if symbol.value is None else 0xFFF1 if symbol.absolute else 1
            table += pack(
                "<IBBHQQ",
                self._string(symbol.name),
                symbol.binding << 4 | symbol.type,
                symbol.visibility,
                section,
                symbol.value or 0,
                symbol.size,
            )
        return bytes(table)

    def _gnu_hash(self, ordered: list[Symbol]) -> bytes:
        first = 1 + len(self._undefined)
        hashes = [gnu_hash(symbol.name.encode()) for symbol in ordered[first - 1 :]]
        bloom = 0
        buckets = [0] * self._buckets
        chain = []
        for index, value in enumerate(hashes):
            bloom |= 1 << value % 64 | 1 << (value >> 6) % 64
            bucket = value % self._buckets
            buckets[bucket] = buckets[bucket] or first + index
            last = index + 1 == len(hashes) or hashes[index + 1] % self._buckets != bucket
            chain.append(value & ~1 | last)
        words = pack(f"<{self._buckets + len(chain)}I", *buckets, *chain)
        return pack("<4IQ", self._buckets, first, 1, 6, bloom) + words

    def _system_v_hash(self, ordered: list[Symbol]) -> bytes:
        buckets, chain = [0, 0, 0], [0] * (len(ordered) + 1)
        for index, symbol in enumerate(ordered, 1):
            bucket = system_v_hash(symbol.name.encode()) % 3
            chain[index], buckets[bucket] = buckets[bucket], index
        return pack(f"<{5 + len(chain)}I", 3, len(chain), *buckets, *chain)

    def _versions(self, ordered: list[Symbol], meta: _Area) -> list[tuple[int, int]]:
        """DT_VERSYM, with DT_VERNEED for undefined symbols and DT_VERDEF for defined ones."""
        if not any(symbol.version for symbol in ordered):
            return []
        numbers: dict[tuple[bool, str], int] = {}
        for symbol in ordered:
            if symbol.version:
                key = (symbol.value is None, symbol.version)
                numbers.setdefault(key, 2 + len(numbers))
        versym = [0]
        for symbol in ordered:
            number = numbers.get((symbol.value is None, symbol.version or ""), 1)
            versym.append(number | (0x8000 if symbol.hidden else 0))
        tags = [(0x6FFFFFF0, meta.add(pack(f"<{len(versym)}H", *versym), 2))]
        needs = [(version, n) for (undefined, version), n in numbers.items() if undefined]
        if needs:
            need = pack("<HHIII", 1, len(needs), self._string("libtiny.so"), 16, 0)
            for position, (version, number) in enumerate(needs):
                following = 16 if position + 1 < len(needs) else 0
                need += pack("<IHHII", 0, 0, number, self._string(version), following)
            tags += [(0x6FFFFFFE, meta.add(need, 4)), (0x6FFFFFFF, 1)]
        definitions = [(version, n) for (undefined, version), n in numbers.items() if not undefined]
        if definitions:
            entries = b""
            for position, (version, number) in enumerate(definitions):
                following = 28 if position + 1 < len(definitions) else 0
                entries += pack("<HHHHIII", 1, 0, number, 1, 0, 20, following)
                entries += pack("<II", self._string(version), 0)
            tags += [(0x6FFFFFFC, meta.add(entries, 4)), (0x6FFFFFFD, len(definitions))]
        return tags

    def _relocation(self, entry: Relocation) -> bytes:
        symbol = self._index[entry.symbol] if entry.symbol else 0
        return pack("<QQq", entry.place, symbol << 32 | entry.type, entry.addend)


class _Area:
    """Bytes with an address, filled from its start."""

    def __init__(self, start: int) -> None:
        self._data = bytearray(start)

    @property
    def end(self) -> int:
        return len(self._data)

    def add(self, data: bytes, alignment: int) -> int:
        self._data += bytes(-len(self._data) % alignment)
        address = len(self._data)
        self._data += data
        return address

    def bytes(self) -> bytes:
        return bytes(self._data)


def _program_header(
    kind: int, flags: int, offset: int, address: int, file_size: int, size: int, alignment: int
) -> bytes:
    return pack("<IIQQQQQQ", kind, flags, offset, address, address, file_size, size, alignment)


def load_word(at: int, target: int) -> bytes:
    """``mov rax, [rip + …]; ret`` for address ``at``: return the word at ``target``."""
    return bytes.fromhex("48 8b 05") + pack("<i", target - at - 7) + b"\xc3"


def jump_through(at: int, target: int) -> bytes:
    """``jmp [rip + …]`` for address ``at``: call on through the word at ``target``."""
    return bytes.fromhex("ff 25") + pack("<i", target - at - 6)


def lay_out(*functions: tuple[int, bytes]) -> bytes:
    """Put pieces of code at their addresses from CODE on, with int3 between them."""
    code = bytearray()
    for address, piece in functions:
        code += b"\xcc" * (address - CODE - len(code)) + piece
    return bytes(code)
