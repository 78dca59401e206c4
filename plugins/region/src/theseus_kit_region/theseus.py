"""The plugin with the quirks of Theseus's ports: what a runtime gets that maps memory there.

Theseus has no mmap(2). Its kernel hands out ``MappedPages``, exact to the page, and two ports are
written on top of them: region-rs's (theseus-os/region-rs, ``src/os/theseus.rs``) and libc's
(Theseus, ``tlibc/src/mm.rs``). Both keep a list of the mappings that went through them, look one
up by an address in it, and know nothing smaller:

* ``protect`` and ``free`` act on the whole mapping, whatever size they are given; an address that
  is in none is UnmappedRegion, and ``munmap`` answers EINVAL;
* a page that is mapped is present, and a present page is readable: no access cannot be expressed;
* ``mmap`` at an address that is taken maps anywhere else. It ignores flags (so MAP_FIXED too),
  descriptor and offset: all mappings are zero pages. region-rs's ``alloc_at`` refuses such a
  place, where region-rs on POSIX systems maps over what is there;
* locking does nothing: nothing is ever swapped;
* queries tell that every mapping is shared, none reserved, none a guard.

What the platform maps for itself (images, stacks, its heap) is the kernel's business on Theseus
and goes by ``MappedPages``: split, remapped and merged by pages, as
:class:`~theseus_kit_region.plugin.RegionPlugin` does. A request's label tells the two apart.
Discarding contents, which neither port has, is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.capabilities import Capability
from theseus_kit.errors import InvalidParameterError
from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import PluginDescription, Services, option
from theseus_kit.values.memory import (
    AnyAddress,
    AtAddress,
    FileBacking,
    MapRequest,
    Protection,
    Region,
    ZeroBacking,
)
from theseus_kit_region.page import page_range
from theseus_kit_region.plugin import RegionOptions, RegionPlugin

if TYPE_CHECKING:
    from theseus_kit.machine.direct import DirectMapping
    from theseus_kit_region.range_tree import Range
    from theseus_kit_region.region_map import PageAttributes

_LIBC, _REGION = "mmap", ("allocation", "")
"""Labels of what comes through the ports: C's mmap; RegionOperations, and whoever says nothing."""
_PORT = -1
"""In the place of a device: the mapping is a port's, and like no other one beside it."""


class NoAccess(Enum):
    """What becomes of a request for pages without access, which cannot be expressed."""

    READABLE = "readable"
    """The pages are mapped, so they can be read: the ports' own answer."""
    REFUSED = "refused"
    """InvalidParameterError: what a port would answer that noticed."""


@dataclass(eq=False, repr=False)
class TheseusRegionOptions(RegionOptions):
    """The plugin's options."""

    no_access: NoAccess = option(
        NoAccess.READABLE,
        help="what a request for pages without access gets: readable pages, or refused",
    )


class TheseusRegionPlugin(RegionPlugin):
    """Memory mapping as Theseus's ports of region and libc have it: by whole mappings."""

    description: ClassVar[PluginDescription] = PluginDescription(
        name="region-theseus",
        version="0.1.0",
        summary="memory mapping with the quirks of Theseus's ports of region and libc",
        provides=frozenset({Group.MEMORY_MAPPING}),
        options=TheseusRegionOptions,
        lacks=frozenset(
            {
                Capability.PARTIAL_RANGES,
                Capability.LENIENT_UNMAP,
                Capability.FILE_BACKING,
                Capability.MAX_PROTECTION,
                Capability.LOCKING,
                Capability.LABELS,
            }
        ),
    )

    def __init__(self, services: Services, options: TheseusRegionOptions) -> None:
        super().__init__(services, options)
        self._no_access = options.no_access
        self._numbers = count()

    def _direct_mapping(self) -> DirectMapping | None:
        return None  # guest code by itself would do what is asked, to the page

    @hookimpl
    def memory_map(self, request: MapRequest) -> Region:
        if request.label != _LIBC and request.label not in _REGION:
            return super().memory_map(request)
        placement = request.placement
        if isinstance(placement, AtAddress):
            placement = AtAddress(placement.address)
            start, end = page_range(placement.address, request.size)
            if request.label == _LIBC and not self._pages.is_free(start, end):
                placement = AnyAddress()
        backing = request.backing
        mapped = super().memory_map(
            request._replace(
                placement=placement,
                protection=self._expressible(request.protection),
                backing=ZeroBacking() if isinstance(backing, FileBacking) else backing,
                max_protection=Protection.READ_WRITE_EXECUTE,
                guard=False,
                shared=True,
            )
        )
        base, size = mapped.base, mapped.size
        ((_, _, attributes),) = self._regions.pieces(base, base + size)
        own = attributes._replace(file=(_PORT, next(self._numbers), 0))
        self._regions.replace(base, base + size, [(base, size, own)])
        return mapped

    def _expressible(self, protection: Protection) -> Protection:
        if not protection and self._no_access is NoAccess.REFUSED:
            raise InvalidParameterError("pages without access cannot be expressed")
        if protection > Protection.READ_WRITE_EXECUTE:
            raise InvalidParameterError(f"{protection!r} is no protection")
        return Protection(int(protection) | 1)

    def _mapping(self, address: int) -> Range[PageAttributes] | None:
        """The mapping of a port's that holds an address."""
        found = self._regions.find(address)
        return None if found is None or not _is_port_s(found) else found

    @hookimpl
    def memory_protect(self, address: int, size: int, protection: Protection) -> None:
        start, _ = page_range(address, size)
        mapping = self._mapping(start)
        if mapping is None:
            super().memory_protect(address, size, protection)
        else:
            super().memory_protect(mapping[0], mapping[1], self._expressible(protection))

    @hookimpl
    def memory_unmap(self, address: int, size: int) -> None:
        start, _ = page_range(address, size)
        mapping = self._mapping(start)
        if mapping is not None:
            super().memory_unmap(mapping[0], mapping[1])
        elif self._regions.find(start) is None:
            raise InvalidParameterError(f"{address:#x} is in no mapping")
        else:
            super().memory_unmap(address, size)

    @hookimpl
    def memory_lock(self, address: int, size: int) -> None:
        page_range(address, size)

    @hookimpl
    def memory_unlock(self, address: int, size: int) -> None:
        page_range(address, size)


def _is_port_s(found: Range[PageAttributes]) -> bool:
    file = found[2].file
    return file is not None and file[0] == _PORT
