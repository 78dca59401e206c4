"""The tasks of one platform, from their start to their end."""

from __future__ import annotations

import errno
from contextvars import copy_context
from functools import partial
from threading import current_thread
from typing import TYPE_CHECKING, Any

from theseus_kit.clock import HostClock
from theseus_kit.errors import GuestKilled, MachineError, PlatformError, TaskExit
from theseus_kit.task.scheduler import Scheduler
from theseus_kit.task.task import ENDED, READY, RUNNING, STACK_SIZE, WAITING, Task
from theseus_kit.values.exceptions import KillRequested
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AddressRange,
    AtAddress,
    MapRequest,
    Protection,
    Region,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Thread

    from pluggy import HookRelay

    from theseus_kit.clock import Clock
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task.quantum import Quantum
    from theseus_kit.values.exceptions import Registers


QUANTUM_MS = 10.0
"""How long a task may run while others are ready."""
MAX_TASKS = 4096
"""How many tasks there may be at once."""


class Tasks(Scheduler):
    """The tasks of one platform; what they do with each other is :class:`Scheduler`'s.

    What ends a task decides what becomes of the others. :class:`~theseus_kit.errors.TaskExit` and
    a kill for :class:`KillRequested` end that task alone, as Theseus ends a task at request. Every
    other error (an exception that nobody handled, a panic, exit(), an error of Python's) ends the
    program, as a signal does on Linux: the main task's caller gets it.
    """

    def __init__(
        self,
        machine: Machine,
        clock: Clock | None = None,
        quantum_ms: float = QUANTUM_MS,
        max_tasks: int = MAX_TASKS,
    ) -> None:
        super().__init__(machine, clock or HostClock())
        self._quantum_ms = quantum_ms
        self._max_tasks = max_tasks
        self._tasks: dict[int, Task] = {}
        self._next_id = 1
        self._hooks: HookRelay | None = None
        self._is_ending = False
        """Closing is going on."""
        self.is_closed = False
        """All tasks but the main one have ended, for good."""

    def __iter__(self) -> Iterator[Task]:
        return iter(list(self._tasks.values()))

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def has_others(self) -> bool:
        """There is a task beside the current one, which may have to run while that one waits."""
        return len(self._tasks) > 1

    @property
    def elsewhere(self) -> Thread | None:
        """The host thread that tasks wait on, where that is not the calling one: guest code that
        runs here could not pass control to them. It may have ended."""
        hub, place = self._hub, self.place
        if hub is None or place is None or place.is_here:
            return None
        there = hub.host_thread
        waits = any(task.greenlet is not None and task.host_thread is there for task in self)
        return there if waits else None

    def start_main(self, hooks: HookRelay) -> Task:
        """Make the main task and select it."""
        self._hooks = hooks
        self._main = task = self.create("main", hooks)
        self.select(task)
        return task

    def start(
        self,
        function: Callable[[], Any],
        name: str = "task",
        stack_size: int = STACK_SIZE,
        *,
        stack: AddressRange | None = None,
        is_joinable: bool = False,
    ) -> Task:
        """Make a task that runs ``function``, which may call guest code; it is ready then.

        It runs when the current task waits, and ends when the function returns; its result is
        :attr:`Task.result`. ``stack`` is one that the guest has made itself. Of a task that
        ``is_joinable`` the thread-local storage stays until :meth:`release`, and with it the
        address that the guest knows it by. Raises PlatformError: EAGAIN where there are as many as
        may be, ENOMEM.
        """
        if self._hooks is None or self._is_closing:
            raise MachineError("the platform is not started or is closed")
        if len(self._tasks) >= self._max_tasks:
            raise PlatformError(
                f"{len(self._tasks)} tasks are as many as there may be (max_tasks)", errno.EAGAIN
            )
        if self._quantum is None and self._has_quantum:
            self._make_quantum()
        task = self.create(name, self._hooks, stack_size, stack)
        try:
            task.is_joinable = is_joinable
            context = copy_context()
            task.body = lambda: context.run(function)
            task.state = WAITING
            task.wake()
        except BaseException:
            if task.state != READY:  # struck: nobody knows of it
                try:
                    self._end_now(task)
                except BaseException:  # struck twice
                    self._end_now(task)
                    raise
            raise
        return task

    @property
    def _has_quantum(self) -> bool:
        return self._quantum_ms > 0 and not self.clock.is_virtual

    def _make_quantum(self) -> Quantum:
        """Where tasks have no quantum it is for interrupts alone."""
        from theseus_kit.task.quantum import Quantum

        self._machine.set_preemption(self.yield_)
        self._quantum = Quantum(
            (self._quantum_ms or QUANTUM_MS) / 1000,
            self._machine.preempt,
            lambda: self.switches,
            self.is_contended if self._has_quantum else lambda: self._is_interrupted,
        )
        return self._quantum

    def _start_quantum(self) -> None:
        (self._quantum or self._make_quantum()).start()

    def join(self, task: Task) -> Any:
        """Wait until a task has ended; return its result. Raises as :meth:`wait`."""
        while not task.is_ended:
            self.wait(task.ended)
        return task.result

    def create(
        self,
        name: str,
        hooks: HookRelay,
        stack_size: int = STACK_SIZE,
        stack: AddressRange | None = None,
    ) -> Task:
        """Make a task with a stack and thread-local storage, and tell the plugins of it.

        Nothing runs it: for :meth:`start`, and for whoever switches by :meth:`select` alone.
        """
        owns_stack = stack is None
        if stack is None:
            stack = _map_stack(name, hooks, stack_size)
        task = Task(self._next_id, name, stack, self._machine.create_thread(stack))
        task.owns_stack = owns_stack
        task.make_ready = self._make_ready
        self._next_id += 1
        task.thread.fs_base = hooks.tls_create_area(task=task)
        try:
            self._tasks[task.id] = task
            hooks.task_started(task=task)
        except BaseException:
            del self._tasks[task.id]
            raise
        return task

    def select(self, task: Task) -> None:
        """Make a task the current one: calls run on it from now on. Its Python stays where it is.

        For tasks that were not started; :meth:`wait` and the others switch by themselves.
        """
        self._select(task)

    def registers_of(self, task: Task) -> Registers | None:
        """The registers of a task's innermost frame, None if it runs no guest code."""
        if task is self._current:
            registers = self._machine.registers()
            return registers if registers.rip else None
        waiting = self._machine.waiting(task.thread)
        return waiting[0].registers if waiting else None

    def current_registers(self) -> Registers | None:
        """The registers of the current task's innermost frame, None if it runs no guest code."""
        return self.registers_of(self.current)

    def end(self, task: Task, hooks: HookRelay) -> None:
        """Run a task's destructors, tell the plugins, and free its stack."""
        hooks.tls_run_destructors(task=task)
        self._retire(task, hooks)
        self.release(task)
        if self._current is task:
            self._current = None

    def release(self, task: Task) -> None:
        """Free what is left of a task that has ended; of one that has not, when it does."""
        task.is_joinable = False
        if task.is_ended and self._tasks.pop(task.id, None) is not None:
            assert self._hooks is not None
            self._hooks.tls_destroy_area(task=task)

    def _retire(self, task: Task, hooks: HookRelay) -> None:
        """The task runs no guest code any more."""
        hooks.task_ended(task=task)
        task.state = ENDED
        if task.owns_stack:
            hooks.memory_unmap(
                address=task.stack.start - PAGE_SIZE, size=task.stack.size + PAGE_SIZE
            )
        task.ended.wake_all()

    def _waiting_tasks(self) -> list[Task]:
        return [task for task in self._tasks.values() if task.state == WAITING]

    # A task's Python side

    def _run(self, task: Task) -> None:
        """Run a task to its end: the body of its greenlet. What ends the program is raised."""
        try:
            task.state, task.greenlet = RUNNING, None  # it runs
            task.host_thread = current_thread()
            self._live(task)
            task.state = ENDED
            # Python's side of it goes on to its end; what that calls has the main task's stack.
            self._select(self.main)
            assert self._hooks is not None
            self._retire(task, self._hooks)
            if not task.is_joinable:
                self.release(task)
        except BaseException:
            # What is left of it stays as it was, for a core file, until the platform closes.
            task.state = ENDED
            try:
                task.ended.wake_all()
            except BaseException:  # struck twice
                task.ended.wake_all()
                raise
            raise

    def _live(self, task: Task) -> None:
        """Run a task's function and its destructors."""
        hooks = self._hooks
        assert hooks is not None
        body, task.body = task.body, None
        try:
            try:
                if task.error is not None:
                    self._raise(task)
                if task.has_signal:
                    self.handle_signals()
                    task.has_signal = task.is_cancelled
                if body is not None:
                    task.result = body()
            except TaskExit as end:
                task.result = end.result
            except GuestKilled as killed:
                killed.task = killed.task or task
                if not isinstance(killed.reason, KillRequested):
                    raise
                task.killed = killed
            if not self._is_closing:
                hooks.tls_run_destructors(task=task)
        except TaskExit:
            return  # its platform closes
        finally:
            # What the function held goes while there is a stack: finalisers call the guest on it.
            body = None

    def close(self) -> None:
        """End every task but the main one where it stands: TaskExit is raised there.

        Their destructors do not run; the plugins are told. Called by the platform, last but for
        the machine's own end. Raises MachineError on another host thread than tasks began on, as
        long as that lives. What a signal handler or a plugin raises meanwhile is raised when all
        is done.
        """
        if self.is_closed or self._is_ending:
            return
        others = [task for task in self if task is not self._main]
        for task in others:
            host = task.host_thread
            if host is not None and host is not current_thread() and host.is_alive():
                raise MachineError(
                    f"{task!r} waits on the thread {host.name!r}: close the platform there"
                )
        self._is_closing = self._is_ending = True
        try:
            self._end_all(others)
        finally:
            self._is_ending = False

    def _end_all(self, others: list[Task]) -> None:
        from theseus_kit.task.closing import Closing

        quantum = () if self._quantum is None else (self._quantum.close,)
        outside = [part.close for part in (self._hub, self._events) if part is not None]
        ends = [partial(self._end_now, task) for task in others]
        closing = Closing((*quantum, self._ready.clear, *ends, *outside))
        closing.complete()
        self.is_closed = True
        closing.raise_errors()

    def _end_now(self, task: Task) -> None:
        hooks = self._hooks
        assert hooks is not None
        if task.greenlet is not None and task.host_thread is current_thread():
            task.error = TaskExit()
            main = self.main
            self._switch(main, task)
            if main.error is not None:
                self._raise(main)
        elif not task.is_ended:  # it has not begun, or its host thread has ended without it
            task.greenlet = None
            self._retire(task, hooks)
        self.release(task)


def _map_stack(name: str, hooks: HookRelay, size: int) -> AddressRange:
    """Map a stack with an unmapped page below it."""
    size = -(-size // PAGE_SIZE) * PAGE_SIZE
    whole: Region = hooks.memory_map(
        request=MapRequest(
            size + PAGE_SIZE, Protection.NONE, label=f"guard of {name}'s stack", guard=True
        )
    )
    hooks.memory_map(
        request=MapRequest(
            size,
            Protection.READ_WRITE,
            AtAddress(whole.base + PAGE_SIZE, replace=True),
            label=f"stack of {name}",
        )
    )
    return AddressRange.of_size(whole.base + PAGE_SIZE, size)
