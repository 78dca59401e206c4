"""The regions of an address space: which pages are mapped, and how.

A region is a longest run of pages with equal :class:`PageAttributes`. Queries and changes are
O(log n + k), k being the regions touched. The map keeps account; it asks nothing of a machine.
"""

from __future__ import annotations

from theseus_kit.errors import UnmappedRegionError
from theseus_kit.values.memory import Protection, Region
from theseus_kit.values.record import NamedTuple
from theseus_kit_region.range_map import RangeMap
from theseus_kit_region.range_tree import Range


class PageAttributes(NamedTuple):
    """All that is known of a page; neighbours of which it is equal are one region.

    ``file`` identifies a file-backed page's file as (device, inode, delta), delta being the file
    offset minus the address. Pages that continue each other in memory and in the file have the
    same delta, so equality alone says whether they may be merged, and splitting changes nothing.
    """

    protection: Protection
    max_protection: Protection = Protection.READ_WRITE_EXECUTE
    label: str = ""
    reserved: bool = False
    guarded: bool = False
    shared: bool = False
    locked: bool = False
    file: tuple[int, int, int] | None = None

    def protected(self, protection: Protection) -> PageAttributes:
        """These attributes after a change of protection; access commits what was reserved."""
        return PageAttributes(
            protection,
            self.max_protection,
            self.label,
            self.reserved and not protection,
            self.guarded and not protection,
            self.shared,
            self.locked,
            self.file,
        )

    def with_lock(self, locked: bool) -> PageAttributes:
        return self._replace(locked=locked)


class RegionMap(RangeMap[PageAttributes]):
    """The mapped pages of an address space. Ranges are whole pages."""

    __slots__ = ()

    def mapped_pieces(self, start: int, end: int) -> list[Range[PageAttributes]]:
        """The regions inside [start, end), cut to it.

        Raises UnmappedRegionError, naming the first such page, if one is not mapped.
        """
        pieces = self.pieces(start, end)
        expected = start
        for base, size, _ in pieces:
            if base != expected:
                break
            expected = base + size
        if expected != end:
            raise UnmappedRegionError(
                f"{expected:#x} is not mapped, in the range {start:#x}-{end:#x}"
            )
        return pieces


def region_of(mapped: Range[PageAttributes]) -> Region:
    """The value that hooks answer with, of a range of the map."""
    base, size, attributes = mapped
    return Region(
        base,
        size,
        attributes.protection,
        attributes.max_protection,
        attributes.reserved,
        attributes.guarded,
        attributes.shared,
        attributes.label,
    )
