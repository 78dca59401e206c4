"""Unwind tables of code that appeared at run time: what ``__register_frame`` was told of.

A JIT hands over a whole ``.eh_frame`` section in memory, ended by a length of zero. Registering
one costs nothing; it is read when somebody first asks about an address. What an entry says is
``call_frame_information.py``'s.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING

from theseus_kit.errors import AlreadyRegisteredError, NotRegisteredError, PlatformError
from theseus_kit.values.memory import AddressRange

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory
    from theseus_kit_backtrace.call_frame_information import FrameDescription

_start = attrgetter("start")


class RunTimeTables:
    """The registered tables of one platform, by the address of their section."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._frames: dict[int, list[FrameDescription] | None] = {}
        self.changes = 0
        """How often a table came or went: what was found before may not hold any more."""

    def register(self, frame_table: int) -> None:
        """Learn of a table. Raises AlreadyRegisteredError."""
        if frame_table in self._frames:
            raise AlreadyRegisteredError(f"unwind table {frame_table:#x} is registered already")
        self._frames[frame_table] = None
        self.changes += 1

    def unregister(self, frame_table: int) -> None:
        """Forget a table. Raises NotRegisteredError."""
        if frame_table not in self._frames:
            raise NotRegisteredError(f"no unwind table is registered at {frame_table:#x}")
        del self._frames[frame_table]
        self.changes += 1

    def find(self, address: int) -> FrameDescription | None:
        """The FDE of run-time code that covers an address, None if no table has one."""
        for frame_table, frames in self._frames.items():
            if frames is None:
                frames = self._frames[frame_table] = self._read(frame_table)
            index = bisect_right(frames, address, key=_start) - 1
            if index >= 0 and address < frames[index].end:
                return frames[index]
        return None

    def function_at(self, address: int) -> AddressRange | None:
        """The function of run-time code that holds an address, None if no table has one."""
        frame = self.find(address)
        return None if frame is None else AddressRange(frame.start, frame.end)

    def _read(self, frame_table: int) -> list[FrameDescription]:
        """The FDEs of a table by address, as far as it makes sense."""
        # Imported here because tables are registered at every boot, and hardly ever read.
        from theseus_kit_backtrace.call_frame_information import Window, scan

        end = frame_table
        with suppress(PlatformError):  # what came before it breaks off counts
            while length := self._memory.read_u32(end):
                self._memory.read(end + 4 + length - 1, 1)
                end += 4 + length
        window = Window(self._memory.read(frame_table, end - frame_table), frame_table)
        return sorted(scan(window, 0, len(window.data)), key=_start)
