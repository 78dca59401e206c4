"""ELF files of code that appeared at run time, found in guest memory.

Two kinds, neither of which needs a hook at the moment the code appears:

- Wasmtime keeps a compiled module as it was serialised, a whole ELF file, and runs the code where
  it stands in it. Going back from an address to the file's first page finds its symbol table, and
  DWARF if the module was compiled with debug_info.
- A JIT that speaks GDB's interface keeps a list of ELF files, which begins in a variable of a known
  name in the image that the JIT is part of.

::

    __jit_debug_descriptor          entry                     entry
    ┌─────────┬────────┬───────┐    ┌──────┬──────┬──────┬──────┐
    │ version │ latest │ first ├──► │ next │ prev │ file │ size │ ──► …
    └─────────┴────────┴───────┘    └──────┴──────┴──────┴──────┘

Everything here is guest memory that the guest may have broken: whatever makes no sense is left out.
Sources: "JIT Compilation Interface" in GDB's manual; wasmtime's crates/wasmtime/src/runtime/
code_memory.rs and native_debug.rs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct, error
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, Protection, page_floor
from theseus_kit.values.record import NamedTuple
from theseus_kit_backtrace.elf_sections import (
    HEADER_SIZE,
    MAGIC,
    JitSection,
    name_section,
    read_sections,
    read_table,
)

if TYPE_CHECKING:
    from theseus_kit.plugin import Services
    from theseus_kit.values.memory import Region

_FARTHEST = 1 << 28
"""Bytes of code between an address and the start of its file."""
_LARGEST = 1 << 28
_MOST_ENTRIES = 1 << 16
_DESCRIPTOR = Struct("<IIQQ")
_ENTRY = Struct("<QQQQ")
_TEXT, _STRINGS, _WASM_MARK = ".text", ".strtab", ".wasmtime.info"


class JitImage(NamedTuple):
    """One file: where it lies in guest memory and where its code is."""

    start: int
    size: int
    header: bytes
    text: AddressRange
    text_address: int
    """Of the text, as the file's own tables count."""
    sections: tuple[JitSection, ...]
    is_wasm: bool


class JitImages:
    """The files of one platform's memory."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._memory = services.machine.memory
        self._known: list[JitImage] = []
        self._without: dict[int, Region] = {}
        """By page of code, the region it was in when no file was found."""

    def is_wasm(self, address: int) -> bool:
        image = self.at(address)
        return image is not None and image.is_wasm

    def at(self, address: int) -> JitImage | None:
        """The file whose code holds an address."""
        for image in self._known:
            if address in image.text:
                if self._is_still_there(image):
                    return image
                self._known.remove(image)
                break
        try:
            region: Region = self._services.hooks.memory_query(address=address)
        except PlatformError:
            return None
        if not region.protection & Protection.EXECUTE:
            return None
        if self._without.get(page_floor(address)) == region:
            return None
        found = self._search(address, region)
        if found is None:
            self._without[page_floor(address)] = region
        else:
            self._known.append(found)
        return found

    def contents(self, image: JitImage) -> bytes:
        """The file's bytes. Raises PlatformError where it is gone."""
        return self._memory.read(image.start, image.size)

    def names(self, image: JitImage) -> bytes:
        """The names of its symbols, by which to tell one file from another at the same place."""
        strings = next((s for s in image.sections if s.name == _STRINGS), None)
        if strings is None:
            return b""
        return self._memory.read(image.start + strings.offset, strings.size)

    def registered_at(self, address: int, descriptors: Iterable[int]) -> JitImage | None:
        """The file on a list of GDB's interface whose code holds an address."""
        for descriptor in descriptors:
            for start in self._entries(descriptor):
                image = self._read(start)
                if image is not None:
                    text = AddressRange.of_size(image.text_address, image.text.size)
                    if address in text:
                        return image._replace(text=text)
        return None

    def _entries(self, descriptor: int) -> Iterator[int]:
        try:
            version, _, _, entry = _DESCRIPTOR.unpack(
                self._memory.read(descriptor, _DESCRIPTOR.size)
            )
            for _ in range(_MOST_ENTRIES if version == 1 else 0):
                if not entry:
                    return
                entry, _, file, _ = _ENTRY.unpack(self._memory.read(entry, _ENTRY.size))
                yield file
        except PlatformError:
            return

    def _is_still_there(self, image: JitImage) -> bool:
        try:
            return self._memory.read(image.start, HEADER_SIZE) == image.header
        except PlatformError:
            return False

    def _search(self, address: int, region: Region) -> JitImage | None:
        """Go back page by page, over what is mapped, to a file whose code holds the address."""
        page, lowest = page_floor(address), max(0, address - _FARTHEST)
        view, query = self._memory.view, self._services.hooks.memory_query
        start = region.base
        while page >= lowest:
            if page < start:
                try:
                    before: Region = query(address=page)
                except PlatformError:
                    return None
                start = before.base
                if not before.protection & Protection.READ:
                    return None
            if view[page : page + len(MAGIC)] == MAGIC:
                image = self._read(page)
                if image is not None and address in image.text:
                    return image
            page -= PAGE_SIZE
        return None

    def _read(self, start: int) -> JitImage | None:
        try:
            header = self._memory.read(start, HEADER_SIZE)
            table = read_table(header)
            if table is None:
                return None
            headers = self._memory.read(start + table.offset, table.size)
            offset, size = name_section(headers, table)
            names = self._memory.read(start + offset, size)
            sections = read_sections(headers, names)
        except (PlatformError, error):
            return None
        text = next((section for section in sections if section.name == _TEXT), None)
        end = max((s.offset + s.size for s in sections), default=0)
        if text is None or end > _LARGEST:
            return None
        return JitImage(
            start,
            max(end, table.offset + table.size),
            header,
            AddressRange.of_size(start + text.offset, text.size),
            text.address,
            tuple(sections),
            any(section.name == _WASM_MARK for section in sections),
        )
