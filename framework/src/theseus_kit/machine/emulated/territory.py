"""Host addresses reserved for one machine, and what lies behind them.

Guest memory is host memory at the same address, so each machine owns a range of host addresses
that nothing else in the process uses. The whole range is one private, writable, unreserved
mapping: a page costs memory only once it is touched, and what guest code may do with it is the
page table's business, not the host's.

::

    base                    base + 32 MiB                                        end
    ┌──────────────────────┬────────────────────────────────────────────────────┐
    │ the machine's own:   │ territory: guest mappings                          │
    │ mailbox, stubs, code │                                                    │
    └──────────────────────┴────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from theseus_kit.errors import MachineError, OutOfMemoryError
from theseus_kit.machine.page_table import IntervalMap
from theseus_kit.values.memory import AddressRange, page_ceil

_PROT_READ_WRITE = 3
_MAP_PRIVATE = 0x02
_MAP_FIXED = 0x10
_MAP_ANONYMOUS = 0x20
_MAP_NORESERVE = 0x4000
_MAP_FIXED_NOREPLACE = 0x100000
_MADV_DONTNEED = 4
_MADV_DONTDUMP = 16
_FAILED = ctypes.c_void_p(-1).value

_GIB = 1 << 30
_FIRST_BASE = 0x1000_0000_0000
"""16 TiB: clear of the program and heap below and of the libraries and stacks near 128 TiB."""
_LAST_END = 0x7000_0000_0000
_SMALLEST = 4 * _GIB
OWN_SIZE = 32 << 20

_ANONYMOUS, _FILE = 0, 1


class Territory:
    """The reserved range. All addresses given to its methods are whole pages within it."""

    def __init__(self, size: int) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._mmap: Any = library.mmap
        self._mmap.restype = ctypes.c_void_p
        self._mmap.argtypes = (
            *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
            ctypes.c_int64,
        )
        self._munmap: Any = library.munmap
        self._munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        self._madvise: Any = library.madvise
        self._madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self.base, self.size = self._reserve(max(size, _SMALLEST))
        self._madvise(self.base, self.size, _MADV_DONTDUMP)
        self._backing = IntervalMap(_ANONYMOUS)
        self.own = AddressRange(self.base, self.base + OWN_SIZE)
        self.guest = AddressRange(self.base + OWN_SIZE, self.base + self.size)

    def _reserve(self, wanted: int) -> tuple[int, int]:
        size = wanted
        while size >= _SMALLEST:
            flags = _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE
            base = _FIRST_BASE
            while base + size <= _LAST_END:
                address = self._mmap(
                    base, size, _PROT_READ_WRITE, flags | _MAP_FIXED_NOREPLACE, -1, 0
                )
                if address == base:
                    return base, size
                if address != _FAILED:  # kernels before 4.17 take the address for a hint
                    self._munmap(address, size)
                base += size
            address = self._mmap(None, size, _PROT_READ_WRITE, flags, -1, 0)
            if address != _FAILED:
                return address, size
            size //= 2
        reason = os.strerror(ctypes.get_errno())
        raise MachineError(
            f"the host refuses to reserve {_SMALLEST // _GIB} GiB of addresses for the emulated "
            f"machine ({reason}): raise the limit on address space (ulimit -v), or close machines"
        )

    def clear(self, address: int, size: int) -> None:
        """Make pages anonymous and zero, and give what they held back to the host."""
        if self._backing.uniform(address, address + size) == _ANONYMOUS:
            self._advise(address, size)
            return
        flags = _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED
        self._map(address, size, flags, -1, 0)
        self._backing.set(address, address + size, _ANONYMOUS)

    def discard(self, address: int, size: int) -> None:
        """Make pages read as zero, or as their file, and give what they held back."""
        self._advise(address, size)

    def map_file(self, address: int, size: int, descriptor: int, offset: int) -> None:
        """Put a file's pages there, copied on write; what lies past its last page is zero.

        The host would answer an access past the file's last page with SIGBUS, so those pages are
        anonymous.
        """
        inside = min(size, page_ceil(max(os.fstat(descriptor).st_size - offset, 0)))
        if inside < size:
            self.clear(address + inside, size - inside)
        if inside:
            flags = _MAP_PRIVATE | _MAP_NORESERVE | _MAP_FIXED
            self._map(address, inside, flags, descriptor, offset)
            self._backing.set(address, address + inside, _FILE)

    def release(self) -> None:
        """Give the whole range back."""
        if self.size:
            self._munmap(self.base, self.size)
            self.size = 0

    def _advise(self, address: int, size: int) -> None:
        if self._madvise(address, size, _MADV_DONTNEED) != 0:
            self._refused("madvise", address, size)

    def _map(self, address: int, size: int, flags: int, descriptor: int, offset: int) -> None:
        if self._mmap(address, size, _PROT_READ_WRITE, flags, descriptor, offset) == _FAILED:
            self._refused("mmap", address, size)

    def _refused(self, what: str, address: int, size: int) -> None:
        error = ctypes.get_errno()
        raise OutOfMemoryError(
            f"host {what} of {size:#x} bytes at {address:#x}: {os.strerror(error)}", error
        )
