"""Source positions of an ELF file's code: file, line, column, and the functions inlined there.

DWARF is read by pyelftools, one compilation unit at a time and only when an address of it is asked
about; a file without DWARF costs a look at its section names. What is kept of a unit are its rows
by address (``line_rows.py``) and its functions (``inlined_functions.py``). Addresses are the file's
own. Whatever is truncated or broken gives positions that are missing, never an error: they are
asked for while another error is on its way.

Source: DWARF 5, 3.1.1 (units), 3.3 (functions), 6.1.2 (.debug_aranges), 6.2 (lines).
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from mmap import mmap
from typing import TYPE_CHECKING, Any

from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit_backtrace.inlined_functions import UnitFunctions
    from theseus_kit_backtrace.line_rows import LineRows

_DEBUG_SECTIONS = frozenset((".debug_info", ".zdebug_info"))
_MOST_UNITS = 1 << 16


class SourcePosition(NamedTuple):
    """One function at an address: its own, or one that was inlined into it."""

    name: str | None
    """As the linker spells it where that is known, else as the source does."""
    file: str | None
    line: int | None
    column: int | None
    start: int | None = None
    """Where its code starts, None where that is not known."""
    is_linkage_name: bool = False

    def is_better_name(self, name: str) -> bool:
        """Whether DWARF's name of a function is to be preferred to its symbol's.

        Wasmtime's symbols are made of numbers, ``wasm[0]::function[3]::fib``.
        """
        return name.startswith("wasm[") and bool(self.name)


class SourcePositions:
    """Positions in one file, whose bytes and section names are given."""

    def __init__(self, contents: bytes | mmap, section_names: Iterable[str]) -> None:
        self._contents = contents
        self._has_debug = not _DEBUG_SECTIONS.isdisjoint(section_names)
        self._dwarf: Any = None
        self._units: dict[int, tuple[LineRows, UnitFunctions] | None] = {}
        self._ranges: list[tuple[int, int, int]] | None = None
        """Start, end and unit of every range of code, by start."""

    def at(self, address: int) -> Sequence[SourcePosition]:
        """The functions at an address, innermost first; empty where nothing is known."""
        if not self._has_debug:
            return ()
        try:
            return self._find(address)
        except Exception:  # noqa: BLE001  (whatever a parser does with tables that are broken)
            return ()

    def _find(self, address: int) -> Sequence[SourcePosition]:
        unit = self._unit_at(address)
        if unit is None:
            return ()
        rows, functions = unit
        row = rows.at(address)
        file, line, column = row if row is not None else (None, None, None)
        positions = []
        for function in functions.at(address):
            positions.append(
                SourcePosition(
                    function.name, file, line, column, function.start, function.is_linkage_name
                )
            )
            file, line, column = rows.file(function.call_file), function.call_line, None
            column = function.call_column
        if not positions and row is not None:
            positions.append(SourcePosition(None, *row))
        return positions

    def _unit_at(self, address: int) -> tuple[LineRows, UnitFunctions] | None:
        if self._ranges is None:
            self._ranges = self._read_ranges()
        index = bisect_right(self._ranges, (address, 1 << 64, 0)) - 1
        if index < 0 or address >= self._ranges[index][1]:
            return None
        offset = self._ranges[index][2]
        if offset not in self._units:
            self._units[offset] = None  # what is broken once stays so
            self._units[offset] = self._read_unit(offset)
        return self._units[offset]

    def _open(self) -> Any:
        if self._dwarf is None:
            from elftools.elf.elffile import ELFFile

            # A stream of its own: mmap objects have one position for all who read them.
            stream: Any = _Stream(self._contents)
            self._dwarf = ELFFile(stream).get_dwarf_info(relocate_dwarf_sections=False)
        return self._dwarf

    def _read_ranges(self) -> list[tuple[int, int, int]]:
        from theseus_kit_backtrace.inlined_functions import code_ranges

        dwarf = self._open()
        ranges: list[tuple[int, int, int]] = []
        for count, unit in enumerate(dwarf.iter_CUs()):
            if count >= _MOST_UNITS:
                break
            if unit.header["unit_length"] <= 0:
                break
            try:
                for start, end in code_ranges(unit.get_top_DIE()):
                    if start < end:
                        ranges.append((start, end, unit.cu_offset))
            except Exception:  # noqa: BLE001  (one broken unit leaves the others)
                continue
        ranges.sort()
        return ranges

    def _read_unit(self, offset: int) -> tuple[LineRows, UnitFunctions]:
        from theseus_kit_backtrace.inlined_functions import UnitFunctions
        from theseus_kit_backtrace.line_rows import LineRows

        dwarf = self._open()
        unit = dwarf.get_CU_at(offset)
        return LineRows(dwarf, unit), UnitFunctions(unit)


class _Stream(io.RawIOBase):
    """A file object over bytes, without a copy of them."""

    def __init__(self, contents: bytes | mmap) -> None:
        self._contents = contents
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence, len(self._contents))
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        start = self._position
        end = len(self._contents) if size is None or size < 0 else start + size
        data = bytes(self._contents[start:end])
        self._position = start + len(data)
        return data
