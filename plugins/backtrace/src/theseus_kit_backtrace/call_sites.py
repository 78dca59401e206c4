"""What an LSDA says of one address: whether a landing pad is there, and whether it may catch.

The personality routines of C++ and Rust read these tables when an exception of their own arrives.
Here they are read for unwinds that are none of theirs: where no entry covers an address, C++ means
"terminate", which is not what should become of a frame that is only to be cleaned up.

::

    LSDA ┌──────────────────┬──────────────────┬───────────────────┬────────┬─────────┬───────┐
         │ start: encoding, │ types: encoding, │ call sites:       │ call   │ actions │ types │
         │ pointer if any   │ offset if any    │ encoding, size    │ sites  │         │       │
         └──────────────────┴──────────────────┴───────────────────┴────────┴─────────┴───────┘
    a call site: start, length, landing pad, action + 1; an action: filter, distance to the next

Source: libstdc++'s eh_personality.cc, "Exception Handling Tables" (HP, Itanium).
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit.values.memory import page_ceil
from theseus_kit_backtrace.dwarf_reading import (
    BROKEN,
    POINTER_OMITTED,
    read_pointer,
    read_sleb128,
    read_uleb128,
)

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory

_LARGEST = 1 << 20
"""Bytes of a call-site table after which it is garbage."""
_HEAD = 64


class LandingPad(Enum):
    """What a frame has for an unwind that comes through a call of its."""

    NONE = auto()
    CLEANUP = auto()
    """Destructors."""
    HANDLER = auto()
    """It may catch; destructors may be part of it."""


def landing_pad_at(
    memory: Memory, language_specific_data: int, function_start: int, address: int
) -> LandingPad:
    """The landing pad of the call that holds an address. NONE where the table is broken."""
    try:
        return _find(memory, language_specific_data, function_start, address)
    except (*BROKEN, PlatformError):
        return LandingPad.NONE


def _find(memory: Memory, lsda: int, function_start: int, address: int) -> LandingPad:
    # A short table may be the last thing on the last page of its segment.
    head = memory.read(lsda, min(_HEAD, page_ceil(lsda + 1) - lsda))
    if len(head) < _HEAD:
        with suppress(PlatformError):
            head = memory.read(lsda, _HEAD)
    encoding, position = head[0], 1
    if encoding != POINTER_OMITTED:
        _, position = read_pointer(head, position, encoding, lsda + position)
    encoding = head[position]
    position += 1
    if encoding != POINTER_OMITTED:
        _, position = read_uleb128(head, position)
    encoding = head[position]
    size, position = read_uleb128(head, position + 1)
    table = memory.read(lsda + position, min(size, _LARGEST))
    actions = lsda + position + size
    offset, position = address - function_start, 0
    while position < len(table):
        start, position = read_pointer(table, position, encoding & 0x0F, 0)
        length, position = read_pointer(table, position, encoding & 0x0F, 0)
        pad, position = read_pointer(table, position, encoding & 0x0F, 0)
        action, position = read_uleb128(table, position)
        if offset < start:
            break  # they are in order
        if offset < start + length:
            if not pad:
                return LandingPad.NONE
            return _kind(memory, actions, action)
    return LandingPad.NONE


def _kind(memory: Memory, actions: int, action: int) -> LandingPad:
    if not action:
        return LandingPad.CLEANUP
    first = memory.read(actions + action - 1, 1)
    if first[0] & 0x80:  # a filter of more than six bits
        first += memory.read(actions + action, 9)
    type_filter, _ = read_sleb128(first, 0)
    return LandingPad.HANDLER if type_filter > 0 else LandingPad.CLEANUP
