"""The plugin: what a task's handlers answer to a CPU exception, in Theseus's order.

The order is that of ``kill_and_halt`` in Theseus's kernel/exceptions_full/src/lib.rs (January
2024), which every exception handler but those of debug (0x01) and breakpoint (0x03) calls:

1. the exception is logged;
2. the task's kill handler is *taken* (``task::take_kill_handler``) and told
   ``KillReason::Exception(vector)``. Its presence changes nothing about what follows: it is told
   even of an exception that a registered handler then resolves, and once taken it is gone;
3. the handler registered for the vector's category is taken
   (``signal_handler::take_signal_handler``) and asked; vectors of no category go straight on;
4. the task is unwound, if it is built for that, or killed.

Two things are the framework's, not done here: the stack trace that Theseus prints with step 1
(a killed guest's error carries it) and step 4, which a Kill answer asks for.

Debug and breakpoint exceptions just return, and no kill handler hears of them. The handler of
their category, which Theseus does not have, is asked all the same, and taken as any other.

One thing is done as Theseus documents it and not as its sources have it: a handler's ``Ok`` is to
let the task go on (kernel/signal_handler/src/lib.rs, ``SignalHandler``), while ``kill_and_halt``
logs the ``Ok`` and kills the task all the same ("disabled and untested").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import PluginDescription
from theseus_kit.values.exceptions import (
    VECTOR_BREAKPOINT,
    VECTOR_DEBUG,
    ExceptionContext,
    ExceptionOutcome,
    Kill,
    KilledByException,
    Resume,
    category_of_vector,
)
from theseus_kit_signals.registration import ExceptionRegistrationPlugin

if TYPE_CHECKING:
    from theseus_kit.task import Task

_BRIEF_PAUSES = frozenset((VECTOR_DEBUG, VECTOR_BREAKPOINT))
"""Vectors whose Theseus handlers just return: "just a brief pause"."""

_RESUME = Resume()


class SignalsPlugin(ExceptionRegistrationPlugin):
    """Exception handlers that fire once, one slot per task and category."""

    description = PluginDescription(
        name="signals",
        version="0.1.0",
        summary="exception handlers as Theseus has them: one slot per category, fired once",
        provides=frozenset({Group.EXCEPTION_REGISTRATION}),
    )

    @hookimpl
    def exception_dispatch(self, task: Task, context: ExceptionContext) -> ExceptionOutcome:
        """Run the task's handlers; an error one of them raises ends the guest's call."""
        self._log(task, context)
        vector = context.vector
        pauses = vector in _BRIEF_PAUSES
        handlers = self._tasks.get(task)
        if handlers is not None:
            kill_handler = None if pauses else handlers.take_kill()
            if kill_handler is not None:
                kill_handler(task, KilledByException(vector))
            category = category_of_vector(vector)
            if category is not None:
                handler = handlers.take(category)
                if handler is not None and handler(context):
                    return _RESUME
        return _RESUME if pauses else Kill(KilledByException(vector))
