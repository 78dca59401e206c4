"""The plugin: the memory-mapping hooks over a page allocator, a region map and a machine.

Every hook follows the same order: round, look, refuse, change the machine, and only then the
account of what is mapped. So a hook that refuses has changed nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from theseus_kit.errors import (
    AddressInUseError,
    AssemblyError,
    InvalidParameterError,
    OutOfMemoryError,
    PlatformError,
    ProtectionDeniedError,
    UnmappedRegionError,
)
from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import Plugin, PluginDescription, Services, option
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AnyAddress,
    AtAddress,
    Backing,
    BytesBacking,
    FileBacking,
    MapRequest,
    Protection,
    Region,
    ZeroBacking,
)
from theseus_kit_region.host_lock import HostLock
from theseus_kit_region.page import ADDRESS_SPACE, page_range, round_to_page_boundaries
from theseus_kit_region.page_allocator import PageAllocator
from theseus_kit_region.range_tree import Range
from theseus_kit_region.region_map import PageAttributes, RegionMap, region_of

_ANY_PROTECTION = Protection.READ_WRITE_EXECUTE
_NEIGHBOURS = 4
"""How many regions on either side of one belong to what guest code is likely to ask for next."""

if TYPE_CHECKING:
    from theseus_kit.machine.direct import DirectMapping


@dataclass(eq=False, repr=False)
class RegionOptions:
    """The plugin's options."""

    guard_gap: int = option(
        1,
        help="free pages to leave between mappings that are placed anywhere, so that running over "
        "the end of one faults; given up when there is no room for them",
    )


class RegionPlugin(Plugin):
    """Memory mapping with the exactness of mmap(2) and region-rs: what is asked, page by page."""

    description = PluginDescription(
        name="region",
        version="0.1.0",
        summary="memory mapping: region-rs's operations over Theseus's page allocator",
        provides=frozenset({Group.MEMORY_MAPPING}),
        options=RegionOptions,
    )

    def __init__(self, services: Services, options: RegionOptions) -> None:
        super().__init__(services, options)
        if options.guard_gap < 0:
            raise AssemblyError(
                f"plugin 'region': option guard_gap must be 0 or more, not {options.guard_gap}"
            )
        self._memory = services.machine.memory
        self._pages = PageAllocator(self._memory.territory, options.guard_gap)
        self._regions = RegionMap()
        self._host_lock: HostLock | None = None
        self._direct = direct = self._direct_mapping()
        self._collect: Callable[[], None] = _nothing_to_collect
        if direct is not None:
            direct.tell(self)
            self._collect = direct.collect

    def _direct_mapping(self) -> DirectMapping | None:
        """What lets guest code map memory by itself, None where it is not to."""
        return self._memory.direct_mapping

    @hookimpl
    def memory_map(self, request: MapRequest) -> Region:
        self._collect()
        placement = request.placement
        at = placement.address if isinstance(placement, AtAddress) else 0
        start, end = page_range(at, request.size)
        size = end - start
        attributes = _attributes_of(request, size)
        file = _file_of(request.backing)
        if isinstance(placement, AtAddress):
            start = self._exact_place(start, end, placement.replace)
        else:
            start = self._pages.find(size, placement)
        end = start + size
        self._fill(start, size, request)
        self._pages.claim(start, end)
        if file is not None:
            device, inode, offset = file
            attributes = attributes._replace(file=(device, inode, offset - start))
        mapped = (start, size, attributes)
        self._regions.replace(start, end, [mapped])
        if self._direct is not None:
            self._direct.deny(start, end)
            if _is_plain(request):
                self._direct.lend(start, end, request.label)
        return region_of(mapped)

    def _exact_place(self, start: int, end: int, replace: bool) -> int:
        territory = self._pages.territory
        if start < territory.start or end > territory.end:
            raise OutOfMemoryError(f"{start:#x}-{end:#x} lies outside {territory!r}")
        if replace:
            self._release_locks(self._regions.pieces(start, end))
        elif not self._pages.is_free(start, end):
            raise AddressInUseError(f"{start:#x}-{end:#x} is taken, wholly or in part")
        return start

    def _fill(self, start: int, size: int, request: MapRequest) -> None:
        """Have the machine map new pages with what they are to hold."""
        backing = request.backing
        memory = self._memory
        protection = request.protection
        if isinstance(backing, ZeroBacking):
            memory.map(start, size, protection)
        elif isinstance(backing, FileBacking):
            try:
                memory.map_file(start, size, protection, backing.descriptor, backing.offset)
            except OSError as error:
                raise PlatformError(f"the file was not mapped: {error}", error.errno) from error
        else:
            memory.map(start, size, Protection.READ_WRITE)
            try:
                memory.write(start, memoryview(backing.data).cast("B"))
                memory.protect(start, size, protection)
            except BaseException:
                self._drop(start, start + size)
                raise

    def _drop(self, start: int, end: int) -> None:
        if self._direct is not None:
            self._direct.deny(start, end)
        self._memory.unmap(start, end - start)
        self._regions.replace(start, end, ())
        self._pages.release(start, end)

    @hookimpl
    def memory_protect(self, address: int, size: int, protection: Protection) -> None:
        self._collect()
        start, end = page_range(address, size)
        if self._direct is not None:
            self._allow_around(start, end)
        pieces = self._regions.mapped_pieces(start, end)
        if protection > Protection.READ_WRITE_EXECUTE:
            raise InvalidParameterError(f"{protection!r} is no protection")
        if len(pieces) == 1 and pieces[0][2].protection is protection:
            return
        for base, _, attributes in pieces:
            most = attributes.max_protection
            # Arithmetic on flags takes a microsecond each time; nearly every region allows all.
            if most is not _ANY_PROTECTION and protection & ~most:
                raise ProtectionDeniedError(f"{base:#x} may have at most {most}, not {protection}")
        self._memory.protect(start, end - start, protection)
        self._note_protection(start, end, pieces, protection)

    def _note_protection(
        self,
        start: int,
        end: int,
        pieces: Sequence[Range[PageAttributes]],
        protection: Protection,
    ) -> None:
        self._regions.replace(
            start,
            end,
            [(base, length, old.protected(protection)) for base, length, old in pieces],
        )

    def protected_directly(self, start: int, end: int, protection: Protection) -> None:
        """Guest code has done by itself what :meth:`memory_protect` does, where it may."""
        self._note_protection(start, end, self._regions.pieces(start, end), protection)

    def unmapped_directly(self, start: int, end: int) -> None:
        """Guest code has done by itself what :meth:`memory_unmap` does."""
        self._regions.replace(start, end, ())
        self._pages.release(start, end)

    def mapped_directly(self, start: int, end: int, protection: Protection, label: str) -> None:
        """Guest code has done by itself what :meth:`memory_map` does."""
        attributes = PageAttributes(protection, label=label, reserved=not protection)
        self._pages.claim(start, end)
        self._regions.replace(start, end, [(start, end - start, attributes)])

    def _allow_around(self, start: int, end: int) -> None:
        """Let guest code change by itself what it asks about, and what lies around it."""
        direct = self._direct
        assert direct is not None
        low, high = start, start
        for base, size, attributes in self._regions.overlapping(start, end):
            if base > high or attributes.max_protection is not _ANY_PROTECTION:
                break
            low, high = min(low, base), base + size
        if high < end:
            return
        for _ in range(_NEIGHBOURS):
            below, above = self._regions.find(low - 1), self._regions.find(high)
            if below is not None and below[2].max_protection is _ANY_PROTECTION:
                low = below[0]
            if above is not None and above[2].max_protection is _ANY_PROTECTION:
                high = above[0] + above[1]
        direct.allow(low, high)

    @hookimpl
    def memory_unmap(self, address: int, size: int) -> None:
        self._collect()
        start, end = page_range(address, size)
        pieces = self._regions.pieces(start, end)
        if not pieces:
            return
        self._release_locks(pieces)
        for base, stop in _runs(pieces):
            self._drop(base, stop)

    @hookimpl
    def memory_discard(self, address: int, size: int) -> None:
        start, end = page_range(address, size)
        for base, _, attributes in self._regions.mapped_pieces(start, end):
            if attributes.locked:
                raise InvalidParameterError(f"{base:#x} is locked and cannot be discarded")
        self._memory.discard(start, end - start)

    @hookimpl
    def memory_query(self, address: int) -> Region:
        self._collect()
        start, _ = page_range(address, 1)
        found = self._regions.find(start)
        if found is None:
            raise UnmappedRegionError(f"{address:#x} is not mapped")
        return region_of(found)

    @hookimpl
    def memory_query_range(self, address: int, size: int) -> Sequence[Region]:
        self._collect()
        start, length = round_to_page_boundaries(address, size)
        end = min(start + length, ADDRESS_SPACE)
        return [region_of(found) for found in self._regions.overlapping(start, end)]

    @hookimpl
    def memory_lock(self, address: int, size: int) -> None:
        self._collect()
        start, end = page_range(address, size)
        pieces = self._regions.mapped_pieces(start, end)
        for base, _, attributes in pieces:
            if not attributes.protection:
                raise PlatformError(f"{base:#x} may not be touched, so not locked", errno.ENOMEM)
        if self._direct is not None:
            self._direct.deny(start, end)
        done: list[Range[PageAttributes]] = []
        host = self._host()
        try:
            for base, length, attributes in pieces:
                if not attributes.locked:
                    host.lock(base, length)
                    done.append((base, length, attributes))
        except BaseException:
            for base, length, _ in done:
                host.unlock(base, length)
            raise
        self._mark_locked(start, end, pieces, locked=True)

    @hookimpl
    def memory_unlock(self, address: int, size: int) -> None:
        self._collect()
        start, end = page_range(address, size)
        pieces = self._regions.mapped_pieces(start, end)
        self._release_locks(pieces)
        self._mark_locked(start, end, pieces, locked=False)

    @hookimpl
    def platform_closed(self) -> None:
        self._collect()
        if self._host_lock is not None:
            self._release_locks(list(self._regions))

    def _host(self) -> HostLock:
        if self._host_lock is None:
            self._host_lock = HostLock()
        return self._host_lock

    def _release_locks(self, pieces: Sequence[Range[PageAttributes]]) -> None:
        if self._host_lock is None:
            return
        for base, length, attributes in pieces:
            if attributes.locked:
                self._host_lock.unlock(base, length)

    def _mark_locked(
        self, start: int, end: int, pieces: Sequence[Range[PageAttributes]], locked: bool
    ) -> None:
        self._regions.replace(
            start, end, [(base, length, old.with_lock(locked)) for base, length, old in pieces]
        )


def _nothing_to_collect() -> None:
    """On a machine whose guest code changes no protection by itself."""


def _is_plain(request: MapRequest) -> bool:
    """Whether guest code may do with the pages what it likes: they are like any that it maps."""
    return (
        isinstance(request.placement, AnyAddress)
        and isinstance(request.backing, ZeroBacking)
        and request.max_protection is _ANY_PROTECTION
        and not (request.guard or request.shared)
    )


def _attributes_of(request: MapRequest, size: int) -> PageAttributes:
    """Check what a request says of its pages; InvalidParameterError names what is wrong."""
    protection, most = request.protection, request.max_protection
    if protection > Protection.READ_WRITE_EXECUTE:
        raise InvalidParameterError(f"{protection!r} is no protection")
    if most is not Protection.READ_WRITE_EXECUTE and protection & ~most:
        raise InvalidParameterError(f"protection {protection} is more than max_protection {most}")
    if request.guard and protection:
        raise InvalidParameterError(f"a guard's protection must be ---, not {protection}")
    backing = request.backing
    if isinstance(backing, BytesBacking):
        length = memoryview(backing.data).nbytes
        if length > size:
            raise InvalidParameterError(f"{length} bytes do not fit in {size}")
    elif isinstance(backing, FileBacking):
        if backing.offset < 0 or backing.offset % PAGE_SIZE:
            raise InvalidParameterError(
                f"a file offset must be a multiple of {PAGE_SIZE}: {backing.offset}"
            )
        if request.shared:
            raise InvalidParameterError("a file's mapping is private and cannot be shared")
    return PageAttributes(
        protection,
        most,
        request.label,
        not protection and isinstance(backing, ZeroBacking),
        request.guard,
        request.shared,
    )


def _file_of(backing: Backing) -> tuple[int, int, int] | None:
    """Device, inode and offset of a file to be mapped; PlatformError for a bad descriptor."""
    if not isinstance(backing, FileBacking):
        return None
    try:
        status = os.fstat(backing.descriptor)
    except OSError as error:
        raise PlatformError(f"no file to map: {error}", error.errno) from error
    return status.st_dev, status.st_ino, backing.offset


def _runs(pieces: Sequence[Range[PageAttributes]]) -> list[tuple[int, int]]:
    """The contiguous stretches of mapped pieces, as (start, end)."""
    runs: list[tuple[int, int]] = []
    for base, size, _ in pieces:
        if runs and runs[-1][1] == base:
            runs[-1] = (runs[-1][0], base + size)
        else:
            runs.append((base, base + size))
    return runs
