"""The guest's address space: the page table and the host memory behind it, changed together."""

from __future__ import annotations

from theseus_kit.errors import InvalidParameterError, MemoryFaultError
from theseus_kit.machine.emulated.territory import Territory
from theseus_kit.machine.emulated.translation import (
    UNMAPPED,
    Translation,
    hardware_protection,
)
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, Protection, page_ceil, page_floor

_READ, _WRITE = 1, 2


class EmulatedMemory:
    """See :class:`theseus_kit.machine.protocol.Memory`."""

    def __init__(self, territory: Territory, translation: Translation, view: memoryview) -> None:
        self._territory = territory
        self._translation = translation
        self._table = translation.table
        self._view = view

    @property
    def territory(self) -> AddressRange:
        return self._territory.guest

    @property
    def view(self) -> memoryview:
        return self._view

    def map(self, address: int, size: int, protection: Protection) -> None:
        end = self._whole_pages(address, size)
        self._empty(address, end)
        self._translation.set(address, end, int(protection))

    def map_file(
        self, address: int, size: int, protection: Protection, descriptor: int, offset: int
    ) -> None:
        end = self._whole_pages(address, size)
        if offset % PAGE_SIZE:
            raise InvalidParameterError(f"file offset {offset:#x} is not a multiple of a page")
        self._empty(address, end)
        self._territory.map_file(address, size, descriptor, offset)
        self._translation.set(address, end, int(protection))

    def protect(self, address: int, size: int, protection: Protection) -> None:
        end = self._whole_pages(address, size)
        self._translation.set(address, end, int(protection))

    def unmap(self, address: int, size: int) -> None:
        end = self._whole_pages(address, size)
        self._empty(address, end)
        self._translation.set(address, end, UNMAPPED)

    def discard(self, address: int, size: int) -> None:
        end = self._whole_pages(address, size)
        self._territory.discard(address, size)
        self._translation.bytes_changed(address, end)

    def _empty(self, start: int, end: int) -> None:
        """Make mapped pages zero. What is not mapped is zero already: nobody could write it."""
        if self._table.uniform(start, end) == UNMAPPED:
            return
        self._territory.clear(start, end - start)
        self._translation.bytes_changed(start, end)

    def _whole_pages(self, address: int, size: int) -> int:
        end = address + size
        guest = self._territory.guest
        if address % PAGE_SIZE or size % PAGE_SIZE or size <= 0:
            raise InvalidParameterError(f"[{address:#x}, {end:#x}) is not a range of whole pages")
        if address < guest.start or end > guest.end:
            raise InvalidParameterError(f"[{address:#x}, {end:#x}) is not within {guest}")
        return end

    def check(self, address: int, size: int, protection: Protection) -> None:
        self._check(address, size, hardware_protection(int(protection)))

    def _check(self, address: int, size: int, needed: int) -> None:
        table = self._table
        value = table.uniform(address, address + size)
        if value is not None and value & needed == needed and (needed or value != UNMAPPED):
            return
        for start, _, value in table.runs(address, address + size):
            if value & needed != needed or value == UNMAPPED:
                raise MemoryFaultError(start, "write" if needed & _WRITE else "read")

    def read(self, address: int, size: int) -> bytes:
        if size <= 0:
            return b""
        self._check(address, size, _READ)
        return bytes(self._view[address : address + size])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        size = len(data)
        if size == 0:
            return
        self._check(address, size, _WRITE)
        self._view[address : address + size] = data
        self._translation.bytes_changed(page_floor(address), page_ceil(address + size))

    def read_string(self, address: int, limit: int = 1 << 20) -> bytes:
        pieces = []
        position, end = address, address + limit
        while position < end:
            stop = min(page_floor(position) + PAGE_SIZE, end)
            self._check(position, stop - position, _READ)
            piece = bytes(self._view[position:stop])
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
        return int.from_bytes(self.read(address, 4), "little")

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, (value & 0xFFFF_FFFF).to_bytes(4, "little"))
