"""What guest code may do by itself on a machine where it can, without Python: the protocols."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from theseus_kit.values.memory import Protection
from theseus_kit.values.record import NamedTuple


class DirectWork(Enum):
    """What guest code may do with its memory by itself."""

    PROTECT = 0
    """mprotect(2): address, size, protection."""
    UNMAP = 1
    """munmap(2): address, size."""
    MAP = 2
    """mmap(2) of private zero pages anywhere: 0, size, protection, flags."""


class DirectCall(NamedTuple):
    """The shortest way into one guest function, for whoever generates code that calls it."""

    function: Callable[..., int | None]
    """``function(*first, *arguments)``, with up to six integers, returns rax. None: nothing was
    done, for machine code alone cannot make the call, or it must not be made now."""
    first: tuple[int, ...]
    keep: object
    """To be kept for as long as ``function`` may be called."""


class DirectChanges(Protocol):
    """Whoever keeps account of what is mapped, and is told what guest code did by itself."""

    def protected_directly(self, start: int, end: int, protection: Protection) -> None: ...

    def unmapped_directly(self, start: int, end: int) -> None: ...

    def mapped_directly(self, start: int, end: int, protection: Protection, label: str) -> None:
        """Pages that were lent, and perhaps used in the meantime, are mapped as new ones."""
        ...


class DirectMapping(Protocol):
    """Guest code maps and protects memory by itself, without Python, in areas where it may.

    For the provider of memory mapping, which says where, and whose account must follow: it calls
    :meth:`collect` before it answers anything. Nothing happens by itself: a system call has to be
    bound, which whoever serves it does unless somebody watches it.
    """

    def tell(self, account: DirectChanges) -> None:
        """Say who is told of each change, in order, by :meth:`collect`."""
        ...

    def allow(self, start: int, end: int) -> None:
        """Guest code may give pages of this range any protection from now on. All of them are
        mapped. An old area is forgotten where there are too many."""
        ...

    def lend(self, start: int, end: int, label: str) -> None:
        """As :meth:`allow`, and guest code may unmap the range as a whole, and map it again when
        it wants private zero pages of that size anywhere. It is private zero pages now."""
        ...

    def deny(self, start: int, end: int) -> None:
        """Guest code must ask for pages of this range: something else is to be mapped there, they
        are to be unmapped, or there is something to check."""
        ...

    def collect(self) -> None:
        """Tell of the changes made since; those that a later one undoes may be left out."""
        ...

    def bind_caller(self, number: int, work: DirectWork) -> None:
        """Let the instruction whose system call is being served do its work directly.

        Its ``number`` is a constant. What it asks beyond the areas, or wrongly, is still asked as
        a system call.
        """
        ...
