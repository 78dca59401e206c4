"""The image that the suites of symbolication and unwinding load, and what is in it.

``guest/guest.so`` is built from the sources beside it by ``guest/build.sh``; no compiler is needed
to run the suites. What is known of it here comes from pyelftools and from its sources' text.
"""

from __future__ import annotations

from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.image import Image
    from theseus_kit.platform import Platform

GUEST = Path(__file__).with_name("guest")


class Entry(NamedTuple):
    """A symbol as the file has it: the offset from the load bias, and the size in bytes."""

    offset: int
    size: int


class GuestImage:
    """The image on a platform."""

    path = GUEST / "guest.so"

    def __init__(self, platform: Platform) -> None:
        self.image: Image = platform.load(self.path)

    @cached_property
    def _file(self) -> Any:
        from elftools.elf.elffile import ELFFile

        return ELFFile(BytesIO(self.path.read_bytes()))

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        symbols = self._file.get_section_by_name(".symtab").iter_symbols()
        return {symbol.name: Entry(symbol["st_value"], symbol["st_size"]) for symbol in symbols}

    @cached_property
    def text(self) -> Entry:
        """The section .text: where it starts in the file's own addresses, and its size."""
        section = self._file.get_section_by_name(".text")
        return Entry(section["sh_addr"], section["sh_size"])

    def entry(self, name: str) -> Entry:
        return self._entries[name]

    def address(self, name: str) -> int:
        return self.image.base + self._entries[name].offset

    def range(self, name: str) -> range:
        """The addresses of a function."""
        start = self.address(name)
        return range(start, start + self._entries[name].size)


def line_of(remark: str, source: str = "names.c") -> int:
    """The number of the source line that bears a remark."""
    lines = (GUEST / source).read_text(encoding="utf-8").splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if f"/* {remark} */" in line]
    return number
