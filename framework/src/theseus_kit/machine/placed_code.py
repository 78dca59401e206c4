"""Which pieces of machine code were placed on a machine, by address.

What :meth:`~theseus_kit.machine.protocol.Machine.place_code` is given runs as the guest's: a libc's
``memcpy`` may fault, its ``syscall`` may wait, a task may be stopped in either. Whoever walks a
stack through such code, or names it, asks here; how it uses its stack is for them to find out.
"""

from __future__ import annotations

from bisect import bisect_right

from theseus_kit.values.memory import AddressRange
from theseus_kit.values.record import NamedTuple


class PlacedCode(NamedTuple):
    """One piece: a function, if it has a name."""

    range: AddressRange
    name: str


class PlacedPieces:
    """The pieces of one machine. They are placed at rising addresses, and stay."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[PlacedCode] = []

    def add(self, address: int, size: int, name: str) -> None:
        """Note a piece that lies above those before it."""
        self._starts.append(address)
        self._pieces.append(PlacedCode(AddressRange(address, address + size), name))

    def at(self, address: int) -> PlacedCode | None:
        """The piece that an address is in."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._pieces[index].range.end:
            return None
        return self._pieces[index]
