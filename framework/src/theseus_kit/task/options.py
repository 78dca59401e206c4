"""What a user may set of tasks: the options of the owner ``tasks`` at assembly.

Imported only where somebody sets or lists them: a dataclass takes longer than a task.
"""

from __future__ import annotations

from dataclasses import dataclass

from theseus_kit.options import option
from theseus_kit.task.tasks import MAX_TASKS, QUANTUM_MS


@dataclass(frozen=True)
class TaskOptions:
    """Limits of the platform's scheduler."""

    quantum_ms: float = option(
        QUANTUM_MS,
        help="milliseconds a task may run while others are ready; 0: until it waits. Not counted "
        "on a deterministic platform",
    )
    max_tasks: int = option(
        MAX_TASKS,
        help="tasks there may be at once, with the main one; more is refused (EAGAIN)",
    )

    def __post_init__(self) -> None:
        if self.quantum_ms < 0:
            raise ValueError(f"quantum_ms cannot be {self.quantum_ms:g}: 0 is no quantum")
        if self.max_tasks < 1:
            raise ValueError(f"max_tasks cannot be {self.max_tasks}: the main task is one")
