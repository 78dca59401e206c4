"""Unwinds that Python starts: a kill that runs the guest's destructors on its way out.

The guest is not asked whether it handles a kill. Each frame with a landing pad is told to clean up,
as by a forced unwind: its landing pad runs on the frame's own registers and stack, in a nested call
whose own frame is on a stack kept for it, and ends in ``_Unwind_Resume``, which leads to the next
frame's and from the last one to the end of the nested call.

::

    task's stack  │ outer frames       │ ← landing pads run here, below each frame's stack pointer
                  │ dead inner frames  │
    unwind stack  │ the nested call    │ ← nothing of the guest's but what has to come back

A handler that would catch everything (C++'s ``catch (...)``) is entered and, where it does not
throw on, left by force where it ends, as pthread_cancel(3) would have it. Rust aborts on
exceptions of other languages in its handlers, so those are passed over.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from theseus_kit.errors import GuestError
from theseus_kit.machine.landing import Landing
from theseus_kit.values.memory import MapRequest
from theseus_kit_backtrace.call_sites import LandingPad, landing_pad_at
from theseus_kit_backtrace.unwind_contexts import Context

if TYPE_CHECKING:
    from theseus_kit.plugin import Services
    from theseus_kit.values.exceptions import Registers
    from theseus_kit.values.symbols import Frame
    from theseus_kit_backtrace.raising import Personalities

_CLASS = int.from_bytes(b"THESEUS\0", "big")
_STACK_SIZE = 1 << 16
_ROOM = 0x400
"""Bytes of the unwind stack that each kill in progress takes: they nest where a destructor dies."""
_OBJECT_SIZE = 64
_CLEANUP_PHASE, _FORCE_UNWIND, _INSTALL_CONTEXT = 2, 8, 7


class Killing:
    """The kills in progress on one platform, the innermost last."""

    def __init__(self, services: Services, personalities: Personalities) -> None:
        self._services = services
        self._personalities = personalities
        self._landing = Landing(services.machine)
        self._tops: list[int] = []
        self._aborting: dict[int, bool] = {}

    @cached_property
    def _stack_end(self) -> int:
        request = MapRequest(_STACK_SIZE, label="unwind stack")
        end: int = self._services.hooks.memory_map(request=request).range.end
        return end

    def owns(self, exception: int) -> bool:
        """Whether an exception object is that of the kill in progress."""
        return bool(self._tops) and exception == self._tops[-1]

    def clean_up(self, registers: Registers, is_exact: bool) -> bool:
        """Run the landing pads from a register state to the entry of the call it is in.

        False if the guest died once more on the way, or cannot be called now.
        """
        used = _ROOM * len(self._tops)
        if used + _ROOM > _STACK_SIZE // 2 or not self._services.machine.can_call:
            return False
        top = self._stack_end - used - _OBJECT_SIZE
        memory = self._services.machine.memory
        self._tops.append(top)
        try:
            memory.write(top, _CLASS.to_bytes(8, "little") + bytes(_OBJECT_SIZE - 8))
            landing = self._next(registers, is_exact)
            if landing is not None:
                self._landing.run_at(landing, top)
        except GuestError:
            # The kill it was for is the one to tell of.
            return False
        finally:
            self._tops.pop()
        return True

    def go_on(self) -> Registers:
        """From a landing pad to the next one, or to the end of the nested call."""
        registers = self._services.machine.registers()
        landing = self._next(registers, is_exact=False)
        return landing or self._landing.end_of(self._tops[-1], registers)

    def _next(self, registers: Registers, is_exact: bool) -> Registers | None:
        actions = _CLEANUP_PHASE | _FORCE_UNWIND
        for frame in self._personalities.frames(registers, is_exact):
            if self._cleans_up(frame):
                context = Context(frame)
                answer = self._personalities.ask(context, actions, _CLASS, self._tops[-1])
                if answer == _INSTALL_CONTEXT:
                    return self._personalities.landing(context)
        return None

    def _cleans_up(self, frame: Frame) -> bool:
        """A personality routine may be asked about a frame: it will neither terminate nor abort."""
        if frame.personality is None or frame.language_specific_data is None:
            return False
        pad = landing_pad_at(
            self._services.machine.memory,
            frame.language_specific_data,
            frame.function_start or 0,
            frame.lookup_address,
        )
        if pad is LandingPad.HANDLER:
            return not self._aborts_in_handlers(frame.personality)
        return pad is LandingPad.CLEANUP

    def _aborts_in_handlers(self, personality: int) -> bool:
        known = self._aborting.get(personality)
        if known is None:
            symbols = self._services.hooks.symbolicate(address=personality)
            known = any("rust_eh_personality" in (symbol.name or "") for symbol in symbols)
            self._aborting[personality] = known
        return known
