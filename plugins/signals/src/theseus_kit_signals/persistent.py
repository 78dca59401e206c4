"""The plugin with handlers that stay: what POSIX has programs expect of a signal's action.

Where the Theseus provider (``plugin.py``) takes whatever it asks out of its slot, this one

* keeps a handler until somebody takes it, as sigaction(2) keeps an action that was not installed
  with SA_RESETHAND;
* does not ask a handler about an exception that is raised while that very handler runs: the task
  is killed, as by a signal that is blocked when a fault forces it (signal(7); force_sig_fault of
  Linux's kernel/signal.c). The option ``nested`` has it asked all the same (SA_NODEFER);
* kills for a debug or breakpoint exception that nobody handles, as SIGTRAP's default action does;
* tells the kill handler only of an exception that kills: after the handler was asked, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import PluginDescription, option
from theseus_kit.values.exceptions import (
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
    from theseus_kit_signals.handlers import TaskHandlers

_RESUME = Resume()


@dataclass(frozen=True)
class PersistentOptions:
    """What can be set of the plugin."""

    nested: bool = option(False, help="ask a handler even of exceptions raised while it runs")


class PersistentSignalsPlugin(ExceptionRegistrationPlugin):
    """Exception handlers that stay, one slot per task and category."""

    description = PluginDescription(
        name="signals-persistent",
        version="0.1.0",
        summary="exception handlers as POSIX has them: they stay until they are taken",
        provides=frozenset({Group.EXCEPTION_REGISTRATION}),
        options=PersistentOptions,
    )

    @hookimpl
    def exception_dispatch(self, task: Task, context: ExceptionContext) -> ExceptionOutcome:
        """Ask the category's handler; an error it raises ends the guest's call."""
        self._log(task, context)
        handlers = self._tasks.get(task)
        if handlers is not None and self._is_handled(handlers, context):
            return _RESUME
        reason = KilledByException(context.vector)
        if handlers is not None:
            kill_handler = handlers.take_kill()
            if kill_handler is not None:
                kill_handler(task, reason)
        return Kill(reason)

    def _is_handled(self, handlers: TaskHandlers, context: ExceptionContext) -> bool:
        category = category_of_vector(context.vector)
        if category is None:
            return False
        handler = handlers.slots[category]
        if handler is None or (category in handlers.running and not self.options.nested):
            return False
        outer = handlers.running
        handlers.running = outer | {category}
        try:
            return handler(context)
        finally:
            handlers.running = outer
