"""region-rs 3.0's operations as a Python API, over any platform's memory-mapping hooks.

region-rs's functions are global because a process has one address space; here each platform has
one, so they are methods of :class:`RegionOperations`, made of the platform's hooks. What Rust does
when a value is dropped happens here at the end of a ``with`` block, or by :meth:`close`. There are
no finalisers: a forgotten :class:`Allocation` stays mapped until its platform is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from theseus_kit.values.memory import (
    AddressRange,
    AtAddress,
    MapRequest,
    Placement,
    Protection,
    Region,
)
from theseus_kit_region import page
from theseus_kit_region.page_allocator import ANYWHERE

if TYPE_CHECKING:
    from pluggy import HookRelay


class _Closing:
    """Something that undoes itself once: at the end of a ``with`` block, or when closed."""

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo: Callable[[], None] | None = undo

    def close(self) -> None:
        """Undo now. Doing so twice is nothing."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    def forget(self) -> None:
        """Never undo, as ``std::mem::forget`` of the Rust value."""
        self._undo = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Allocation(_Closing):
    """Pages of one :meth:`RegionOperations.alloc`; unmapped when closed."""

    def __init__(self, base: int, size: int, free: Callable[[], None]) -> None:
        super().__init__(free)
        self.base = base
        self.size = size

    def __len__(self) -> int:
        return self.size

    @property
    def range(self) -> AddressRange:
        return AddressRange(self.base, self.base + self.size)

    def into_raw_parts(self) -> tuple[int, int]:
        """Give up ownership: (base, size) stay mapped until somebody unmaps them."""
        self.forget()
        return self.base, self.size

    def __repr__(self) -> str:
        return f"<Allocation {self.base:#x}-{self.base + self.size:#x}>"


class ProtectGuard(_Closing):
    """A change of protection for a while: closing gives each page its old protection back."""


class LockGuard(_Closing):
    """Locked pages; unlocked when closed."""


class RegionOperations:
    """region-rs on one platform: ``RegionOperations(platform.hooks)``.

    Addresses are rounded down to their page, sizes up relative to the address. A size of zero is
    InvalidParameterError everywhere.
    """

    page = page

    def __init__(self, hooks: HookRelay) -> None:
        self._hooks = hooks

    def alloc(
        self, size: int, protection: Protection, placement: Placement = ANYWHERE
    ) -> Allocation:
        """Map zero pages. Beyond region-rs, ``placement`` says where. Raises as memory_map."""
        region: Region = self._hooks.memory_map(
            request=MapRequest(size, protection, placement, label="allocation")
        )
        return Allocation(
            region.base,
            region.size,
            lambda: self._hooks.memory_unmap(address=region.base, size=region.size),
        )

    def alloc_at(self, address: int, size: int, protection: Protection) -> Allocation:
        """Map zero pages at an address, over whatever was there (MAP_FIXED, as region-rs has it
        on POSIX systems). Raises as memory_map."""
        return self.alloc(size, protection, AtAddress(address, replace=True))

    def protect(self, address: int, size: int, protection: Protection) -> None:
        """Change the protection of pages. Raises UnmappedRegionError and changes nothing if any
        is not mapped."""
        self._hooks.memory_protect(address=address, size=size, protection=protection)

    def protect_with_handle(self, address: int, size: int, protection: Protection) -> ProtectGuard:
        """Change the protection of pages until the guard is closed. Raises as :meth:`protect`.

        Closing raises UnmappedRegionError for pages unmapped in the meantime.
        """
        base, length = page.round_to_page_boundaries(address, size)
        before = self.query_range(base, length)
        self.protect(base, length, protection)

        def restore() -> None:
            for region in before:
                start = max(region.base, base)
                end = min(region.base + region.size, base + length)
                self.protect(start, end - start, region.protection)

        return ProtectGuard(restore)

    def query(self, address: int) -> Region:
        """The region that holds an address. Raises UnmappedRegionError."""
        region: Region = self._hooks.memory_query(address=address)
        return region

    def query_range(self, address: int, size: int) -> Sequence[Region]:
        """The regions that overlap a range, whole, in order; what exceeds the address space is
        cut off, so ``query_range(0, 2**64 - 1)`` lists them all."""
        regions: Sequence[Region] = self._hooks.memory_query_range(address=address, size=size)
        return regions

    def lock(self, address: int, size: int) -> LockGuard:
        """Keep pages in host memory until the guard is closed. Raises UnmappedRegionError, and
        PlatformError with the host's errno where its limit (RLIMIT_MEMLOCK) is reached."""
        base, length = page.round_to_page_boundaries(address, size)
        self._hooks.memory_lock(address=base, size=length)
        return LockGuard(lambda: self.unlock(base, length))

    def unlock(self, address: int, size: int) -> None:
        """Undo :meth:`lock` without its guard. Raises UnmappedRegionError."""
        self._hooks.memory_unlock(address=address, size=size)
