"""What every machine's memory answers alike: from an account of pages, and by reading and writing.

The account says what guest code may do with each page; Python code that is given a guest's pointer
asks it first, so that a wild pointer is an error and not the end of the process.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, MemoryFaultError
from theseus_kit.machine.page_table import IntervalMap
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, Protection, page_floor

if TYPE_CHECKING:
    from theseus_kit.machine.direct import DirectMapping

UNMAPPED = 8
"""The account's value for addresses that are not mapped; no bit of a Protection."""

READ, WRITE = 1, 2
_WORD = Struct("<I")


def hardware_protection(protection: int) -> int:
    """What an x86-64 page table can express: what is writable or executable is readable."""
    return protection | READ if protection else 0


class AccountedMemory:
    """Base of the machines' memories; ``account`` has a hardware protection for each page."""

    def __init__(self, guest: AddressRange, account: IntervalMap, view: memoryview) -> None:
        self._guest = guest
        self._start, self._end = guest.start, guest.end
        self._table = account
        self._view = view

    @property
    def territory(self) -> AddressRange:
        return self._guest

    @property
    def view(self) -> memoryview:
        return self._view

    @property
    def direct_mapping(self) -> DirectMapping | None:
        return None

    def check(self, address: int, size: int, protection: Protection) -> None:
        self._check(address, size, hardware_protection(int(protection)))

    def _check(self, address: int, size: int, needed: int) -> None:
        table = self._table
        value = table.uniform(address, address + size)
        if value is not None and value & needed == needed and (needed or value != UNMAPPED):
            return
        for start, _, value in table.runs(address, address + size):
            if value & needed != needed or value == UNMAPPED:
                raise MemoryFaultError(start, "write" if needed & WRITE else "read")

    def _whole_pages(self, address: int, size: int) -> int:
        """Return the end of a range. Raises InvalidParameterError unless it is pages of ours."""
        end = address + size
        if address % PAGE_SIZE or size % PAGE_SIZE or size <= 0:
            raise InvalidParameterError(f"[{address:#x}, {end:#x}) is not a range of whole pages")
        if address < self._start or end > self._end:
            raise InvalidParameterError(f"[{address:#x}, {end:#x}) is not within {self._guest}")
        return end

    def window(self, address: int, size: int, *, writable: bool) -> memoryview:
        if size <= 0:
            return self._view[:0]
        self._check(address, size, READ | WRITE if writable else READ)
        return self._view[address : address + size]

    def read(self, address: int, size: int) -> bytes:
        if size <= 0:
            return b""
        self._check(address, size, READ)
        return bytes(self._view[address : address + size])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        size = len(data)
        if size == 0:
            return
        self._check(address, size, READ | WRITE)
        self._view[address : address + size] = data

    def read_string(self, address: int, limit: int = 1 << 20) -> bytes:
        pieces = []
        position, end = address, address + limit
        while position < end:
            stop = min(page_floor(position) + PAGE_SIZE, end)
            piece = self.read(position, stop - position)
            length = piece.find(0)
            if length >= 0:
                pieces.append(piece[:length])
                return b"".join(pieces)
            pieces.append(piece)
            position = stop
        raise InvalidParameterError(f"no zero byte within {limit} bytes of {address:#x}")

    def read_u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def write_u64(self, address: int, value: int) -> None:
        self.write(address, (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"))

    def read_u32(self, address: int) -> int:
        if address & 3:
            return int.from_bytes(self.read(address, 4), "little")
        # A lock's word: it lies in one page, and is read at every wait.
        self._check(address, 4, READ)
        value: int = _WORD.unpack_from(self._view, address)[0]
        return value

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, (value & 0xFFFF_FFFF).to_bytes(4, "little"))
