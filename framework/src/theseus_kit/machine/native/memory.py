"""The guest's address space: host pages with real protections, and our account of them.

Guest code sees all of the host's memory, so pointers that Python code is given may lead outside
the machine's territory: into a buffer of the caller's. Inside, the account says what may be
touched, as fast as on any other machine; outside, the kernel is asked (see :mod:`.host_access`).
"""

from __future__ import annotations

import errno
import os

from theseus_kit.errors import InvalidParameterError, MemoryFaultError, OutOfMemoryError
from theseus_kit.machine.host_memory import view_of_memory
from theseus_kit.machine.native import host_access, system
from theseus_kit.machine.native.territory import GUEST_RANGE, Territory
from theseus_kit.machine.page_table import IntervalMap
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, Protection, page_ceil, page_floor

UNMAPPED = 8
"""The account's value for addresses that are not mapped; no bit of a Protection."""

_READ, _WRITE = 1, 2
_REFUSED_FILE = frozenset((errno.EPERM, errno.EACCES, errno.ENODEV))
"""What mmap(2) says of a file it cannot map as asked: above all on a noexec file system."""


def hardware_protection(protection: int) -> int:
    """What an x86-64 page table can express: what is writable or executable is readable."""
    return protection | _READ if protection else 0


class NativeMemory:
    """See :class:`theseus_kit.machine.protocol.Memory`."""

    def __init__(self, territory: Territory) -> None:
        self._guest = territory.guest
        self._own = territory.own.start
        self._start, self._end = territory.guest.start, territory.guest.end
        self._table = IntervalMap(UNMAPPED)
        self._view = view_of_memory()

    @property
    def territory(self) -> AddressRange:
        return self._guest

    @property
    def view(self) -> memoryview:
        return self._view

    def map(self, address: int, size: int, protection: Protection) -> None:
        end = self._whole_pages(address, size)
        allowed = hardware_protection(int(protection))
        system.map_fixed(address, size, allowed, system.ANONYMOUS)
        self._table.set(address, end, allowed)

    def map_file(
        self, address: int, size: int, protection: Protection, descriptor: int, offset: int
    ) -> None:
        end = self._whole_pages(address, size)
        if offset % PAGE_SIZE:
            raise InvalidParameterError(f"file offset {offset:#x} is not a multiple of a page")
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
        allowed = hardware_protection(int(protection))
        system.protect(address, size, allowed)
        self._table.set(address, end, allowed)

    def unmap(self, address: int, size: int) -> None:
        end = self._whole_pages(address, size)
        system.map_fixed(address, size, system.PROT_NONE, system.ANONYMOUS)
        self._table.set(address, end, UNMAPPED)

    def discard(self, address: int, size: int) -> None:
        self._whole_pages(address, size)
        error = system.advise(address, size, system.MADV_DONTNEED)
        if error:
            raise OutOfMemoryError(
                f"host madvise of {size:#x} bytes at {address:#x}: {os.strerror(error)}", error
            )

    def _whole_pages(self, address: int, size: int) -> int:
        end = address + size
        if address % PAGE_SIZE or size % PAGE_SIZE or size <= 0:
            raise InvalidParameterError(f"[{address:#x}, {end:#x}) is not a range of whole pages")
        if address < self._start or end > self._end:
            raise InvalidParameterError(f"[{address:#x}, {end:#x}) is not within {self._guest}")
        return end

    def is_mapped(self, address: int) -> bool:
        """Whether a page is mapped, with whatever protection."""
        return self._start <= address < self._end and self._table.get(address) != UNMAPPED

    def check(self, address: int, size: int, protection: Protection) -> None:
        self._check(address, size, hardware_protection(int(protection)))

    def _check(self, address: int, size: int, needed: int) -> None:
        if not (self._start <= address and address + size <= self._end):
            self._refuse_strangers(address, "write" if needed & _WRITE else "read")
            host_access.check(address, size, needed & _WRITE)
            return
        table = self._table
        value = table.uniform(address, address + size)
        if value is not None and value & needed == needed and (needed or value != UNMAPPED):
            return
        for start, _, value in table.runs(address, address + size):
            if value & needed != needed or value == UNMAPPED:
                raise MemoryFaultError(start, "write" if needed & _WRITE else "read")

    def _refuse_strangers(self, address: int, access: str) -> None:
        """Another machine's territory is no buffer of the host's."""
        if address in GUEST_RANGE and not self._own <= address < self._end:
            raise MemoryFaultError(address, access)

    def read(self, address: int, size: int) -> bytes:
        if size <= 0:
            return b""
        if not (self._start <= address and address + size <= self._end):
            self._refuse_strangers(address, "read")
            return host_access.read(address, size)
        self._check(address, size, _READ)
        return bytes(self._view[address : address + size])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        size = len(data)
        if size == 0:
            return
        self._check(address, size, _READ | _WRITE)
        self._view[address : address + size] = data

    def patch(self, address: int, code: bytes) -> None:
        """Write into mapped pages whatever their protection, which stays."""
        end = address + len(code)
        for page in range(page_floor(address), page_ceil(end), PAGE_SIZE):
            system.protect(page, PAGE_SIZE, system.PROT_READ_WRITE)
        self._view[address:end] = code
        for page in range(page_floor(address), page_ceil(end), PAGE_SIZE):
            system.protect(page, PAGE_SIZE, self._table.get(page))

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
        return int.from_bytes(self.read(address, 4), "little")

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, (value & 0xFFFF_FFFF).to_bytes(4, "little"))
