"""Memory mapping for theseus-kit: region-rs's operations over Theseus's page allocator.

``RegionPlugin`` answers the memory-mapping hooks. The rest is usable on its own: the page
allocator, the region map beneath the plugin, and region-rs's operations as a Python API over any
platform's hooks, whichever plugin answers them.
"""

from theseus_kit_region import page
from theseus_kit_region.operations import Allocation, LockGuard, ProtectGuard, RegionOperations
from theseus_kit_region.page_allocator import AllocatedPages, PageAllocator
from theseus_kit_region.plugin import RegionOptions, RegionPlugin
from theseus_kit_region.region_map import PageAttributes, RegionMap

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
    "page",
]
