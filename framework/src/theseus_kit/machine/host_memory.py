"""The process's own memory as one memoryview indexed by address.

Unchecked by nature: reading an address that is not mapped ends the process, so whoever indexes it
has looked the address up first.
"""

from __future__ import annotations

import ctypes

_SIZE = 1 << 47
"""User addresses of an x86-64 Linux process (Documentation/arch/x86/x86_64/mm.rst)."""


def view_of_memory() -> memoryview:
    """All of memory as writable bytes; index and slice it by address."""
    return memoryview((ctypes.c_uint8 * _SIZE).from_address(0)).cast("B")
