"""Memory mapping for theseus-kit: region-rs's operations over Theseus's page allocator.

``RegionPlugin`` answers the memory-mapping hooks to the page, ``TheseusRegionPlugin`` as Theseus's
ports do. The rest is usable on its own: the page allocator, the region map beneath the plugins, and
region-rs's operations as a Python API over any platform's hooks, whichever plugin answers them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theseus_kit_region import page
from theseus_kit_region.page_allocator import AllocatedPages, PageAllocator
from theseus_kit_region.plugin import RegionOptions, RegionPlugin
from theseus_kit_region.region_map import PageAttributes, RegionMap

if TYPE_CHECKING:
    from theseus_kit_region.operations import (
        Allocation,
        LockGuard,
        ProtectGuard,
        RegionOperations,
    )
    from theseus_kit_region.theseus import TheseusRegionOptions, TheseusRegionPlugin

__all__ = [
    "AllocatedPages",
    "Allocation",
    "LockGuard",
    "PageAllocator",
    "PageAttributes",
    "ProtectGuard",
    "RegionMap",
    "RegionOperations",
    "RegionOptions",
    "RegionPlugin",
    "TheseusRegionOptions",
    "TheseusRegionPlugin",
    "page",
]


def __getattr__(name: str) -> Any:
    """Import the other provider and the Python API where they are wanted: every start imports this
    package."""
    if name in ("TheseusRegionOptions", "TheseusRegionPlugin"):
        from theseus_kit_region import theseus

        return getattr(theseus, name)
    if name in ("Allocation", "LockGuard", "ProtectGuard", "RegionOperations"):
        from theseus_kit_region import operations

        return getattr(operations, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
