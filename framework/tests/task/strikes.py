"""Has a signal handler of Python's raise at any one place of given code where Python lets it.

CPython runs signal handlers between two instructions, and not between any two: after a call, at a
jump backwards, at a function's beginning. :class:`Strike` makes the signal pending just before a
chosen instruction, from a trace function, without an instruction of Python's own in between that
would look for it. So the interpreter itself decides where the handler runs, as ever.
"""

from __future__ import annotations

import dis
import signal
import sys
from _thread import interrupt_main
from collections import Counter
from collections.abc import Iterator
from functools import cache
from types import CodeType, FrameType
from typing import Any

_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
_AFTER_WHICH_PYTHON_LOOKS = ("CALL", "JUMP_BACKWARD", "RESUME")

_NOTHING: Iterator[object] = iter(())

Place = tuple[CodeType, int]
"""An instruction: a function's code and the offset in it."""


class Struck(Exception):
    """What the handler raises: no kin of any error that somebody may take for his own."""


class Strike:
    """While the context is open, notes where code of some files is, and strikes there once.

    ``at`` is a place and the number of the visit to it, from 1 on; None strikes nowhere.
    With ``twice`` two signals come at once: the second strikes wherever Python looks next.
    ``everywhere``: all instructions are places, not only those after which Python is known to look.
    """

    def __init__(
        self,
        files: frozenset[str],
        at: tuple[Place, int] | None = None,
        *,
        twice: bool = False,
        everywhere: bool = False,
    ) -> None:
        self.visits: Counter[Place] = Counter()
        self.raised: list[Struck] = []
        """What came out of the handler. What it raises in a finaliser is Python's to drop."""
        self._files = files
        self._struck: list[FrameType] = []
        self._at = at
        self._everywhere = everywhere
        self._strike = map(interrupt_main, _SIGNALS[: 1 + twice])
        """Who asks it for its elements makes the signals pending."""

    def __enter__(self) -> Strike:
        self._handlers = [signal.signal(number, self._handle) for number in _SIGNALS]
        self._unraisable = sys.unraisablehook
        sys.unraisablehook = self._drop
        self._tracer = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for one before it begins
        sys.settrace(self._enter_function)
        return self

    def __exit__(self, *details: object) -> None:
        sys.settrace(self._tracer)
        sys.unraisablehook = self._unraisable
        for number, handler in zip(_SIGNALS, self._handlers, strict=True):
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        sys.settrace(None)  # the next signal is to strike Python's own instructions, not a tracer's
        for struck in self._struck:
            struck.f_trace_opcodes = True
        error = Struck()
        self.raised.append(error)
        raise error

    def _drop(self, dropped: Any) -> None:
        if isinstance(dropped.exc_value, Struck):
            self.raised.remove(dropped.exc_value)
        else:
            self._unraisable(dropped)

    def _enter_function(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return _trace

    def visit(self, frame: FrameType) -> Iterator[object]:
        """Count a visit; return what makes the signal pending if it is the one to strike at."""
        place = frame.f_code, frame.f_lasti
        if not self._everywhere and not _is_looked_after(place):
            return _NOTHING
        self.visits[place] += 1
        if self._at != (place, self.visits[place]):
            return _NOTHING
        self._struck.append(frame)
        frame.f_trace_opcodes = False  # nor is the trace function called until the handler is
        return self._strike


def _trace(frame: FrameType, event: str, argument: Any) -> Any:
    """Traces a function's instructions. The frames of a waiting task keep it for the next strike:
    whose they are then is looked up."""
    trace = _trace
    strike = getattr(sys.gettrace(), "__self__", None)
    if event == "opcode" and isinstance(strike, Strike):
        asked = strike.visit(frame)
        _ = [*asked]  # no call of Python's from here on: it looks when it is back there
    return trace


@cache
def _is_looked_after(place: Place) -> bool:
    return place[1] in _places_of(place[0])


@cache
def _places_of(code: CodeType) -> frozenset[int]:
    return frozenset(
        instruction.offset
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith(_AFTER_WHICH_PYTHON_LOOKS)
    )
