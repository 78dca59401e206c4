"""The guest's address space: the page table and the host memory behind it, changed together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError
from theseus_kit.machine.accounted_memory import UNMAPPED, AccountedMemory
from theseus_kit.machine.emulated.territory import Territory
from theseus_kit.machine.emulated.translation import Translation
from theseus_kit.values.memory import PAGE_SIZE, Protection, page_ceil, page_floor

if TYPE_CHECKING:
    from theseus_kit.machine.emulated.ahead import Ahead


class EmulatedMemory(AccountedMemory):
    """See :class:`theseus_kit.machine.protocol.Memory`."""

    def __init__(self, territory: Territory, translation: Translation, view: memoryview) -> None:
        super().__init__(territory.guest, translation.table, view)
        self._territory = territory
        self._translation = translation
        self.ahead: Ahead | None = None
        """Who must know of every mapping, if anyone."""

    def map(self, address: int, size: int, protection: Protection) -> None:
        end = self._whole_pages(address, size)
        self._empty(address, end)
        self._set(address, end, protection)

    def map_file(
        self, address: int, size: int, protection: Protection, descriptor: int, offset: int
    ) -> None:
        end = self._whole_pages(address, size)
        if offset % PAGE_SIZE:
            raise InvalidParameterError(f"file offset {offset:#x} is not a multiple of a page")
        self._empty(address, end)
        self._territory.map_file(address, size, descriptor, offset)
        if self.ahead is not None:
            self.ahead.mapped_file(address, end, protection, descriptor, offset)
        self._set(address, end, protection)

    def protect(self, address: int, size: int, protection: Protection) -> None:
        end = self._whole_pages(address, size)
        self._set(address, end, protection)

    def unmap(self, address: int, size: int) -> None:
        end = self._whole_pages(address, size)
        self._empty(address, end)
        self._translation.set(address, end, UNMAPPED)

    def discard(self, address: int, size: int) -> None:
        end = self._whole_pages(address, size)
        self._territory.discard(address, size)
        self._translation.bytes_changed(address, end)

    def _set(self, start: int, end: int, protection: Protection) -> None:
        """Change the page table."""
        if self.ahead is not None and protection & Protection.EXECUTE:
            self.ahead.before_execution(start, end)
        self._translation.set(start, end, int(protection))

    def _empty(self, start: int, end: int) -> None:
        """Make mapped pages zero. What is not mapped is zero already: nobody could write it."""
        if self.ahead is not None:
            self.ahead.before_mapping(start, end)
        if self._table.uniform(start, end) == UNMAPPED:
            return
        self._territory.clear(start, end - start)
        self._translation.bytes_changed(start, end)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        super().write(address, data)
        if data:
            self._translation.bytes_changed(page_floor(address), page_ceil(address + len(data)))

    def window(self, address: int, size: int, *, writable: bool) -> memoryview:
        window = super().window(address, size, writable=writable)
        if writable and size > 0:
            self._translation.bytes_changed(page_floor(address), page_ceil(address + size))
        return window
