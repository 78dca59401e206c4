"""Guest memory for the duration of a call: where host memory that a call passes is copied to.

A bump allocator: a call notes ``top``, reserves, and sets ``top`` back when it is done, so nested
calls stack up and nothing is freed one by one.

    base                         top                                   end
    ┌────────────┬───────────────┬──────────────────────────────────────┬────────────┐
    │ guard page │ calls running │ free                                  │ guard page │
    └────────────┴───────────────┴──────────────────────────────────────┴────────────┘

What does not fit (a module's bytes) gets a mapping of its own for as long as its call runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from theseus_kit.values.memory import PAGE_SIZE, AtAddress, MapRequest, Protection, page_ceil

if TYPE_CHECKING:
    from pluggy import HookRelay

SIZE = 256 << 10
"""Bytes for all the calls in progress; larger things are mapped on their own."""

LARGE = SIZE // 4
"""From here on a reservation gets its own mapping."""

Area: TypeAlias = int
"""One task's memory, by its address."""

ALIGNMENT = 16
"""Of every reservation: the strictest that the System V ABI asks for of a structure."""


class Scratch:
    """Reserves guest memory in stack order. Callers set :attr:`top` back themselves::

    mark = scratch.top
    try: ... scratch.reserve(24) ...
    finally: scratch.top = mark

    Each task has an area of its own, of which the running one's is in use here.
    """

    def __init__(self, hooks: HookRelay) -> None:
        self._hooks = hooks
        self._free: list[Area] = []
        self.enter_new()

    def enter_new(self) -> None:
        """Go on in an area that nobody uses."""
        start = self._free.pop() if self._free else self._map()
        self.enter(start, start)

    def enter(self, area: Area, top: int) -> None:
        """Go on in an area that :meth:`leave` told of."""
        self._area = area
        self.top = top
        self._end = area + SIZE

    def leave(self) -> tuple[Area, int]:
        """Tell where to go on later."""
        return self._area, self.top

    def give_back(self) -> None:
        """Nobody will go on in this area."""
        self._free.append(self._area)

    def _map(self) -> Area:
        return map_guarded(self._hooks, SIZE, "arguments of calls")

    def reserve(self, size: int) -> int | None:
        """Return the address of ``size`` bytes, None where :meth:`map_large` must do it."""
        address = self.top
        top = (address + size + ALIGNMENT - 1) & -ALIGNMENT
        if size >= LARGE or top > self._end:
            return None
        self.top = top
        return address

    def map_large(self, size: int) -> int:
        """Return the address of ``size`` bytes in a mapping of their own.

        Raises OutOfMemoryError.
        """
        return map_guarded(self._hooks, size, "arguments of one call")

    def unmap_large(self, address: int, size: int) -> None:
        """Give back what :meth:`map_large` returned for ``size``."""
        self._hooks.memory_unmap(address=address - PAGE_SIZE, size=page_ceil(size) + 2 * PAGE_SIZE)


def map_guarded(hooks: HookRelay, size: int, label: str) -> int:
    """Return the address of ``size`` bytes between guard pages. Raises OutOfMemoryError."""
    size = page_ceil(size)
    whole = hooks.memory_map(
        request=MapRequest(size + 2 * PAGE_SIZE, Protection.NONE, label=f"guards of {label}")
    )
    address: int = whole.base + PAGE_SIZE
    hooks.memory_map(
        request=MapRequest(
            size, Protection.READ_WRITE, AtAddress(address, replace=True), label=label
        )
    )
    return address
