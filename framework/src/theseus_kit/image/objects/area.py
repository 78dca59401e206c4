"""Addresses for images linked from objects, all in reach of each other.

Objects refer to what they believe is linked with them by signed 32-bit displacements. So they are
mapped into one reservation of 1 GiB, which costs nothing where it is not used and goes with the
last of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.errors import OutOfMemoryError
from theseus_kit.values.memory import AddressRange, AtAddress, MapRequest, Protection

if TYPE_CHECKING:
    from pluggy import HookRelay

_SIZE = 1 << 30
_LABEL = "room for relocatable objects"


class ObjectArea:
    """The reservation of one platform."""

    def __init__(self, hooks: HookRelay) -> None:
        self._hooks = hooks
        self._range: AddressRange | None = None
        self._taken: list[AddressRange] = []

    def take(self, size: int, alignment: int) -> int:
        """Take addresses, which are reserved already. Raises PlatformError where there are none."""
        if self._range is None:
            request = MapRequest(_SIZE, Protection.NONE, label=_LABEL)
            self._range = self._hooks.memory_map(request=request).range
        start = self._range.start
        for taken in (*self._taken, AddressRange(self._range.end, self._range.end)):
            start = -(-start // alignment) * alignment
            if start + size <= taken.start:
                break
            start = max(start, taken.end)
        else:
            self._release_if_empty()
            raise OutOfMemoryError(f"no {size:#x} bytes are left for relocatable objects")
        self._taken.append(AddressRange.of_size(start, size))
        self._taken.sort()
        return start

    def give_back(self, taken: AddressRange) -> None:
        """Unmap what :meth:`take` gave, and let others have it."""
        self._hooks.memory_map(
            request=MapRequest(
                taken.size, Protection.NONE, AtAddress(taken.start, replace=True), label=_LABEL
            )
        )
        self._taken.remove(taken)
        self._release_if_empty()

    def _release_if_empty(self) -> None:
        if not self._taken and self._range is not None:
            self._hooks.memory_unmap(address=self._range.start, size=self._range.size)
            self._range = None
