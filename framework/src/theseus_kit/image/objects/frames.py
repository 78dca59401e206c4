"""The unwind tables of an image being linked: one .eh_frame of all objects', and its search table.

An object has no search table, and unwinders look into nothing else; so one is made, as linkers do.
What describes code that was left out covers nothing and is not in it. The stubs of the PLT get a
description too: a stack can be walked from inside one.

Source: LSB Core 5.0, 10.6 (.eh_frame and .eh_frame_hdr).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

from theseus_kit.image.objects.layout import LARGEST_IMAGE
from theseus_kit.image.objects.object_file import InputSection, ObjectRelocation, read_word
from theseus_kit.image.objects.relocation_types import size_of
from theseus_kit.image.objects.resolution import Resolution

_LONG = 0xFFFFFFFF
_PC_BEGIN = 8
"""Bytes from an FDE's start to where its code's address is."""
_PLT_COMMON = pack("<IIB", 20, 0, 1) + b"zR\0\x01\x78\x10\x01\x1b\x0c\x07\x08\x90\x01\0\0"
"""A CIE: return address in column 16, pointers relative and of 32 bits, CFA = rsp + 8, the return
address below it."""


class FrameTables:
    """The .eh_frame sections of the objects, from the first address they are to lie at on."""

    def __init__(self, sections: list[InputSection], resolution: Resolution) -> None:
        self.sections = sections
        self._resolution = resolution
        self._entries: list[tuple[InputSection, int, ObjectRelocation]] = []
        """Each FDE that covers code: its section, its offset there, its first relocation."""
        for section in sections:
            self._read(section)

    def place(self, address: int) -> None:
        """Let the sections lie side by side, for a gap would end the table."""
        self._start = address
        for section in self.sections:
            section.address = address
            address += section.size

    def write(
        self, apply: Callable[[InputSection], bytearray], plt: InputSection
    ) -> tuple[bytes, bytes, int]:
        """Return .eh_frame, its search table, and where that is to lie.

        ``apply`` relocates a section.
        """
        header_address = self._start + (self.size + 7 & -8)
        table = bytearray(b"".join(bytes(apply(section)) for section in self.sections))
        found = []
        for section, offset, relocation in self._entries:
            target = self._resolution.of(section, relocation.symbol)
            code = target.address + relocation.addend
            if 0 <= code < LARGEST_IMAGE:
                found.append((code, section.address + offset))
        if plt.size:
            entry = self._start + len(table) + len(_PLT_COMMON)
            table += _PLT_COMMON + pack(
                "<IIiIIB3x",
                20,
                len(_PLT_COMMON) + 4,
                plt.address - entry - _PC_BEGIN,
                plt.size,
                0,
                0,
            )
            found.append((plt.address, entry))
        table += bytes(4)
        found.sort()
        header = pack("<4Bii", 1, 0x1B, 0x03, 0x3B, self._start - header_address - 4, len(found))
        header += b"".join(
            pack("<ii", code - header_address, entry - header_address) for code, entry in found
        )
        return bytes(table), header, header_address

    @property
    def size(self) -> int:
        """Bytes of .eh_frame at most: with the PLT's description and the end."""
        return sum(section.size for section in self.sections) + len(_PLT_COMMON) + 24 + 4

    def _read(self, section: InputSection) -> None:
        """Find a section's FDEs; cut it where it ends itself."""
        contents = bytearray(section.contents())
        relocations = {relocation.offset: relocation for relocation in section.relocations}
        offset = 0
        while offset < len(contents):
            if offset + 4 > len(contents):
                section.fail(f"is cut off at {offset:#x}")
            length = read_word(contents, offset)
            if length == 0:
                break
            if length == _LONG or length < 4 or offset + 4 + length > len(contents):
                section.fail(f"has an entry of {length:#x} bytes at {offset:#x}")
            if read_word(contents, offset + 4):
                self._read_description(section, contents, offset, relocations)
            offset += 4 + length
        section.data = contents[:offset]
        section.header = section.header._replace(size=offset)
        section.relocations = [r for r in section.relocations if r.offset < offset]

    def _read_description(
        self,
        section: InputSection,
        contents: bytearray,
        offset: int,
        relocations: dict[int, ObjectRelocation],
    ) -> None:
        relocation = relocations.get(offset + _PC_BEGIN)
        if relocation is None:
            return
        target = self._resolution.of(section, relocation.symbol)
        if target.is_fixed:
            self._entries.append((section, offset, relocation))
            return
        # The length of the code it covers stands behind the address, in as many bytes.
        size = size_of(relocation.type) or 0
        start = offset + _PC_BEGIN + size
        end = offset + 4 + read_word(contents, offset)
        contents[start : min(start + size, end)] = bytes(max(0, min(start + size, end) - start))
