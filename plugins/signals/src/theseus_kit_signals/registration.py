"""What both providers have alike: slots of tasks, kill handlers, and the log.

How an exception is answered is what they differ in: ``plugin.py`` does it as Theseus,
``persistent.py`` as POSIX.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from theseus_kit.hookspecs import hookimpl
from theseus_kit.plugin import Plugin, Services
from theseus_kit.values.exceptions import (
    ExceptionCategory,
    ExceptionContext,
    ExceptionHandler,
    KillHandler,
)
from theseus_kit_signals.handlers import TaskHandlers

if TYPE_CHECKING:
    from logging import Logger

    from theseus_kit.task import Task


class ExceptionRegistrationPlugin(Plugin):
    """The slots of every task. A subclass adds ``exception_dispatch`` and its description."""

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
    def exception_take_kill_handler(self, task: Task) -> KillHandler | None:
        return self._handlers_of(task).take_kill()

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

    def _log(self, task: Task, context: ExceptionContext) -> None:
        """Log an exception, if anybody listens at debug level.

        Importing logging costs a boot some milliseconds; a process in which nobody has imported
        it has nobody who listens.
        """
        if self._logger is None:
            logging = sys.modules.get("logging")
            if logging is None:
                return
            self._logger = logging.getLogger("theseus_kit.signals")
        if self._logger.isEnabledFor(10):  # logging.DEBUG
            self._logger.debug("task %d %r: %s", task.id, task.name, context)
