"""Raising: the two phases of an exception that guest code throws, over the platform's unwinder.

::

    guest: throw → _Unwind_RaiseException (C function, Python)
       phase 1   up the stack, each frame's personality routine is asked: do you handle it?
       phase 2   up the stack again, each is told to clean up; the first that wants to is landed in
    guest: landing pad → destructors → _Unwind_Resume → phase 2 goes on

Both phases call the image's own personality routines in the guest. Where a Python function stands
between the frames, phase 1 looks past it (:meth:`Machine.waiting`); phase 2 raises a
:class:`GuestUnwinding` there, which ends the inner call as any Python error does and goes on in
the outer guest frames where the Python function's own export ends. Unwinds that Python starts are
``killing.py``'s.

Source: Itanium C++ ABI, "Exception Handling", level I; libgcc's unwind.inc where that is silent.
The guest's struct _Unwind_Exception::

    ┌───────────┬─────────┬──────────────────┬─────────────────────────────┐
    │ class u64 │ cleanup │ private 1: stop  │ private 2: handler's frame, │
    │           │         │ function, if any │ or the stop's argument      │
    └───────────┴─────────┴──────────────────┴─────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from theseus_kit.errors import GuestKilled, GuestUnwinding
from theseus_kit.machine.landing import Landing
from theseus_kit.values.exceptions import Panicked, Registers
from theseus_kit.values.record import NamedTuple
from theseus_kit_backtrace.unwind_contexts import Context, Contexts

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit.plugin import Services
    from theseus_kit.values.symbols import Frame
    from theseus_kit_backtrace.dwarf_unwinder import DwarfUnwinder
    from theseus_kit_backtrace.killing import Killing

NO_REASON, FOREIGN_EXCEPTION_CAUGHT = 0, 1
FATAL_PHASE2_ERROR, FATAL_PHASE1_ERROR = 2, 3
END_OF_STACK, HANDLER_FOUND, INSTALL_CONTEXT, CONTINUE_UNWIND = 5, 6, 7, 8
SEARCH_PHASE, CLEANUP_PHASE, HANDLER_FRAME, FORCE_UNWIND, AT_END_OF_STACK = 1, 2, 4, 8, 16
"""_Unwind_Reason_Code and _Unwind_Action."""

_VERSION = 1
_CODE = 0xFFFF_FFFF
_CLEANUP, _PRIVATE_1, _PRIVATE_2 = 8, 16, 24
DEEPEST_STACK = 1 << 20
"""Frames after which a stack is taken for one that does not end."""


class GuestException(NamedTuple):
    """A guest's exception object: its address and what the two sides keep in it."""

    address: int
    language: int
    cleanup: int
    stop: int
    private: int


class Personalities:
    """Walks and calls of personality routines: what raising and killing have in common."""

    def __init__(
        self, services: Services, unwinder: Callable[[], DwarfUnwinder], contexts: Contexts
    ) -> None:
        self.machine = services.machine
        self.contexts = contexts
        self._tasks = services.tasks
        self._unwinder = unwinder

    def frames(self, registers: Registers, is_exact: bool = False) -> Iterator[Frame]:
        """The frames from a register state to the entry of the call it is in."""
        stack = self._tasks.current.stack
        return self._unwinder().walk(registers, stack, is_exact, DEEPEST_STACK)

    def ask(self, context: Context, actions: int, language: int, exception: int) -> int:
        """Call a frame's personality routine; CONTINUE_UNWIND for a frame that has none."""
        personality = context.frame.personality
        if personality is None:
            return CONTINUE_UNWIND
        number = self.contexts.open(context)
        try:
            arguments = (_VERSION, actions, language, exception, number)
            return self.machine.call(personality, arguments) & _CODE
        finally:
            self.contexts.close()

    def landing(self, context: Context) -> Registers:
        """The registers of a frame whose landing pad a personality routine has chosen."""
        context.registers.rsp += context.frame.arguments_size
        return context.registers


class Raising:
    """The functions that raise, for one platform."""

    def __init__(self, services: Services, personalities: Personalities, killing: Killing) -> None:
        self._services = services
        self._personalities = personalities
        self._killing = killing
        self._landing = Landing(services.machine)

    def raise_exception(self, address: int) -> int:
        """_Unwind_RaiseException: does not return if there is a handler, else says why not."""
        exception = self._read(address)
        found, handler = self._search(exception)
        if found != HANDLER_FOUND:
            if found == END_OF_STACK and self._services.tasks.current.catches:
                # Nobody in the guest, but Python, in catch_unwind.
                self.delete_exception(address)
                raise GuestKilled(Panicked(f"uncaught {describe(exception.language)}"))
            return found
        return self._clean_up(self._write(exception._replace(stop=0, private=handler)))

    def resume(self, address: int) -> int:
        """_Unwind_Resume: go on with what a landing pad has interrupted."""
        if self._killing.owns(address):
            return self._landing.go_on_at(self._killing.go_on())
        return self.go_on(address)

    def resume_or_rethrow(self, address: int) -> int:
        """_Unwind_Resume_or_Rethrow: what a ``throw;`` does with another language's exception."""
        if self._killing.owns(address):
            return self._landing.go_on_at(self._killing.go_on())
        if self._read(address).stop:
            return self.go_on(address)
        return self.raise_exception(address)

    def forced_unwind(self, address: int, stop: int, argument: int) -> int:
        """_Unwind_ForcedUnwind: clean up as long as ``stop(…, argument)`` lets it."""
        return self._force(self._write(self._read(address)._replace(stop=stop, private=argument)))

    def delete_exception(self, address: int) -> int:
        """_Unwind_DeleteException: have the language that made an exception destroy it."""
        if self._killing.owns(address):
            # A handler has swallowed a kill: it goes on as if it had been thrown on.
            return self._landing.go_on_at(self._killing.go_on())
        cleanup = self._read(address).cleanup
        if cleanup:
            self._services.machine.call(cleanup, (FOREIGN_EXCEPTION_CAUGHT, address))
        return 0

    def go_on(self, address: int, live: Registers | None = None) -> int:
        """Phase 2 from the innermost guest frame on; returns what the export has to return.

        ``live`` are the registers of an exception's handler, which are changed to land. Raises
        GuestUnwinding where it has to go on further out.
        """
        exception = self._read(address)
        if exception.stop:
            return self._force(exception, live)
        return self._clean_up(exception, live)

    def _frames(self, live: Registers | None) -> Iterator[Frame]:
        if live is not None:
            return self._personalities.frames(live, is_exact=True)
        return self._personalities.frames(self._services.machine.registers())

    def _land(self, context: Context, live: Registers | None) -> int:
        registers = self._personalities.landing(context)
        if live is None:
            return self._landing.go_on_at(registers)
        flags = live.rflags
        memoryview(live).cast("B")[:] = memoryview(registers).cast("B")
        live.rflags = flags
        return 0

    def _search(self, exception: GuestException) -> tuple[int, int]:
        """Phase 1: (HANDLER_FOUND, the stack pointer of the frame), or why it was not."""
        ask = self._personalities.ask
        for waiting in self._services.machine.waiting():
            for frame in self._personalities.frames(waiting.registers, waiting.is_exact):
                if frame.personality is None:
                    continue
                answer = ask(Context(frame), SEARCH_PHASE, exception.language, exception.address)
                if answer == HANDLER_FOUND:
                    return HANDLER_FOUND, frame.stack_pointer
                if answer != CONTINUE_UNWIND:
                    return FATAL_PHASE1_ERROR, 0
        return END_OF_STACK, 0

    def _clean_up(self, exception: GuestException, live: Registers | None = None) -> int:
        """Phase 2: land in the next frame that cleans up or handles."""
        ask, handler = self._personalities.ask, exception.private
        for frame in self._frames(live):
            is_handler = frame.stack_pointer == handler
            if frame.personality is None and not is_handler:
                continue
            context = Context(frame)
            actions = CLEANUP_PHASE | (HANDLER_FRAME if is_handler else 0)
            answer = ask(context, actions, exception.language, exception.address)
            if answer == INSTALL_CONTEXT:
                return self._land(context, live)
            if answer != CONTINUE_UNWIND or is_handler:
                raise _broken(exception, f"a personality routine answered {answer}")
        return self._go_on_outside(exception)

    def _force(self, exception: GuestException, live: Registers | None = None) -> int:
        """Phase 2 without a phase 1: each frame's stop function decides whether to go on."""
        machine, contexts = self._services.machine, self._personalities.contexts
        actions = CLEANUP_PHASE | FORCE_UNWIND
        head = (_VERSION, actions, exception.language, exception.address)
        last = None
        for frame in self._frames(live):
            last = context = Context(frame)
            number = contexts.open(context)
            try:
                answer = machine.call(exception.stop, (*head, number, exception.private))
            finally:
                contexts.close()
            if answer & _CODE != NO_REASON:
                return FATAL_PHASE2_ERROR
            answer = self._personalities.ask(
                context, actions, exception.language, exception.address
            )
            if answer == INSTALL_CONTEXT:
                return self._land(context, live)
            if answer != CONTINUE_UNWIND:
                return FATAL_PHASE2_ERROR
        if len(machine.waiting()) > 1:
            return self._go_on_outside(exception)
        if last is not None:
            number = contexts.open(last)
            try:
                head = (_VERSION, actions | AT_END_OF_STACK, exception.language, exception.address)
                answer = machine.call(exception.stop, (*head, number, exception.private))
            finally:
                contexts.close()
            if answer & _CODE != NO_REASON:
                return FATAL_PHASE2_ERROR
        return END_OF_STACK

    def _go_on_outside(self, exception: GuestException) -> int:
        if len(self._services.machine.waiting()) < 2:
            raise _broken(exception, "the frame that was to handle it is gone")
        raise GuestUnwinding(exception.address, describe(exception.language))

    def _read(self, address: int) -> GuestException:
        memory = self._services.machine.memory
        words = memoryview(memory.read(address, 32)).cast("Q")
        return GuestException(address, words[0], words[1], words[2], words[3])

    def _write(self, exception: GuestException) -> GuestException:
        memory = self._services.machine.memory
        memory.write_u64(exception.address + _PRIVATE_1, exception.stop)
        memory.write_u64(exception.address + _PRIVATE_2, exception.private)
        return exception


def describe(language: int) -> str:
    """What an exception class says to people: ``C++ exception (GNUCC++)``."""
    text = language.to_bytes(8, "big").rstrip(b"\0\1").decode("latin-1")
    known = {"GNUCC++": "C++ exception", "CLNGC++": "C++ exception", "MOZ\0RUST": "Rust panic"}
    return known.get(text) or f"exception of class {text!r}"


def _broken(exception: GuestException, why: str) -> GuestKilled:
    """libgcc aborts here; so does the guest."""
    return GuestKilled(Panicked(f"unwinding a {describe(exception.language)}: {why}"))
