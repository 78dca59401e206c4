"""How tasks wait, yield and are interrupted: what they do with each other.

How control passes between them is :mod:`theseus_kit.task.switching`'s. What a signal handler of
Python's raises in a wait ends it, as if the handler had run before or after: the task waits for
nothing any more.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NoReturn

from theseus_kit.errors import MachineError, PlatformError, TaskExit
from theseus_kit.task.switching import Switching
from theseus_kit.task.task import READY, RUNNING, WAITING, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from theseus_kit.clock import Clock
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task.wait_queue import WaitQueue
    from theseus_kit.task.waiting import Events

_INTERRUPTED = object()


class Scheduler(Switching):
    """The running task, those that are ready, and those that wait."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        super().__init__(machine, clock)
        self.handle_signals: Callable[[], bool] = _no_signals
        """Runs the handlers of the current task's signals, at rest. False if a wait that one of
        them ended is not to be taken up again (SA_RESTART). The C library's to set."""
        self.at_cancellation_point: Callable[[], None] = _nothing
        """Ends the current task if it is cancelled. The C library's to set."""

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
        try:
            _queue_up(task, queues)
            task.waits_for = (*queues, *descriptors)
            task.woken_by = None
            task.wait_number += 1
            task.state = WAITING
            if timeout_ns is not None:
                self._outside().add_timer(task, self.clock.monotonic_ns() + timeout_ns)
            if descriptors:
                self._outside().add_descriptors(task, descriptors)
            chosen = self._choose()
            if chosen is not task:
                self._switch(task, chosen)
            else:
                self._stay(task)
            if task.error is not None:
                self._raise(task)
            self._wait_no_more(task, queues, descriptors)
        except BaseException as error:  # noqa: BLE001  # raised with what came beside it
            task.state = RUNNING
            try:
                self._wait_no_more(task, queues, descriptors)
            except BaseException:  # struck twice
                self._wait_no_more(task, queues, descriptors)
                raise
            self._raise_together(task, error)
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

    def _wait_no_more(
        self,
        task: Task,
        queues: Sequence[WaitQueue],
        descriptors: Sequence[tuple[int, int]],
    ) -> None:
        task.waits_for = ()
        for queue in queues:
            queue.tasks.pop(task, None)
        if self._events is not None:
            self._events.forget(task, descriptors)

    def yield_(self) -> None:
        """Let every task that is ready run first. Raises GuestInterrupted."""
        if self._is_interrupted:
            self._raise_interrupt()
        if self._events is not None and self._events.is_needed:
            self._events.collect(wait=False)
        ready, task = self._ready, self.current
        if ready and task.greenlet is None:
            try:
                task.state = READY
                ready.append(task)
                chosen = ready[0]
                if chosen.state != READY:
                    chosen = self._first_ready() or task
                if chosen is not task:
                    self._switch(task, chosen)
                else:
                    self._stay(task)
                if task.error is not None:
                    self._raise(task)
            except BaseException as error:  # noqa: BLE001  # raised with what came beside it
                task.state = RUNNING
                self._raise_together(task, error)
            if task.has_signal:
                self.handle_signals()
                task.has_signal = task.is_cancelled

    def _stay(self, task: Task) -> None:
        """The current task is the one that runs next."""
        task.state = RUNNING
        if self._ready and self._ready[0] is task:
            del self._ready[0]

    def _raise_together(self, task: Task, struck: BaseException) -> NoReturn:
        """Raise what struck a task, and what it had to raise anyway."""
        error, task.error = task.error, None
        if error is not None:
            from theseus_kit.task.striking import combine

            struck = combine(struck, error)
        if task is self._main:
            self._note_dropped_frames()
        raise struck

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
            # One task has ended, and the next one runs no guest code yet. If that then runs for
            # long the quantum stops it.
            is_noted = self._is_interrupted = True
            self._start_quantum()
        if self._events is not None:
            self._events.look_again()
        return is_noted

    def forget_interrupt(self) -> None:
        """Take an interrupt back that nobody has raised; what it was meant for is over."""
        self._take_interrupt()

    def _start_quantum(self) -> None:
        raise NotImplementedError("a scheduler alone has no quantum")

    def _outside(self) -> Events:
        if self._events is None:
            from theseus_kit.task.waiting import Events

            self._events = Events(self.clock, self._take_interrupt)
        return self._events


def _queue_up(task: Task, queues: Sequence[WaitQueue]) -> None:
    for queue in queues:
        queue.tasks[task] = None


def _no_signals() -> bool:
    return False


def _nothing() -> None:
    """There is nobody that could cancel a task."""
