"""The guest's address space: host pages with real protections, and our account of them.

Guest code sees all of the host's memory, so pointers that Python code is given may lead outside
the machine's territory: into a buffer of the caller's. Inside, the account says what may be
touched, as fast as on any other machine; outside, the kernel is asked (see :mod:`.host_access`).
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_right

from theseus_kit.errors import InvalidParameterError, MemoryFaultError, OutOfMemoryError
from theseus_kit.machine.accounted_memory import (
    UNMAPPED,
    WRITE,
    AccountedMemory,
    hardware_protection,
)
from theseus_kit.machine.host_memory import view_of_memory
from theseus_kit.machine.native import host_access, system
from theseus_kit.machine.native.context import Context
from theseus_kit.machine.native.direct_mapping import DirectMapping
from theseus_kit.machine.native.own_code import OwnCode
from theseus_kit.machine.native.territory import GUEST_RANGE, Territory
from theseus_kit.machine.page_table import IntervalMap
from theseus_kit.values.memory import PAGE_SIZE, Protection, page_ceil, page_floor

_REFUSED_FILE = frozenset((errno.EPERM, errno.EACCES, errno.ENODEV))
"""What mmap(2) says of a file it cannot map as asked: above all on a noexec file system."""


class NativeMemory(AccountedMemory):
    """See :class:`theseus_kit.machine.protocol.Memory`."""

    def __init__(
        self, territory: Territory, context: Context, code: OwnCode, entries: tuple[int, ...]
    ) -> None:
        """``entries`` are where :mod:`.code.mapping` protects, unmaps and maps."""
        super().__init__(territory.guest, IntervalMap(UNMAPPED), view_of_memory())
        self._own = territory.own.start
        self._direct = DirectMapping(self._view, self._table, context, code, self.patch, entries)
        self._collect = self._direct.collect

    @property
    def direct_mapping(self) -> DirectMapping:
        return self._direct

    def map(self, address: int, size: int, protection: Protection) -> None:
        end = self._whole_pages(address, size)
        self._collect()
        allowed = hardware_protection(int(protection))
        system.map_fixed(address, size, allowed, system.ANONYMOUS)
        self._table.set(address, end, allowed)

    def map_file(
        self, address: int, size: int, protection: Protection, descriptor: int, offset: int
    ) -> None:
        end = self._whole_pages(address, size)
        if offset % PAGE_SIZE:
            raise InvalidParameterError(f"file offset {offset:#x} is not a multiple of a page")
        self._collect()
        allowed = hardware_protection(int(protection))
        # The host answers an access past the file's last page with SIGBUS: those are anonymous.
        inside = min(size, page_ceil(max(os.fstat(descriptor).st_size - offset, 0)))
        if inside < size:
            system.map_fixed(address + inside, size - inside, allowed, system.ANONYMOUS)
        if inside:
            try:
                flags = system.MAP_PRIVATE | system.MAP_NORESERVE
                system.map_fixed(address, inside, allowed, flags, descriptor, offset)
            except OutOfMemoryError as error:
                if error.errno not in _REFUSED_FILE:
                    raise
                self._copy_file(address, inside, allowed, descriptor, offset)
        self._table.set(address, end, allowed)

    def _copy_file(
        self, address: int, size: int, protection: int, descriptor: int, offset: int
    ) -> None:
        system.map_fixed(address, size, system.PROT_READ_WRITE, system.ANONYMOUS)
        position, end = address, address + size
        while position < end:
            count = os.preadv(descriptor, [self._view[position:end]], offset + position - address)
            if count == 0:
                break
            position += count
        system.protect(address, size, protection)

    def protect(self, address: int, size: int, protection: Protection) -> None:
        end = self._whole_pages(address, size)
        self._collect()
        allowed = hardware_protection(int(protection))
        system.protect(address, size, allowed)
        self._table.set(address, end, allowed)

    def unmap(self, address: int, size: int) -> None:
        end = self._whole_pages(address, size)
        self._collect()
        system.map_fixed(address, size, system.PROT_NONE, system.ANONYMOUS)
        self._table.set(address, end, UNMAPPED)

    def discard(self, address: int, size: int) -> None:
        self._whole_pages(address, size)
        error = system.advise(address, size, system.MADV_DONTNEED)
        if error:
            raise OutOfMemoryError(
                f"host madvise of {size:#x} bytes at {address:#x}: {os.strerror(error)}", error
            )

    def is_mapped(self, address: int) -> bool:
        """Whether a page is mapped, with whatever protection."""
        return self._start <= address < self._end and self._table.get(address) != UNMAPPED

    def _check(self, address: int, size: int, needed: int) -> None:
        end = address + size
        if self._start <= address and end <= self._end:
            self._collect()
            # Of one protection, as nearly always: without the steps that look at each of several.
            table = self._table
            starts = table.starts
            index = bisect_right(starts, address)
            if index == len(starts) or starts[index] >= end:
                value = table.values[index - 1]
                if value & needed == needed and value != UNMAPPED:
                    return
            super()._check(address, size, needed)
            return
        self._refuse_strangers(address, "write" if needed & WRITE else "read")
        host_access.check(address, size, needed & WRITE)

    def _refuse_strangers(self, address: int, access: str) -> None:
        """Another machine's territory is no buffer of the host's."""
        if address in GUEST_RANGE and not self._own <= address < self._end:
            raise MemoryFaultError(address, access)

    def read(self, address: int, size: int) -> bytes:
        if size <= 0 or (self._start <= address and address + size <= self._end):
            return super().read(address, size)
        self._refuse_strangers(address, "read")
        return host_access.read(address, size)

    def patch(self, address: int, code: bytes) -> None:
        """Write into mapped pages whatever their protection, which stays."""
        self._collect()
        end = address + len(code)
        for page in range(page_floor(address), page_ceil(end), PAGE_SIZE):
            system.protect(page, PAGE_SIZE, system.PROT_READ_WRITE)
        self._view[address:end] = code
        for page in range(page_floor(address), page_ceil(end), PAGE_SIZE):
            system.protect(page, PAGE_SIZE, self._table.get(page))
