"""Host addresses reserved for one native machine.

All native machines of a process live in one range of low addresses, so that one comparison tells
the kernel and the signal handler whether an instruction is a guest's. No host code is there:
programs and libraries are mapped near 85 and 127 TiB, or below 1 GiB.

::

    1 TiB                                                                     80 TiB
    ├─ machine A ────────────────────────┼─ machine B ─────────────┼─ free ─ … ──┤

    base                     base + 32 MiB                                       end
    ┌───────────────────────┬─────────────────────────────────────────────────────┐
    │ the machine's own:    │ territory: guest mappings                           │
    │ exports, placed code  │                                                     │
    └───────────────────────┴─────────────────────────────────────────────────────┘

What is not mapped is PROT_NONE: it costs nothing and faults.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from theseus_kit.errors import MachineError
from theseus_kit.machine.native import system
from theseus_kit.values.memory import AddressRange

GUEST_RANGE: Final = AddressRange(1 << 40, 80 << 40)
OWN_SIZE: Final = 32 << 20

_GIB = 1 << 30
_SMALLEST = 4 * _GIB
_KEPT = 5


class Territory:
    """The reserved range; given back by :meth:`release`, at the latest when it is collected."""

    def __init__(self, size: int) -> None:
        self.size = 0
        self.base, self.size = _reserve(max(size, _SMALLEST))
        system.advise(self.base, self.size, system.MADV_DONTDUMP)
        self.own = AddressRange(self.base, self.base + OWN_SIZE)
        self.guest = AddressRange(self.base + OWN_SIZE, self.base + self.size)

    def release(self) -> None:
        """Give the whole range back."""
        if self.size:
            system.release(self.base, self.size)
            self.size = 0

    def __del__(self) -> None:
        self.release()


def _reserve(wanted: int) -> tuple[int, int]:
    size, error = wanted, errno.ENOMEM
    while size >= _SMALLEST:
        # The last places are kept for smaller territories, so that there are some for the next.
        last = GUEST_RANGE.end - _KEPT * size
        for base in range(GUEST_RANGE.start, last + 1, size):
            error = system.reserve(base, size)
            if not error:
                return base, size
            if error != errno.EEXIST:  # too much, wherever it is
                break
        size //= 2
    raise MachineError(
        f"the host refuses to reserve {_SMALLEST // _GIB} GiB of addresses between 1 and 80 TiB "
        f"({os.strerror(error)}): raise the limit on address space (ulimit -v), or close machines"
    )
