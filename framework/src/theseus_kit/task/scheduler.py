"""Which task runs next, and how control passes from one to another.

A switch selects the other task's machine thread and then resumes its greenlet. Tasks that are
ready run first come first served. A task gives up control where it waits, where it yields, where
it ends, and where the machine stops its guest code for the quantum's sake.

What must not get lost: an error that is nobody's in particular, such as KeyboardInterrupt in the
middle of the platform's waiting, a deadlock, or whatever ended another task in a way that ends the
program, is raised where the main task stands. It is the one that somebody has called.
"""

from __future__ import annotations

import errno
from collections import deque
from threading import current_thread
from typing import TYPE_CHECKING, NoReturn

from theseus_kit.errors import (
    DeadlockError,
    GuestInterrupted,
    MachineError,
    PlatformError,
    TaskExit,
)
from theseus_kit.task.task import READY, RUNNING, WAITING, Task
from theseus_kit.values.exceptions import Panicked
from theseus_kit.values.tasks import StuckTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from theseus_kit.clock import Clock
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task.hub import Hub
    from theseus_kit.task.quantum import Quantum
    from theseus_kit.task.wait_queue import WaitQueue
    from theseus_kit.task.waiting import Events
    from theseus_kit.values.symbols import BacktraceEntry

_INTERRUPTED = object()
_MOST_SHOWN = 16
"""Tasks of a deadlock that its message names; the error has them all."""


class Scheduler:
    """The running task, those that are ready, and those that wait."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self.clock = clock
        self.switches = 0
        """How often control has passed from one task to another."""
        self.capture: Callable[[Task], tuple[BacktraceEntry, ...]] = _no_backtrace
        """Returns a task's backtrace, for the report of a deadlock."""
        self.handle_signals: Callable[[], bool] = _no_signals
        """Runs the handlers of the current task's signals, at rest. False if a wait that one of
        them ended is not to be taken up again (SA_RESTART). The C library's to set."""
        self.at_cancellation_point: Callable[[], None] = _nothing
        """Ends the current task if it is cancelled. The C library's to set."""
        self.is_broken = False
        """An error from elsewhere has dropped guest frames of the main task, wherever they stood:
        what they worked on must be left alone."""
        self._machine = machine
        self._current: Task | None = None
        self._main: Task | None = None
        self._ready: deque[Task] = deque()
        self._events: Events | None = None
        """What of the world outside tasks wait for; made at the first wait."""
        self._quantum: Quantum | None = None
        """Made with the second task."""
        self._hub: Hub | None = None
        """Of the host thread that the platform was used on last."""
        self._greenlet_here = self._find_greenlet
        """Returns the greenlet that runs: the library's own function, once there are two tasks."""
        self._listeners: list[Callable[[Task, Task], None]] = []
        self._passing: BaseException | None = None
        """The last error that was raised where the main task stands, and came from elsewhere."""
        self._is_closing = False
        self._is_interrupted = False
        """Asked for between two tasks' guest code: whoever waits or goes on next raises it."""

    @property
    def current(self) -> Task:
        """The task whose guest code runs, or that a Python caller's calls run on."""
        if self._current is None:
            raise MachineError("the platform has no running task: it is not started or is closed")
        return self._current

    @property
    def ready(self) -> int:
        """How many tasks could run, besides the one that does."""
        return len(self._ready)

    def is_contended(self) -> bool:
        """Another task could run, or could come to it while this one runs."""
        events = self._events
        return bool(self._ready) or (
            events is not None and events.is_needed and not events.is_waiting
        )

    def on_switch(self, listener: Callable[[Task, Task], None]) -> None:
        """Have a listener told of each switch before it happens: who is left, who goes on."""
        self._listeners.append(listener)

    # Waiting

    def wait(self, queue: WaitQueue, timeout_ns: int | None = None) -> bool:
        """Let other tasks run until this one is woken; False if the time was over first.

        Where Python was called by guest code, that is by a C function or system call that is
        declared ``blocks=True``. Raises DeadlockError if nothing that is left can wake it,
        PlatformError (EINTR) if a signal has to be handled first, GuestInterrupted.
        """
        return self.wait_for_any((queue,), timeout_ns=timeout_ns) is not None

    def wait_for_descriptors(
        self, descriptors: Iterable[tuple[int, int]], timeout_ns: int | None = None
    ) -> dict[int, int]:
        """Wait until the host's poll(2) has an event for a descriptor; return those it has.

        ``descriptors`` are pairs of a host descriptor and the events of poll(2) that are wanted.
        Empty if the time was over first. Raises as :meth:`wait`.
        """
        found = self.wait_for_any((), tuple(descriptors), timeout_ns)
        return found if isinstance(found, dict) else {}

    def sleep(self, duration_ns: int) -> None:
        """Let other tasks run for a time. Raises as :meth:`wait`."""
        self.wait_for_any((), (), max(duration_ns, 0))

    def wait_for_any(
        self,
        queues: Sequence[WaitQueue],
        descriptors: Sequence[tuple[int, int]] = (),
        timeout_ns: int | None = None,
    ) -> object:
        """Wait for the first of several things; return None if the time was over first.

        Otherwise True for a queue that was woken, or the host descriptors' events as a dict.
        """
        task = self.current
        if self._is_closing:
            raise TaskExit
        if task.greenlet is not None:
            # It waits elsewhere already: this is Python at the end of another task, a finaliser.
            raise MachineError("nothing can wait where a task has ended")
        if task.has_signal:
            raise PlatformError("a signal has to be handled", errno.EINTR)
        self._passing = None
        for queue in queues:
            queue.tasks[task] = None
        task.state = WAITING
        task.waits_for = (*queues, *descriptors)
        task.woken_by = None
        task.wait_number += 1
        try:
            if timeout_ns is not None:
                self._outside().add_timer(task, self.clock.monotonic_ns() + timeout_ns)
            if descriptors:
                self._outside().add_descriptors(task, descriptors)
            chosen = self._choose()
            if chosen is not task:
                self._switch(chosen)
            elif task.error is not None:
                self._raise(task)
        finally:
            task.state = RUNNING
            task.waits_for = ()
            for queue in queues:
                queue.tasks.pop(task, None)
            if self._events is not None and (timeout_ns is not None or descriptors):
                self._events.forget(task, descriptors)
        if self._is_interrupted:
            self._raise_interrupt()
        woken_by = task.woken_by
        if woken_by is _INTERRUPTED:
            raise PlatformError("a signal has to be handled", errno.EINTR)
        if task.has_signal:
            self.handle_signals()  # which may wait
        if task.is_cancelled:
            task.has_signal = True  # its next wait is to end at once
        return woken_by

    def yield_(self) -> None:
        """Let every task that is ready run first. Raises GuestInterrupted."""
        if self._is_interrupted:
            self._raise_interrupt()
        if self._events is not None and self._events.is_needed:
            self._events.collect(wait=False)
        if self._ready:
            task = self.current
            task.state = READY
            self._ready.append(task)
            try:
                self._switch(self._ready.popleft())
            finally:
                task.state = RUNNING
            if task.has_signal:
                self.handle_signals()
                task.has_signal = task.is_cancelled

    def signal(self, task: Task) -> None:
        """Have another task handle its signals: where it waits that wait ends (EINTR).

        If it does not wait it handles them before it does, or goes on. One that Python waits in
        without any guest code is left alone: nobody there knows what a signal is.
        """
        if task.body is not None or self._machine.waiting(task.thread):
            task.has_signal = True
            task.wake(_INTERRUPTED)

    def interrupted(self) -> None:
        """A C function that a signal has ended returns: its handlers run, or the task ends."""
        self.handle_signals()
        self.at_cancellation_point()

    def interrupt_wait(self, task: Task) -> bool:
        """Make a task's wait raise PlatformError (EINTR); False if it does not wait."""
        waits = task.state == WAITING
        task.wake(_INTERRUPTED)
        return waits

    def interrupt(self) -> bool:
        """Make guest code that runs, or waits, raise GuestInterrupted; False if none does either.

        From any host thread. The machine keeps it for guest code that goes on, and who begins to
        wait asks the machine first, so it is neither lost nor raised twice.
        """
        if self._events is not None and self._events.interrupt():
            return True
        is_noted, main = self._machine.interrupt(), self._main
        if not is_noted and main is not None and main.state != RUNNING:
            # One task has ended, and the next one runs no guest code yet.
            is_noted = self._is_interrupted = True
        if self._events is not None:
            self._events.look_again()
        return is_noted

    def _take_interrupt(self) -> bool:
        """Whether somebody has asked to interrupt whatever goes on next; no longer."""
        noted, self._is_interrupted = self._is_interrupted, False
        return self._machine.take_interrupt() or noted

    def _raise_interrupt(self) -> None:
        if self._take_interrupt():
            raise GuestInterrupted("guest code was interrupted while it waited")

    def _outside(self) -> Events:
        if self._events is None:
            from theseus_kit.task.waiting import Events

            self._events = Events(self.clock, self._take_interrupt)
        return self._events

    def _make_ready(self, task: Task, by: object) -> None:
        task.state = READY
        task.woken_by = by
        self._ready.append(task)
        if self._quantum is not None:
            self._quantum.start()

    # Switching

    def _choose(self) -> Task:
        """Take the task that runs next; the world outside is waited for as long as it takes."""
        try:
            while True:
                if self._is_interrupted:
                    self._raise_interrupt()
                events = self._events
                if events is not None and events.is_needed:
                    events.collect(wait=not self._ready)
                if self._ready:
                    return self._take_ready()
                if events is None or not events.is_needed:
                    raise self._deadlock()
        except BaseException as error:  # noqa: BLE001  # raised where the main task stands
            return self._send_to_main(error)

    def _take_ready(self) -> Task:
        task = self._ready.popleft()
        if task.host_thread is not None and task.host_thread is not current_thread():
            self._ready.append(task)
            raise MachineError(
                f"{task!r} began on the thread {task.host_thread.name!r}, and can go on only while "
                "that one uses the platform"
            )
        if self._quantum is not None and self.is_contended():
            self._quantum.start()
        return task

    def _send_to_main(self, error: BaseException) -> Task:
        main = self._main
        if main is None:
            raise error
        main.error = error
        if main in self._ready:
            self._ready.remove(main)
        return main

    def _switch(self, task: Task) -> None:
        """Leave the current task's Python side, until somebody comes back to it."""
        left = self.current
        try:
            self._select(task)
        except BaseException:
            self._ready.appendleft(task)
            raise
        left.greenlet = self._greenlet_here()
        left.host_thread = current_thread()
        if task.greenlet is None:
            self._hub_here().start(task)
        else:
            task.greenlet.switch()
        left.greenlet = left.host_thread = None
        if left.error is not None:
            self._raise(left)

    def _find_greenlet(self) -> object:
        from greenlet import getcurrent

        self._greenlet_here = getcurrent
        return getcurrent()

    def _select(self, task: Task) -> None:
        """Make a task the current one, without its Python side."""
        self._machine.select_thread(task.thread)
        left, self._current = self._current, task
        self.switches += 1
        if left is not None:
            for listener in self._listeners:
                listener(left, task)

    def _hub_here(self) -> Hub:
        """What starts tasks on this host thread."""
        if self._hub is None or self._hub.host_thread is not current_thread():
            from theseus_kit.task.hub import Hub

            self._hub = Hub(self._run, self._succeed)
        return self._hub

    def _run(self, task: Task) -> None:
        raise NotImplementedError("a scheduler alone starts no tasks")

    def _succeed(self) -> Task:
        raise NotImplementedError("a scheduler alone ends no tasks")

    def _raise(self, task: Task) -> NoReturn:
        error, task.error = task.error, None
        assert error is not None
        if task is self._main:
            self._passing = error
            self.is_broken = self.is_broken or bool(self._machine.registers().rip)
        raise error

    def is_passing(self, error: Exception) -> bool:
        """Whether an error has come from another task, and only passes where it is raised."""
        return error is self._passing

    def _deadlock(self) -> DeadlockError:
        stuck, waiting = [], list(self._waiting_tasks())
        for task in waiting:
            backtrace = self.capture(task)
            stuck.append(
                StuckTask(task.id, task.name, _description(task.waits_for), tuple(backtrace))
            )
        shown = [str(task) for task in stuck[:_MOST_SHOWN]]
        if len(stuck) > len(shown):
            shown.append(f"and {len(stuck) - len(shown)} more")
        reason = "deadlock: " + "; ".join(shown)
        error = DeadlockError(Panicked(reason), stuck)
        if stuck:
            error.backtrace, error.task = stuck[0].backtrace, waiting[0]
        return error

    def _waiting_tasks(self) -> Iterable[Task]:
        raise NotImplementedError("a scheduler alone knows no tasks")


def _no_signals() -> bool:
    return False


def _nothing() -> None:
    """There is nobody that could cancel a task."""


def _no_backtrace(task: Task) -> tuple[BacktraceEntry, ...]:
    return ()


def _description(waits_for: Sequence[object]) -> str:
    return ", ".join(
        f"descriptor {what[0]}" if isinstance(what, tuple) else str(what) for what in waits_for
    )
