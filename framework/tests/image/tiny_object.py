"""A relocatable object written in pure Python, section by section.

What compilers write is in ``test_compiled_objects``; this writes what they would not, or only some
of them, or only on a machine that has one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from struct import pack

ALLOC, WRITE, EXECUTE, THREAD_LOCAL = 2, 1, 4, 0x400
PROGBITS, NOBITS, GROUP, INIT_ARRAY = 1, 8, 17, 14
LOCAL, GLOBAL, WEAK = 0, 1, 2
NOTYPE, OBJECT, FUNCTION, SECTION, TLS = 0, 1, 2, 3, 6
HIDDEN = 2
ABSOLUTE, COMMON = "absolute", "common"


@dataclass
class Relocation:
    """A relocation in the section that holds it; ``symbol`` is a name, or a section's."""

    offset: int
    type: int
    symbol: str = ""
    addend: int = 0


@dataclass
class Section:
    """A section; ``size`` is for NOBITS."""

    name: str
    data: bytes = b""
    flags: int = ALLOC
    relocations: list[Relocation] = field(default_factory=list)
    type: int = PROGBITS
    size: int = 0
    alignment: int = 8


@dataclass
class Symbol:
    """A symbol in a section by its name; undefined without one."""

    name: str
    section: str = ""
    value: int = 0
    type: int = FUNCTION
    binding: int = GLOBAL
    visibility: int = 0
    size: int = 8


@dataclass
class TinyObject:
    """What an object is to contain; each section has a section symbol of its name."""

    sections: list[Section] = field(default_factory=list)
    symbols: list[Symbol] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    """COMDAT groups: the sections of each, by the signature."""

    def write(self, path: Path) -> Path:
        path.write_bytes(self.build())
        return path

    def build(self) -> bytes:
        names = [section.name for section in self.sections]
        own = [Symbol(name, name, 0, SECTION, LOCAL, size=0) for name in names]
        ordered = sorted(own + self.symbols, key=lambda symbol: symbol.binding != LOCAL)
        numbers = {symbol.name: number for number, symbol in enumerate(ordered, 1)}
        strings = bytearray(b"\0")
        table = bytearray(24)
        for symbol in ordered:
            name = 0
            if symbol.type != SECTION:
                name = len(strings)
                strings += symbol.name.encode() + b"\0"
            index = {"": 0, ABSOLUTE: 0xFFF1, COMMON: 0xFFF2}.get(symbol.section)
            if index is None:
                index = names.index(symbol.section) + 1
            info = symbol.binding << 4 | symbol.type
            table += pack(
                "<IBBHQQ", name, info, symbol.visibility, index, symbol.value, symbol.size
            )
        body = bytearray(64)
        headers = [bytes(64)]
        section_names = bytearray(b"\0")

        def add(section: Section, link: int = 0, info: int = 0) -> None:
            name = len(section_names)
            section_names.extend(section.name.encode() + b"\0")
            body.extend(bytes(-len(body) % 8))
            offset = len(body)
            body.extend(section.data)
            size = section.size or len(section.data)
            headers.append(
                pack(
                    "<IIQQQQIIQQ",
                    *(name, section.type, section.flags, 0, offset, size, link, info),
                    *(section.alignment, 0),
                )
            )

        symbol_table = len(self.sections) + len(self.groups) + 1
        for section in self.sections:
            add(section)
        for signature, members in self.groups.items():
            words = [1, *(names.index(member) + 1 for member in members)]
            group = Section(".group", pack(f"<{len(words)}I", *words), 0, type=GROUP)
            add(group, symbol_table, numbers[signature])
        first_global = 1 + sum(symbol.binding == LOCAL for symbol in ordered)
        add(Section(".symtab", bytes(table), 0, type=2), symbol_table + 1, first_global)
        add(Section(".strtab", bytes(strings), 0, type=3))
        for number, section in enumerate(self.sections, 1):
            if section.relocations:
                entries = b"".join(
                    pack("<QQq", r.offset, numbers.get(r.symbol, 0) << 32 | r.type, r.addend)
                    for r in section.relocations
                )
                add(Section(".rela" + section.name, entries, 0, type=4), symbol_table, number)
        section_names.extend(b".shstrtab\0")
        add(Section(".shstrtab", bytes(section_names), 0, type=3))
        start = len(body) + -len(body) % 8
        body += bytes(start - len(body)) + b"".join(headers)
        body[:64] = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + pack(
            "<HHIQQQIHHHHHH",
            *(1, 62, 1, 0, 0, start, 0, 64, 0, 0, 64, len(headers), len(headers) - 1),
        )
        return bytes(body)


def code(data: str | bytes, *relocations: Relocation, name: str = ".text") -> Section:
    """A section of code."""
    contents = bytes.fromhex(data) if isinstance(data, str) else data
    return Section(name, contents, ALLOC | EXECUTE, list(relocations), alignment=16)


def words(name: str, *values: int, relocations: list[Relocation] | None = None) -> Section:
    """A section of writable words."""
    return Section(name, pack(f"<{len(values)}Q", *values), ALLOC | WRITE, relocations or [])


F = Symbol("f", ".text")


def load_from(symbol: str, kind: int = 2, addend: int = -4) -> Section:
    """``mov rax, [rip + …]; ret``: the word at a symbol."""
    return code("48 8b 05 00000000 c3", Relocation(3, kind, symbol, addend))


def address_of(symbol: str, kind: int = 2, addend: int = -4) -> Section:
    """``lea rax, [rip + …]; ret``: a symbol's address."""
    return code("48 8d 05 00000000 c3", Relocation(3, kind, symbol, addend))


def jump_to(symbol: str, kind: int = 4) -> Section:
    """``jmp …``"""
    return code("e9 00000000", Relocation(1, kind, symbol, -4))
