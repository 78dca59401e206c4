"""sys/mman.h over the memory-mapping hooks, with Linux's answers to odd questions.

Sources: mmap(2), mprotect(2), madvise(2), mremap(2), and mm/mmap.c, mm/mremap.c of Linux 6 where
the pages leave an order of checks open. Memory shared with files, huge pages and locking limits
are not here: what cannot be done answers the error a kernel without it gives.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import ClassVar

from theseus_kit.errors import (
    AddressInUseError,
    InvalidParameterError,
    OutOfMemoryError,
    PlatformError,
    UnmappedRegionError,
)
from theseus_kit.machine.direct import DirectWork
from theseus_kit.values.linkage import DirectWay, SystemCall
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AddressRange,
    AnyAddress,
    AtAddress,
    Backing,
    FileBacking,
    MapRequest,
    Protection,
    Region,
    ZeroBacking,
    page_ceil,
    page_floor,
)
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
PROT_GROWSDOWN, PROT_GROWSUP = 0x01000000, 0x02000000

MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE = 1, 2, 3
MAP_TYPE = 0xF
MAP_FIXED, MAP_ANONYMOUS, MAP_32BIT = 0x10, 0x20, 0x40
MAP_HUGETLB, MAP_FIXED_NOREPLACE = 0x40000, 0x100000

MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4

MADV_DONTNEED, MADV_FREE, MADV_DONTNEED_LOCKED = 4, 8, 24
_ADVICE_WITHOUT_EFFECT = frozenset(
    # NORMAL RANDOM SEQUENTIAL WILLNEED, DONTFORK DOFORK, MERGEABLE UNMERGEABLE,
    # HUGEPAGE NOHUGEPAGE, DONTDUMP DODUMP, WIPEONFORK KEEPONFORK, COLD PAGEOUT
    (0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21)
)
_MS_KNOWN = 7
_ZERO_PAGE = bytes(PAGE_SIZE)

_PROTECTIONS = tuple(
    # A page that can be written or executed can be read: x86-64 has no other kind.
    Protection(bits | (1 if bits else 0))
    for bits in range(8)
)


_DIRECT = {
    9: ("memory_map", DirectWork.MAP),
    10: ("memory_protect", DirectWork.PROTECT),
    11: ("memory_unmap", DirectWork.UNMAP),
}
"""System calls that a machine may serve by itself, unless the hook that they ask is wrapped."""


class SysMman(Header):
    header: ClassVar[str] = "sys/mman.h"

    def system_calls(self) -> Iterable[SystemCall]:
        for call in super().system_calls():
            direct = _DIRECT.get(call.number)
            if direct is not None:
                prepare = partial(self._direct, call.number, *direct)
                yield call._replace(direct=DirectWay(call.function.body, prepare))
            else:
                yield call

    def _direct(self, number: int, hook: str, work: DirectWork) -> Callable[[], None] | None:
        """A call without Python, where the machine knows how and no wrapper looks on."""
        direct = self.library.memory.direct_mapping
        if direct is None or self.library.services.is_wrapped(hook):
            return None
        return partial(direct.bind_caller, number, work)

    @c_function(
        "void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)",
        system_call=9,
        aliases=("mmap64",),
        on_error=MINUS_ONE,
    )
    def mmap(self, addr: int, length: int, prot: int, flags: int, fd: int, offset: int) -> int:
        """Map pages; the hint is taken if it is free. MAP_FAILED is -1."""
        if offset & (PAGE_SIZE - 1) or length == 0:
            raise InvalidParameterError(f"mmap of {length} bytes at offset {offset}")
        if flags & MAP_TYPE not in (MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE):
            raise InvalidParameterError(f"mmap flags {flags:#x}")
        if flags & MAP_HUGETLB:
            raise OutOfMemoryError("no huge pages")
        size = page_ceil(length)
        territory = self.library.memory.territory
        if size > territory.size:
            raise OutOfMemoryError(f"mmap of {length} bytes")
        backing = self._backing(flags, fd, offset, prot)
        protection = _PROTECTIONS[prot & 7]
        if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
            if addr & (PAGE_SIZE - 1):
                raise InvalidParameterError(f"mmap at {addr:#x}, which is no page")
            if addr < territory.start or addr + size > territory.end:
                raise OutOfMemoryError(f"mmap at {addr:#x}: outside the address space")
            # MAP_FIXED_NOREPLACE wins where both are given (mm/mmap.c).
            replace = not flags & MAP_FIXED_NOREPLACE
            return self._map(size, protection, AtAddress(addr, replace), backing)
        if flags & MAP_32BIT and territory.start >= 1 << 31:
            raise OutOfMemoryError("no memory below 2 GiB")
        hint = page_floor(addr)
        if hint >= territory.start and hint + size <= territory.end:
            with suppress(AddressInUseError):  # a hint is only a hint
                return self._map(size, protection, AtAddress(hint), backing)
        return self._map(size, protection, AnyAddress(), backing)

    def _map(
        self, size: int, protection: Protection, placement: AnyAddress | AtAddress, backing: Backing
    ) -> int:
        base: int = self.library.hooks.memory_map(
            request=MapRequest(size, protection, placement, backing, "mmap")
        ).base
        return base

    def _backing(self, flags: int, fd: int, offset: int, prot: int) -> Backing:
        if flags & MAP_ANONYMOUS:
            return ZeroBacking()
        file = self.library.files.open_file(fd)
        if file.descriptor is None:
            raise PlatformError("this file has no pages that could be mapped", errno.ENODEV)
        if flags & MAP_TYPE != MAP_PRIVATE and prot & PROT_WRITE:
            raise PlatformError("no writable shared mappings of files", errno.ENODEV)
        return FileBacking(file.descriptor, offset)

    @c_function("int munmap(void *addr, size_t length)", system_call=11, on_error=MINUS_ONE)
    def munmap(self, addr: int, length: int) -> int:
        territory = self.library.memory.territory
        size = page_ceil(length)
        if addr & (PAGE_SIZE - 1) or length == 0 or addr + size > territory.end:
            raise InvalidParameterError(f"munmap of {length} bytes at {addr:#x}")
        self.library.hooks.memory_unmap(address=addr, size=size)
        return 0

    @c_function(
        "int mprotect(void *addr, size_t len, int prot)", system_call=10, on_error=MINUS_ONE
    )
    def mprotect(self, addr: int, length: int, prot: int) -> int:
        if addr & (PAGE_SIZE - 1) or prot & ~7:
            # PROT_GROWSDOWN and PROT_GROWSUP are for mappings that grow; there are none here.
            raise InvalidParameterError(f"mprotect at {addr:#x} with {prot:#x}")
        if length:
            size = page_ceil(length)
            self._check_range(addr, size)
            self.library.hooks.memory_protect(
                address=addr, size=size, protection=_PROTECTIONS[prot]
            )
        return 0

    @c_function(
        "int madvise(void *addr, size_t length, int advice)", system_call=28, on_error=MINUS_ONE
    )
    def madvise(self, addr: int, length: int, advice: int) -> int:
        discards = advice in (MADV_DONTNEED, MADV_FREE, MADV_DONTNEED_LOCKED)
        if not discards and advice not in _ADVICE_WITHOUT_EFFECT:
            raise InvalidParameterError(f"madvise advice {advice}")
        if addr & (PAGE_SIZE - 1):
            raise InvalidParameterError(f"madvise at {addr:#x}")
        if length == 0:
            return 0
        size = page_ceil(length)
        self._check_range(addr, size)
        mapped = self._clipped(addr, size)
        if discards:
            # What is mapped is discarded even where the whole range is not (madvise(2), ENOMEM).
            for piece in mapped:
                self.library.hooks.memory_discard(address=piece.start, size=piece.size)
        if sum(piece.size for piece in mapped) != size:
            raise UnmappedRegionError(f"madvise of {length} bytes at {addr:#x}: not all is mapped")
        return 0

    @c_function(
        "int msync(void *addr, size_t length, int flags)", system_call=26, on_error=MINUS_ONE
    )
    def msync(self, addr: int, length: int, flags: int) -> int:
        """Nothing is shared with a file, so there is nothing to write back."""
        if addr & (PAGE_SIZE - 1) or flags & ~_MS_KNOWN or flags & 5 == 5:
            raise InvalidParameterError(f"msync at {addr:#x} with {flags:#x}")
        size = page_ceil(length)
        if sum(piece.size for piece in self._clipped(addr, size)) != size:
            raise UnmappedRegionError(f"msync of {length} bytes at {addr:#x}")
        return 0

    @c_function("int mlock(const void *addr, size_t len)", system_call=149, on_error=MINUS_ONE)
    def mlock(self, addr: int, length: int) -> int:
        if length:
            self.library.hooks.memory_lock(address=addr, size=length)
        return 0

    @c_function("int munlock(const void *addr, size_t len)", system_call=150, on_error=MINUS_ONE)
    def munlock(self, addr: int, length: int) -> int:
        if length:
            self.library.hooks.memory_unlock(address=addr, size=length)
        return 0

    @c_function(
        "void *mremap(void *old_address, size_t old_size, size_t new_size, int flags, "
        "void *new_address)",
        system_call=25,
        on_error=MINUS_ONE,
    )
    def mremap(
        self, old_address: int, old_size: int, new_size: int, flags: int, new_address: int
    ) -> int:
        """Shrink or grow in place, or move, copying the contents."""
        known = MREMAP_MAYMOVE | MREMAP_FIXED
        fixed = bool(flags & MREMAP_FIXED)
        if (
            flags & ~known
            or old_address & (PAGE_SIZE - 1)
            or new_size == 0
            or old_size == 0
            or (fixed and not flags & MREMAP_MAYMOVE)
            or (fixed and new_address & (PAGE_SIZE - 1))
        ):
            raise InvalidParameterError(f"mremap of {old_address:#x} with {flags:#x}")
        old_size, new_size = page_ceil(old_size), page_ceil(new_size)
        old = AddressRange.of_size(old_address, old_size)
        if fixed and old.overlaps(AddressRange.of_size(new_address, new_size)):
            raise InvalidParameterError("mremap onto itself")
        regions = self._regions(old)
        if not fixed and new_size <= old_size:
            if new_size < old_size:
                self.munmap(old_address + new_size, old_size - new_size)
            return old_address
        last = regions[-1].protection
        if not fixed:
            try:
                self._map(new_size - old_size, last, AtAddress(old.end), ZeroBacking())
            except (AddressInUseError, OutOfMemoryError, InvalidParameterError) as error:
                if not flags & MREMAP_MAYMOVE:
                    raise OutOfMemoryError("mremap: no room to grow in place") from error
            else:
                return old_address
        placement = AtAddress(new_address, replace=True) if fixed else AnyAddress()
        moved = self._map(new_size, last, placement, ZeroBacking())
        self._move(regions, old, moved, new_size)
        return moved

    def _move(self, regions: list[Region], old: AddressRange, moved: int, new_size: int) -> None:
        """Copy what lies in the old range, region by region, then unmap it."""
        hooks, view = self.library.hooks, self.library.memory.view
        for region in regions:
            start = max(region.base, old.start)
            end = min(region.range.end, old.end, old.start + new_size)
            if start >= end:
                continue
            target = moved + start - old.start
            if not region.is_readable:
                hooks.memory_protect(address=start, size=end - start, protection=Protection.READ)
            hooks.memory_protect(address=target, size=end - start, protection=Protection.READ_WRITE)
            for page in range(start, end, PAGE_SIZE):
                # Pages of zeros are left untouched, so that they still cost nothing.
                content = bytes(view[page : page + PAGE_SIZE])
                if content != _ZERO_PAGE:
                    view[target + page - start : target + page - start + PAGE_SIZE] = content
            hooks.memory_protect(address=target, size=end - start, protection=region.protection)
        hooks.memory_unmap(address=old.start, size=old.size)

    def _regions(self, wanted: AddressRange) -> list[Region]:
        """The regions of a range that must be mapped without a gap; EFAULT as mremap(2) says."""
        regions = list(
            self.library.hooks.memory_query_range(address=wanted.start, size=wanted.size)
        )
        position = wanted.start
        for region in regions:
            if region.base > position:
                break
            position = region.range.end
        if position < wanted.end:
            raise PlatformError(f"mremap of {wanted}: not all is mapped", errno.EFAULT)
        return regions

    def _clipped(self, addr: int, size: int) -> list[AddressRange]:
        """The mapped pieces of a range."""
        regions = self.library.hooks.memory_query_range(address=addr, size=size)
        return [
            AddressRange(max(region.base, addr), min(region.range.end, addr + size))
            for region in regions
        ]

    def _check_range(self, addr: int, size: int) -> None:
        """Linux's answer for ranges beyond the address space (ENOMEM), before hooks see them."""
        territory = self.library.memory.territory
        if addr < territory.start or addr + size > territory.end:
            raise UnmappedRegionError(f"{size} bytes at {addr:#x}: outside the address space")
