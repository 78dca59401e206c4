"""The guest frames that wait for Python, off the chain of frames that the machine code keeps.

::

    CONTEXT_FRAME ──► frame of the innermost export, exception, … ──OUTER──► the next ──► … ──► 0
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct

from theseus_kit.machine.native import layout
from theseus_kit.machine.protocol import Waiting
from theseus_kit.values.exceptions import Registers

_SIZE = layout.FRAME_KIND
_KIND_AND_OUTER = Struct("<QQ")
_EXPORTS = frozenset((layout.KIND_EXPORT, layout.KIND_REENTERING))
_EXACT = frozenset((layout.KIND_EXCEPTION, layout.KIND_TICK))


def waiting_frames(
    view: memoryview, frame: int, export_address: Callable[[int], int], names: Sequence[str]
) -> Iterator[Waiting]:
    """From the innermost frame outwards; exports are found and named by their number."""
    while frame:
        registers = Registers.from_buffer_copy(view[frame : frame + _SIZE])
        kind, outer = _KIND_AND_OUTER.unpack_from(view, frame + layout.FRAME_KIND)
        if kind in _EXPORTS:  # whose stub leaves its number in r11
            number = registers.r11
            yield Waiting(registers, False, export_address(number), names[number])
        else:
            yield Waiting(registers, kind in _EXACT, None)
        frame = outer
