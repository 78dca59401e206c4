"""The guest frames of a thread that wait for Python, as the machine code keeps them.

::

    GUEST_FRAME ──► │ innermost frame │ next │ … │ outermost │ the thread's record
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct

from theseus_kit.machine.native import layout
from theseus_kit.machine.protocol import Waiting
from theseus_kit.values.exceptions import Registers

_SIZE = layout.FRAME_KIND
_WORD = Struct("<Q")
_EXPORTS = frozenset((layout.KIND_EXPORT, layout.KIND_REENTERING))
EXACT = frozenset((layout.KIND_EXCEPTION, layout.KIND_TICK, layout.KIND_PREEMPTION))
"""Kinds of frames whose rip is the very instruction that the guest stopped at."""


def waiting_frames(
    view: memoryview, record: int, export_address: Callable[[int], int], names: Sequence[str]
) -> Iterator[Waiting]:
    """From the innermost frame outwards; exports are found and named by their number."""
    (frame,) = _WORD.unpack_from(view, record + layout.GUEST_FRAME)
    for place in range(frame, record, layout.FRAME_SIZE):
        registers = Registers.from_buffer_copy(view[place : place + _SIZE])
        (kind,) = _WORD.unpack_from(view, place + layout.FRAME_KIND)
        if kind in _EXPORTS:  # whose stub leaves its number in r11
            number = registers.r11
            yield Waiting(registers, False, export_address(number), names[number])
        else:
            yield Waiting(registers, kind in EXACT, None)
