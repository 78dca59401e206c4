"""The line table of one compilation unit, by address.

Source: DWARF 5, 6.2; file numbers count from 0 there, from 1 before.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

_MOST_ROWS = 1 << 22


class LineRows:
    """Rows of a line table; those of equal addresses count from the last."""

    def __init__(self, dwarf: Any, unit: Any) -> None:
        self._files: list[str] = []
        self._starts: list[int] = []
        self._rows: list[tuple[int, int, int] | None] = []
        """File number, line and column; None: here a sequence ends."""
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            return
        self._first_file = 0 if program.header["version"] >= 5 else 1
        self._files = _file_names(program, unit)
        rows: list[tuple[int, int, tuple[int, int, int] | None]] = []
        for order, entry in enumerate(program.get_entries()):
            state = entry.state
            if state is None:
                continue
            if order > _MOST_ROWS:
                break
            row = None if state.end_sequence else (state.file, state.line, state.column)
            # The end of one sequence may be the start of another, which then counts.
            rows.append((state.address, 0 if row is None else order + 1, row))
        rows.sort(key=lambda row: row[:2])
        self._starts = [row[0] for row in rows]
        self._rows = [row[2] for row in rows]

    def at(self, address: int) -> tuple[str | None, int | None, int | None] | None:
        """File, line and column of an address, None where the table has no row for it.

        Line 0 is code that stands for no line of the source, column 0 is unknown.
        """
        index = bisect_right(self._starts, address) - 1
        row = self._rows[index] if index >= 0 else None
        if row is None:
            return None
        number, line, column = row
        return self.file(number), line or None, column or None

    def file(self, number: int | None) -> str | None:
        """The path of a file by its number in this unit."""
        if number is None or not self._files:
            return None
        index = number - self._first_file
        return self._files[index] if 0 <= index < len(self._files) else None


def _file_names(program: Any, unit: Any) -> list[str]:
    """The paths of a line table's files: directory and name, absolute where that is known."""
    header = program.header
    top = unit.get_top_DIE().attributes
    base = top["DW_AT_comp_dir"].value.decode("utf-8", "replace") if "DW_AT_comp_dir" in top else ""
    directories = [_text(directory) for directory in header["include_directory"]]
    if header["version"] < 5:
        directories.insert(0, base)
    names = []
    for entry in header["file_entry"]:
        index = entry.dir_index
        directory = directories[index] if 0 <= index < len(directories) else ""
        names.append(_join(base, _join(directory, _text(entry.name))))
    return names


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _join(directory: str, name: str) -> str:
    """Paths as the compiler wrote them down: not this host's, so no os.path."""
    if not directory or name.startswith("/") or name[1:3] in (":\\", ":/"):
        return name
    return f"{directory.rstrip('/')}/{name}"
