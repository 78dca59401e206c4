"""Unwind tables of code that appeared at run time: what ``__register_frame`` was told of.

A JIT hands over a whole ``.eh_frame`` section in memory, ended by a length of zero. Registering
one costs nothing; it is read when somebody first asks about an address. What an entry says is
``call_frame_information.py``'s.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING

from theseus_kit.errors import AlreadyRegisteredError, NotRegisteredError, PlatformError
from theseus_kit.values.memory import AddressRange
from theseus_kit_backtrace.call_frame_information import (
    CommonInformation,
    FrameDescription,
    Window,
    read_entry,
    read_frame_description,
)
from theseus_kit_backtrace.dwarf_reading import BROKEN

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory

_start = attrgetter("start")


class RunTimeTables:
    """The registered tables of one platform, by the address of their section."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._frames: dict[int, list[FrameDescription] | None] = {}

    def register(self, frame_table: int) -> None:
        """Learn of a table. Raises AlreadyRegisteredError."""
        if frame_table in self._frames:
            raise AlreadyRegisteredError(f"unwind table {frame_table:#x} is registered already")
        self._frames[frame_table] = None

    def unregister(self, frame_table: int) -> None:
        """Forget a table. Raises NotRegisteredError."""
        if frame_table not in self._frames:
            raise NotRegisteredError(f"no unwind table is registered at {frame_table:#x}")
        del self._frames[frame_table]

    def find(self, address: int) -> FrameDescription | None:
        """The FDE of run-time code that covers an address, None if no table has one."""
        for frame_table, frames in self._frames.items():
            if frames is None:
                window = self._copy(frame_table)
                frames = sorted(scan(window, 0, len(window.data)), key=_start)
                self._frames[frame_table] = frames
            index = bisect_right(frames, address, key=_start) - 1
            if index >= 0 and address < frames[index].end:
                return frames[index]
        return None

    def function_at(self, address: int) -> AddressRange | None:
        """The function of run-time code that holds an address, None if no table has one."""
        frame = self.find(address)
        return None if frame is None else AddressRange(frame.start, frame.end)

    def _copy(self, frame_table: int) -> Window:
        """A table's bytes, up to its terminator or to where it runs into nowhere."""
        end = frame_table
        with suppress(PlatformError):  # what came before it breaks off counts
            while length := self._memory.read_u32(end):
                self._memory.read(end + 4 + length - 1, 1)
                end += 4 + length
        return Window(self._memory.read(frame_table, end - frame_table), frame_table)


def scan(window: Window, position: int, end: int) -> Iterator[FrameDescription]:
    """Every FDE from a position on, as far as the table makes sense."""
    commons: dict[int, CommonInformation] = {}
    try:
        while position + 4 <= end:
            entry = read_entry(window, position)
            if entry is None:
                return
            if entry.common is not None:
                yield read_frame_description(window, position, commons)
            position = entry.end
    except BROKEN:
        return
