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

One thing is done as Theseus documents it and not as its sources have it: a handler's ``Ok`` is to
let the task go on (kernel/signal_handler/src/lib.rs, ``SignalHandler``), while ``kill_and_halt``
logs the ``Ok`` and kills the task all the same ("disabled and untested").
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import Plugin, PluginDescription, Services
from theseus_kit.values.exceptions import (
    VECTOR_BREAKPOINT,
    ExceptionCategory,
    ExceptionContext,
    ExceptionHandler,
    ExceptionOutcome,
    Kill,
    KilledByException,
    KillHandler,
    Resume,
    category_of_vector,
)
from theseus_kit_signals.handlers import TaskHandlers

if TYPE_CHECKING:
    from logging import Logger

    from theseus_kit.task import Task

_VECTOR_DEBUG = 0x01
_BRIEF_PAUSES = frozenset((_VECTOR_DEBUG, VECTOR_BREAKPOINT))
"""Vectors whose Theseus handlers just return: "just a brief pause"."""

_RESUME = Resume()


class SignalsPlugin(Plugin):
    """Exception handlers that fire once, one slot per task and category."""

    description = PluginDescription(
        name="signals",
        version="0.1.0",
        summary="exception handlers as Theseus has them: one slot per category, fired once",
        provides=frozenset({Group.EXCEPTION_REGISTRATION}),
    )

    def __init__(self, services: Services, options: Any) -> None:
        super().__init__(services, options)
        self._tasks: dict[Task, TaskHandlers] = {}
        self._logger: Logger | None = None

    @hookimpl
    def exception_register(
        self, task: Task, category: ExceptionCategory, handler: ExceptionHandler
    ) -> None:
        self._handlers_of(task).register(category, handler)

    @hookimpl
    def exception_take(self, task: Task, category: ExceptionCategory) -> ExceptionHandler | None:
        return self._handlers_of(task).take(category)

    @hookimpl
    def exception_set_kill_handler(self, task: Task, handler: KillHandler | None) -> None:
        self._handlers_of(task).kill = handler

    @hookimpl
    def exception_dispatch(self, task: Task, context: ExceptionContext) -> ExceptionOutcome:
        """Run the task's handlers; an error one of them raises ends the guest's call."""
        logger = self._debug_logger()
        if logger is not None:
            logger.debug("task %d %r: %s", task.id, task.name, context)
        vector = context.vector
        if vector in _BRIEF_PAUSES:
            return _RESUME
        handlers = self._tasks.get(task)
        if handlers is not None:
            kill_handler = handlers.take_kill()
            if kill_handler is not None:
                kill_handler(task, KilledByException(vector))
            category = category_of_vector(vector)
            if category is not None:
                handler = handlers.take(category)
                if handler is not None and handler(context):
                    return _RESUME
        return Kill(KilledByException(vector))

    @hookimpl
    def task_ended(self, task: Task) -> None:
        self._tasks.pop(task, None)

    def _handlers_of(self, task: Task) -> TaskHandlers:
        # Made at first use and not in task_started: another plugin's task_started, called
        # before, may register already.
        handlers = self._tasks.get(task)
        if handlers is None:
            handlers = self._tasks[task] = TaskHandlers()
        return handlers

    def _debug_logger(self) -> Logger | None:
        """The logger, if anybody listens at debug level.

        Importing logging costs a boot some milliseconds; a process in which nobody has imported
        it has nobody who listens.
        """
        if self._logger is None:
            logging = sys.modules.get("logging")
            if logging is None:
                return None
            self._logger = logging.getLogger("theseus_kit.signals")
        return self._logger if self._logger.isEnabledFor(10) else None  # logging.DEBUG
