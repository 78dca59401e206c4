"""Tasks: the guest threads of a platform, and which of them is running.

A task owns a stack with an unmapped guard page below it, and a machine thread. Plugins keep their
own state of a task under the task itself (it is hashable by identity) from ``task_started`` to
``task_ended``.

    low addresses                                                    high addresses
    ┌────────────┬──────────────────────────────────────────────────────┐
    │ guard page │ stack, growing down                                  │
    └────────────┴──────────────────────────────────────────────────────┘
                 ^ stack.start                              stack.end   ^
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from theseus_kit.errors import MachineError, PlatformError
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AddressRange,
    AtAddress,
    MapRequest,
    Protection,
    Region,
)

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine, Thread
    from theseus_kit.values.exceptions import Registers

STACK_SIZE = 8 << 20
"""Bytes of a task's stack: Linux's default, of which only touched pages cost anything."""


class Task:
    """One guest thread."""

    __slots__ = ("catches", "id", "name", "registers", "stack", "thread")

    def __init__(self, id: int, name: str, stack: AddressRange, thread: Thread) -> None:
        self.id = id
        self.name = name
        self.stack = stack
        self.thread = thread
        self.catches = 0
        """How many calls of catch_unwind wait for what may kill it."""
        self.registers: Registers | None = None
        """Those of its innermost frame when another task was selected; None if it had none."""

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.name!r}>"


class Tasks:
    """The tasks of one platform."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._tasks: dict[int, Task] = {}
        self._current: Task | None = None
        self._next_id = 1

    @property
    def current(self) -> Task:
        """The task whose guest code runs, or that a Python caller's calls run on."""
        if self._current is None:
            raise MachineError("the platform has no running task: it is not started or is closed")
        return self._current

    def __iter__(self) -> Iterator[Task]:
        return iter(list(self._tasks.values()))

    def start_main(self, hooks: HookRelay) -> Task:
        """Make the main task and select it."""
        task = self.create("main", hooks)
        self.select(task)
        return task

    def create(self, name: str, hooks: HookRelay, stack_size: int = STACK_SIZE) -> Task:
        """Make a task with a stack and thread-local storage, and tell the plugins of it."""
        whole: Region = hooks.memory_map(
            request=MapRequest(
                stack_size + PAGE_SIZE,
                Protection.NONE,
                label=f"guard of {name}'s stack",
                guard=True,
            )
        )
        hooks.memory_map(
            request=MapRequest(
                stack_size,
                Protection.READ_WRITE,
                AtAddress(whole.base + PAGE_SIZE, replace=True),
                label=f"stack of {name}",
            )
        )
        stack = AddressRange.of_size(whole.base + PAGE_SIZE, stack_size)
        task = Task(self._next_id, name, stack, self._machine.create_thread(stack))
        self._next_id += 1
        self._tasks[task.id] = task
        task.thread.fs_base = hooks.tls_create_area(task=task)
        hooks.task_started(task=task)
        return task

    def select(self, task: Task) -> None:
        """Make a task the current one."""
        left = self._current
        if left is not None and left is not task:
            left.registers = self.current_registers()
        self._machine.select_thread(task.thread)
        self._current = task

    def current_registers(self) -> Registers | None:
        """The registers of the current task's innermost frame, None if it runs no guest code."""
        try:
            registers = self._machine.registers()
        except PlatformError:  # of a thread that was selected and has run nothing yet
            return None
        rsp, current = registers.rsp, self._current
        if not registers.rip:
            return None
        if any(rsp in task.stack for task in self._tasks.values() if task is not current):
            return None  # another task's frame is the innermost: the current one called nothing
        return registers

    def end(self, task: Task, hooks: HookRelay) -> None:
        """Run a task's destructors, tell the plugins, and free its stack."""
        hooks.tls_run_destructors(task=task)
        hooks.task_ended(task=task)
        hooks.tls_destroy_area(task=task)
        del self._tasks[task.id]
        if self._current is task:
            self._current = None
        hooks.memory_unmap(address=task.stack.start - PAGE_SIZE, size=task.stack.size + PAGE_SIZE)
