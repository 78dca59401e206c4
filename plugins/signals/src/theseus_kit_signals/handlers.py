"""The handlers of one task: a slot per category, and the kill handler's."""

from __future__ import annotations

from theseus_kit.errors import AlreadyRegisteredError
from theseus_kit.values.exceptions import ExceptionCategory, ExceptionHandler, KillHandler


class TaskHandlers:
    """What a task has registered. Whatever is taken out of a slot leaves it empty.

    ::

        slots   [InvalidAddress] [IllegalInstruction] [BusError] [ArithmeticError] [Breakpoint]
        kill    [kill handler]
        running categories whose handlers have been asked and have not answered yet

    Theseus keeps the first four in the task's thread-local storage (``SIGNAL_HANDLERS`` in
    kernel/signal_handler/src/lib.rs) and the kill handler in the task itself.
    """

    __slots__ = ("kill", "running", "slots")

    def __init__(self) -> None:
        self.slots: list[ExceptionHandler | None] = [None] * len(ExceptionCategory)
        self.kill: KillHandler | None = None
        self.running: frozenset[ExceptionCategory] = frozenset()

    def register(self, category: ExceptionCategory, handler: ExceptionHandler) -> None:
        """Fill an empty slot. Raises AlreadyRegisteredError, and the old handler stays."""
        if self.slots[category] is not None:
            raise AlreadyRegisteredError(
                f"a handler for {category.name} is registered already: take it first"
            )
        self.slots[category] = handler

    def take(self, category: ExceptionCategory) -> ExceptionHandler | None:
        handler = self.slots[category]
        self.slots[category] = None
        return handler

    def take_kill(self) -> KillHandler | None:
        handler = self.kill
        self.kill = None
        return handler
