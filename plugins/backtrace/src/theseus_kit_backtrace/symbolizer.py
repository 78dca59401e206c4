"""From addresses to names and back, over the loaded images and run-time code.

Nothing is read before the first question about an image; then its symbol table stays until the
image goes. Source positions and inlined functions are ``source_positions.py``'s. Demangling is the
``demangle`` package's, imported at the first mangled name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from theseus_kit.errors import (
    AlreadyRegisteredError,
    ImageError,
    NotRegisteredError,
    PlatformError,
)
from theseus_kit.values.record import NamedTuple
from theseus_kit.values.symbols import RuntimeCode, Symbol
from theseus_kit_backtrace.code_file import CodeFile, with_positions
from theseus_kit_backtrace.names import demangled
from theseus_kit_backtrace.source_positions import SourcePositions
from theseus_kit_backtrace.symbol_table import (
    SHF_ALLOC,
    SHT_DYNSYM,
    SYMBOL_SIZE,
    ElfSymbols,
    SectionHeader,
)

if TYPE_CHECKING:
    from theseus_kit.image import Image
    from theseus_kit.plugin import Services
    from theseus_kit_backtrace.jit_images import JitImages

_DT_STRTAB, _DT_SYMTAB, _DT_STRSZ = 5, 6, 10

_text_start = attrgetter("text.start")


_GDB_DESCRIPTOR = "__jit_debug_descriptor"
_SHT_STRTAB = 3
_MOST_ANSWERS = 1 << 12


class Symbolizer:
    """The symbols of one platform."""

    def __init__(
        self, services: Services, jit_images: JitImages, has_positions: bool = True
    ) -> None:
        """``has_positions``: read debug information too, for source positions and inlining."""
        self._namespace = services.namespace
        self._machine = services.machine
        self._jit_images = jit_images
        self._has_positions = has_positions
        self._tables: dict[Image, ElfSymbols] = {}
        self._positions: dict[Image, SourcePositions] = {}
        self._gdb_lists: dict[Image, int | None] = {}
        """By image, the address of the list of GDB's interface that is in it."""
        self._answers: dict[int, Sequence[Symbol]] = {}
        """What was found for addresses in images, because stacks repeat themselves."""
        self._runtime_code: list[RuntimeCode] = []
        self._code_files: dict[int, CodeFile] = {}
        """By the start of its text, the ELF file of run-time code."""
        self._jit_files: dict[int, _JitFile] = {}
        """By the start of its text, a file found in guest memory."""

    def lookup(self, name: str) -> Symbol | None:
        """The symbol of a name: the images' in load order, then those of run-time code."""
        for image in self._namespace.images:
            found = self._table(image).named(name)
            if found is not None:
                address = image.base + found.address
                return Symbol(
                    address, 0, found.size, name, demangled(name), image.name, found.section or None
                )
        for code in self._runtime_code:
            for symbol in code.symbols:
                if symbol.name == name:
                    return symbol
        return None

    def symbolicate(self, address: int) -> Sequence[Symbol]:
        """The symbols that hold an address, innermost inlined function first.

        A section without a name where no symbol does; empty outside of everything known.
        """
        image = self._namespace.image_at(address)
        if image is None:
            return self._in_runtime_code(address)
        answer = self._answers.get(address)
        if answer is None:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            answer = self._answers[address] = self._in_image(image, address)
        return answer

    def _in_image(self, image: Image, address: int) -> Sequence[Symbol]:
        found = self._table(image).at(address - image.base)
        if found is None:
            return ()
        start = image.base + found.address
        name = found.name or None
        symbol = Symbol(
            start,
            address - start,
            found.size,
            name,
            demangled(name),
            image.name,
            found.section or None,
        )
        if not self._has_positions:
            return (symbol,)
        positions = self._positions.get(image)
        if positions is None:
            names = [section.name for section in _section_headers(image)]
            positions = self._positions[image] = SourcePositions(image.file, names)
        return with_positions(symbol, positions.at(address - image.base), image.base)

    def register(self, code: RuntimeCode) -> None:
        """Learn run-time code. Raises AlreadyRegisteredError if any of its text is known."""
        index = bisect_right(self._runtime_code, code.text.start, key=_text_start)
        for neighbour in self._runtime_code[max(0, index - 1) : index + 1]:
            if neighbour.text.overlaps(code.text):
                raise AlreadyRegisteredError(
                    f"{code.label}: {code.text} overlaps {neighbour.label} at {neighbour.text}"
                )
        self._runtime_code.insert(index, code)

    def unregister(self, text_start: int) -> None:
        """Forget run-time code. Raises NotRegisteredError."""
        index = bisect_right(self._runtime_code, text_start, key=_text_start) - 1
        if index < 0 or self._runtime_code[index].text.start != text_start:
            raise NotRegisteredError(f"no run-time code is registered at {text_start:#x}")
        del self._runtime_code[index]
        self._code_files.pop(text_start, None)

    def forget(self, image: Image) -> None:
        """Drop the tables of an image that goes."""
        self._tables.pop(image, None)
        self._positions.pop(image, None)
        self._gdb_lists.pop(image, None)
        self._answers.clear()

    def _table(self, image: Image) -> ElfSymbols:
        table = self._tables.get(image)
        if table is None:
            table = self._tables[image] = ElfSymbols(image.file, _section_headers(image))
        return table

    def _in_runtime_code(self, address: int) -> Sequence[Symbol]:
        index = bisect_right(self._runtime_code, address, key=_text_start) - 1
        if index < 0 or address not in self._runtime_code[index].text:
            return self._in_jit_image(address)
        code = self._runtime_code[index]
        for symbol in code.symbols:
            if symbol.address <= address < symbol.address + (symbol.size or 0):
                return (_at(symbol, address),)
        if code.elf is not None:
            file = self._code_files.get(code.text.start)
            if file is None:
                file = CodeFile.read(code.elf, code.text, self._has_positions)
                self._code_files[code.text.start] = file
            answer = file.symbolicate(address, code.label)
            if answer:
                return answer
        return (Symbol(code.text.start, address - code.text.start, code.text.size, code.label),)

    def _in_jit_image(self, address: int) -> Sequence[Symbol]:
        if self._machine.is_own_code(address):
            return ()
        image = self._jit_images.at(address)
        if image is None:
            image = self._jit_images.registered_at(address, self._descriptors())
            if image is None:
                return ()
        try:
            # Another module may have come to lie where one was: its header and names tell.
            fingerprint = (image.header, self._jit_images.names(image))
            known = self._jit_files.get(image.text.start)
            if known is None or known[0] != fingerprint:
                contents = self._jit_images.contents(image)
                known = (fingerprint, CodeFile.read(contents, image.text, self._has_positions), {})
                self._jit_files[image.text.start] = known
        except PlatformError:
            return ()
        _, file, answers = known
        answer = answers.get(address)
        if answer is None:
            answer = answers[address] = file.symbolicate(address, None)
        return answer

    def _descriptors(self) -> Iterator[int]:
        for image in self._namespace.images:
            if image not in self._gdb_lists:
                self._gdb_lists[image] = self._find_descriptor(image)
            address = self._gdb_lists[image]
            if address is not None:
                yield address

    def _find_descriptor(self, image: Image) -> int | None:
        # Most images have none, which their names tell faster than a table made of them.
        wanted, contents = f"\0{_GDB_DESCRIPTOR}\0".encode(), image.file
        if not any(
            contents.find(wanted, section.offset, section.offset + section.size) >= 0
            for section in _section_headers(image)
            if section.type == _SHT_STRTAB
        ):
            return None
        found = self._table(image).named(_GDB_DESCRIPTOR)
        return None if found is None else image.base + found.address


_JitFile: TypeAlias = "tuple[tuple[bytes, bytes], CodeFile, dict[int, Sequence[Symbol]]]"
"""What it is known by, the file, and what was answered from it."""


class _SegmentHeader(NamedTuple):
    """A section header made of what the program headers and the dynamic section say."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int = 0


def _section_headers(image: Image) -> Sequence[SectionHeader]:
    """The file's section headers; made up where it was stripped of them, or they are broken.

    An image runs without section headers: what it needs is in its segments, and its dynamic
    symbols are found from there.
    """
    try:
        sections = image.sections()
    except ImageError:
        sections = ()
    if sections:
        return sections
    headers = [
        _SegmentHeader("", 0, SHF_ALLOC, segment.address, segment.offset, segment.memory_size)
        for segment in image.segments
    ]
    dynamic = image.dynamic
    symbols = _file_offset(image, dynamic.get(_DT_SYMTAB))
    strings = _file_offset(image, dynamic.get(_DT_STRTAB))
    if symbols is not None and strings is not None:
        size = image.table.hashed_count * SYMBOL_SIZE
        link = len(headers) + 1
        headers.append(_SegmentHeader("", SHT_DYNSYM, 0, 0, symbols, size, link))
        headers.append(_SegmentHeader("", 0, 0, 0, strings, dynamic.get(_DT_STRSZ)))
    return headers


def _file_offset(image: Image, address: int) -> int | None:
    """Where the file has the byte at one of the image's own addresses."""
    segment = image.segment_at(image.base + address)
    return None if segment is None else segment.offset + address - segment.address


def _at(symbol: Symbol, address: int) -> Symbol:
    """The symbol as it answers a question about an address inside it."""
    return symbol._replace(
        offset=address - symbol.address, demangled=symbol.demangled or demangled(symbol.name)
    )
