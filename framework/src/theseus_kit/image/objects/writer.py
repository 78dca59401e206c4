"""Writes the image being linked as the file of a shared object.

Besides what the loader needs it has what tools look for: a header for every section of the objects
under its own name, the whole symbol table, debug information, and the objects' relocations at
their new places (as ``ld --emit-relocs`` keeps them), from which it can be told what depends on
what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct, pack

from theseus_kit.errors import ImageError
from theseus_kit.image.dynamic import (
    DT_FINI,
    DT_FINI_ARRAY,
    DT_FINI_ARRAYSZ,
    DT_FLAGS,
    DT_HASH,
    DT_INIT_ARRAY,
    DT_INIT_ARRAYSZ,
    DT_RELA,
    DT_RELAENT,
    DT_RELASZ,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMENT,
    DT_SYMTAB,
)
from theseus_kit.image.elf import PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_LOAD, PT_TLS
from theseus_kit.image.elf_header import (
    ET_DYN,
    SHF_ALLOC,
    SHT_DYNSYM,
    SHT_NOTE,
    SHT_PROGBITS,
    SHT_RELA,
    SHT_STRTAB,
    SHT_SYMTAB,
    Section,
)
from theseus_kit.image.objects.frames import FrameTables
from theseus_kit.image.objects.layout import Layout
from theseus_kit.image.objects.object_file import InputSection, ObjectFile
from theseus_kit.image.objects.resolution import Resolution, Target
from theseus_kit.image.objects.slots import STUB_SIZE
from theseus_kit.image.objects.tables import DynamicTables
from theseus_kit.image.symbols import SHN_ABS, STB_LOCAL, STT_FUNC
from theseus_kit.values.memory import Protection

DYNAMIC_SIZE = 16 * 16
_DF_TEXTREL, _DF_STATIC_TLS = 4, 16
_SHT_HASH = 5
_MOST_SECTIONS = 0xFF00
_SECTION_HEADER = Struct("<IIQQQQIIQQ")
_TOOLS_TYPES = frozenset({SHT_PROGBITS, SHT_NOTE, 0x70000001})
_STT_SECTION = 3


class Writer:
    """Collects the pieces of one file, each at its offset."""

    def __init__(
        self,
        files: Sequence[ObjectFile],
        resolution: Resolution,
        layout: Layout,
        tables: DynamicTables,
    ) -> None:
        self._files = files
        self._resolution = resolution
        self._layout = layout
        self._tables = tables
        self._pieces: list[tuple[int, bytes]] = []
        self._headers = [Section("", 0, 0, 0, 0, 0, 0, 0, 0, 0)]
        self._program_headers: list[tuple[int, int, int, int, int, int, int]] = []
        self._end = 0
        self._relocated: list[InputSection] = []
        self._unloaded = self._merge_unloaded()

    def put(self, section: InputSection, contents: bytes | bytearray) -> None:
        """Put a loaded section at its address."""
        if section.size:
            self._pieces.append((self._layout.offset_of(section.address), bytes(contents)))

    def declare(self, section: InputSection) -> None:
        """Give a loaded section its header, and its symbols a section number."""
        header = section.header
        address = section.address
        section.output = self._add_header(
            header._replace(
                address=address,
                offset=self._layout.offset_of(address),
                link=0,
                info=0,
                flags=header.flags & 0x407,
            )
        )
        if section.relocations:
            self._relocated.append(section)

    def put_tables(
        self,
        dynamic: InputSection,
        frames: FrameTables,
        unwind: tuple[bytes, bytes, int],
        thread_local_start: int,
        uses_static_thread_local: bool,
        finaliser: int | None,
    ) -> None:
        """Put the last segment: .eh_frame, its search table, the dynamic tables."""
        layout = self._layout
        eh_frame, search_table, header_address = unwind
        start = layout.tables_address
        data = bytearray(eh_frame)
        self._declare_table(".eh_frame", SHT_PROGBITS, start, len(eh_frame))
        for section in frames.sections:
            section.output = len(self._headers) - 1
        data += bytes(header_address - start - len(data)) + search_table
        self._declare_table(".eh_frame_hdr", SHT_PROGBITS, header_address, len(search_table))
        self._program_header(PT_GNU_EH_FRAME, 4, header_address, len(search_table), 4)
        symbols, strings = self._tables.symbols(thread_local_start)
        values: list[tuple[int, int]] = []
        flags = self._flags(uses_static_thread_local)
        number = len(self._headers)
        self._headers[dynamic.output] = self._headers[dynamic.output]._replace(link=number + 1)
        for name, kind, contents, tag, link in (
            (".dynsym", SHT_DYNSYM, symbols, DT_SYMTAB, number + 1),
            (".dynstr", SHT_STRTAB, strings, DT_STRTAB, 0),
            (".hash", _SHT_HASH, self._tables.hash_table(), DT_HASH, number),
            (".rela.dyn", SHT_RELA, self._tables.relocations(), DT_RELA, number),
        ):
            data += bytes(-len(data) % 8)
            address = start + len(data)
            data += contents
            self._declare_table(name, kind, address, len(contents), link)
            values.append((tag, address))
            if tag == DT_STRTAB:
                values.append((DT_STRSZ, len(contents)))
            elif tag == DT_RELA:
                values += [(DT_RELASZ, len(contents)), (DT_RELAENT, 24)]
        values.append((DT_SYMENT, 24))
        for functions, tag, size_tag in (
            (layout.constructors, DT_INIT_ARRAY, DT_INIT_ARRAYSZ),
            (layout.finalisers, DT_FINI_ARRAY, DT_FINI_ARRAYSZ),
        ):
            if functions.size:
                values += [(tag, functions.start), (size_tag, functions.size)]
        if finaliser is not None:
            values.append((DT_FINI, finaliser))
        if flags:
            values.append((DT_FLAGS, flags))
        table = b"".join(pack("<QQ", *value) for value in values)
        self.put(dynamic, table.ljust(DYNAMIC_SIZE, b"\0"))
        self._program_header(PT_DYNAMIC, 6, dynamic.address, DYNAMIC_SIZE, 8)
        self._program_header(PT_GNU_RELRO, 4, layout.relro.start, layout.relro.size, 1)
        if layout.thread_local is not None:
            address, file_size, size, alignment = layout.thread_local
            offset = layout.offset_of(address)
            self._program_headers.append((PT_TLS, 4, offset, address, file_size, size, alignment))
        self._pieces.append((layout.tables_offset, bytes(data)))
        layout.add_tables(len(data))
        last = layout.segments[-1]
        self._end = last.offset + last.file_size

    def put_unloaded(self, apply: Callable[[InputSection], bytearray]) -> None:
        """Put the sections that are not loaded, those of one name together."""
        for name, sections in self._unloaded.items():
            data = bytearray()
            for section in sections:
                data += bytes(section.address - len(data)) + apply(section)
            number = sections[0].output
            offset = self._append(bytes(data), 1)
            self._headers[number] = Section(
                name, sections[0].header.type, 0, 0, offset, len(data), 0, 0, 1, 0
            )

    def put_symbols(self, stubs: Sequence[tuple[Target, int]], plt: int) -> None:
        """Put the whole symbol table, with the stubs of the PLT, and the kept relocations."""
        numbers: dict[Target, int] = {}
        local: list[Target] = []
        shared: list[Target] = []
        for file in self._files:
            for symbol, target in zip(file.symbols, self._resolution.symbols[file], strict=True):
                if symbol.number == 0 or target in numbers or target.is_lost:
                    continue
                numbers[target] = 0
                (local if target.binding == STB_LOCAL else shared).append(target)
        strings = bytearray(b"\0")
        table = bytearray(24)
        for target in local:
            numbers[target] = len(table) // 24
            table += self._symbol(target, strings)
        for target, address in stubs:
            if target.name:
                name = len(strings)
                strings += target.name.encode("utf-8", "surrogateescape") + b"@plt\0"
                table += pack("<IBBHQQ", name, STT_FUNC, 0, plt, address, STUB_SIZE)
        first_shared = len(table) // 24
        for target in shared:
            numbers[target] = len(table) // 24
            table += self._symbol(target, strings)
        number = self._add_header(
            Section(
                ".symtab",
                SHT_SYMTAB,
                0,
                0,
                self._append(bytes(table), 8),
                len(table),
                len(self._headers) + 1,
                first_shared,
                8,
                24,
            )
        )
        self._add_header(
            Section(
                ".strtab",
                SHT_STRTAB,
                0,
                0,
                self._append(bytes(strings), 1),
                len(strings),
                *(0, 0, 1, 0),
            )
        )
        for section in self._relocated:
            self._keep_relocations(section, number, numbers)

    def finish(self) -> list[tuple[int, bytes]]:
        """The pieces of the whole file."""
        names = bytearray(b"\0")
        starts = {"": 0}
        number = self._add_header(Section(".shstrtab", SHT_STRTAB, 0, 0, 0, 0, 0, 0, 1, 0))
        if number >= _MOST_SECTIONS:
            raise ImageError(
                f"{self._files[0].path}: has too many sections to be linked; compile it with fewer "
                "functions, or without -ffunction-sections"
            )
        for header in self._headers:
            if header.name not in starts:
                starts[header.name] = len(names)
                names += header.name.encode("utf-8", "surrogateescape") + b"\0"
        offset = self._append(bytes(names), 1)
        self._headers[number] = self._headers[number]._replace(offset=offset, size=len(names))
        table = b"".join(_SECTION_HEADER.pack(starts[h.name], *h[1:]) for h in self._headers)
        at = self._append(table, 8)
        self._pieces.append((0, self._file_header(at)))
        return self._pieces

    def _file_header(self, section_headers: int) -> bytes:
        headers = b"".join(
            pack("<IIQQQQQQ", kind, flags, offset, address, address, file_size, size, alignment)
            for kind, flags, offset, address, file_size, size, alignment in (
                *(
                    (
                        *(PT_LOAD, _flags_of(s.protection), s.offset, s.address),
                        *(s.file_size, s.memory_size, s.alignment),
                    )
                    for s in self._layout.segments
                ),
                *self._program_headers,
            )
        )
        count = len(headers) // 56
        return (
            b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
            + pack(
                "<HHIQQQIHHHHHH",
                *(ET_DYN, 62, 1, 0, 64, section_headers, 0, 64, 56, count, 64),
                *(len(self._headers), len(self._headers) - 1),
            )
            + headers
        )

    def _flags(self, uses_static_thread_local: bool) -> int:
        read_only = [
            segment
            for segment in self._layout.segments
            if not segment.protection & Protection.WRITE
        ]
        flags = _DF_STATIC_TLS if uses_static_thread_local else 0
        for place in self._tables.places:
            if any(s.address <= place < s.address + s.memory_size for s in read_only) or (
                place >= self._layout.tables_address
            ):
                return flags | _DF_TEXTREL
        return flags

    def _symbol(self, target: Target, strings: bytearray) -> bytes:
        section, value, name = 0, 0, 0
        if target.is_absolute:
            section, value = SHN_ABS, target.value
        elif target.is_in_file and target.section is not None:
            section, value = target.section.output, target.address
            if (
                target.is_fixed
                and target.is_thread_local
                and target.type != _STT_SECTION
                and self._layout.thread_local
            ):
                value -= self._layout.thread_local[0]
        if target.name:
            name = len(strings)
            strings += target.name.encode("utf-8", "surrogateescape") + b"\0"
        info = target.binding << 4 | target.type
        return pack("<IBBHQQ", name, info, target.visibility, section, value, target.size)

    def _keep_relocations(
        self, section: InputSection, symbol_table: int, numbers: dict[Target, int]
    ) -> None:
        entries = b"".join(
            pack(
                "<QQq",
                section.address + relocation.offset,
                numbers.get(self._resolution.of(section, relocation.symbol), 0) << 32
                | relocation.type,
                relocation.addend,
            )
            for relocation in section.relocations
        )
        offset = self._append(entries, 8)
        self._add_header(
            Section(
                f".rela{section.name}",
                SHT_RELA,
                0,
                0,
                offset,
                len(entries),
                symbol_table,
                section.output,
                8,
                24,
            )
        )

    def _merge_unloaded(self) -> dict[str, list[InputSection]]:
        """By name, the sections that are not loaded but that tools read."""
        merged: dict[str, list[InputSection]] = {}
        for file in self._files:
            for section in file.sections:
                header = section.header
                if (
                    header.flags & SHF_ALLOC
                    or section.is_discarded
                    or header.type not in _TOOLS_TYPES
                    or not header.size
                ):
                    continue
                merged.setdefault(header.name, []).append(section)
        for name, sections in merged.items():
            number = self._add_header(Section(name, 0, 0, 0, 0, 0, 0, 0, 1, 0))
            end = 0
            for section in sections:
                section.data = section.contents()
                section.address = -(-end // section.alignment) * section.alignment
                section.output = number
                end = section.address + len(section.data)
        return merged

    def _declare_table(self, name: str, kind: int, address: int, size: int, link: int = 0) -> None:
        entry_size = 24 if kind in (SHT_DYNSYM, SHT_RELA) else 0
        info = 2 if kind == SHT_DYNSYM else 0
        offset = self._layout.offset_of(address)
        self._add_header(
            Section(name, kind, SHF_ALLOC, address, offset, size, link, info, 8, entry_size)
        )

    def _program_header(self, kind: int, flags: int, address: int, size: int, align: int) -> None:
        offset = self._layout.offset_of(address)
        self._program_headers.append((kind, flags, offset, address, size, size, align))

    def _add_header(self, header: Section) -> int:
        self._headers.append(header)
        return len(self._headers) - 1

    def _append(self, data: bytes, alignment: int) -> int:
        self._end = -(-self._end // alignment) * alignment
        offset = self._end
        if data:
            self._pieces.append((offset, data))
        self._end += len(data)
        return offset


def _flags_of(protection: Protection) -> int:
    """A program header's flags: x is 1, w is 2, r is 4, in the order contrary to Protection's."""
    return (
        (4 if protection & Protection.READ else 0)
        | (2 if protection & Protection.WRITE else 0)
        | (1 if protection & Protection.EXECUTE else 0)
    )
