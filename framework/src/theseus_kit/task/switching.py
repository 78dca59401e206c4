"""How control passes from one task to another.

A switch selects the other task's machine thread and then resumes its greenlet. Tasks that are
ready run first come first served. A task gives up control where it waits, where it yields, where
it ends, and where the machine stops its guest code for the quantum's sake.

What must not get lost: an error that is nobody's in particular, such as KeyboardInterrupt in the
middle of the platform's waiting, a deadlock, or whatever ended another task in a way that ends the
program, is raised where the main task stands. It is the one that somebody has called.

Nor may a task get lost, or who runs be in doubt, when a signal handler of Python's raises in here.
Python runs handlers after a call, at a jump backwards and where a function begins, nowhere else
(in CPython's words: where the eval breaker is checked). So statements without any of these are done
as a whole. A loop's jump is outside of the "try" that the loop stands in (Python 3.13), so a loop
that something guards is in a function of its own. Steps that need calls are put right where they
were struck (``except BaseException``), by steps that may be done twice, and twice because two
signals may come together. And a task is taken from where it is found only in one piece with its
being resumed.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from threading import current_thread
from typing import TYPE_CHECKING, NoReturn

from theseus_kit.errors import GuestInterrupted, MachineError
from theseus_kit.task.task import ENDED, READY, RUNNING, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from theseus_kit.clock import Clock
    from theseus_kit.errors import DeadlockError
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task.hub import Hub, Place
    from theseus_kit.task.quantum import Quantum
    from theseus_kit.task.waiting import Events
    from theseus_kit.values.symbols import BacktraceEntry


class Switching:
    """The running task, and those that are ready to run."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self.clock = clock
        self.switches = 0
        """How often control has passed from one task to another."""
        self.capture: Callable[[Task], tuple[BacktraceEntry, ...]] = _no_backtrace
        """Returns a task's backtrace, for the report of a deadlock."""
        self.is_broken = False
        """An error from elsewhere, or of a signal handler's, has dropped guest frames of the main
        task, wherever they stood: what they worked on must be left alone."""
        self._machine = machine
        self._current: Task | None = None
        self._main: Task | None = None
        self._ready: deque[Task] = deque()
        """The tasks that are READY, first come first. One that is not counts for nothing."""
        self._events: Events | None = None
        """What of the world outside tasks wait for; made at the first wait."""
        self._quantum: Quantum | None = None
        """Made with the second task."""
        self.place: Place | None = None
        """The host thread that tasks began on last; None while none has begun."""
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
    def main(self) -> Task:
        """The task that Python's calls run on. Raises MachineError before it is started."""
        if self._main is None:
            raise MachineError("the platform has no main task: it is not started")
        return self._main

    @property
    def ready(self) -> int:
        """How many tasks could run, besides the one that does."""
        return len(self._ready)

    def is_contended(self) -> bool:
        """Another task could run, or could come to it while this one runs; or this one has to be
        stopped for an interrupt."""
        events = self._events
        return (
            bool(self._ready)
            or self._is_interrupted
            or (events is not None and events.is_needed and not events.is_waiting)
        )

    def on_switch(self, listener: Callable[[Task, Task], None]) -> None:
        """Have a listener told of each switch before it happens: who is left, who goes on.

        It is told again, of the same or of the way back, where a signal handler has raised in it or
        soon after: who goes on counts.
        """
        self._listeners.append(listener)

    def is_passing(self, error: BaseException) -> bool:
        """Whether an error is nobody's mistake where it is raised: it has come from another task,
        or from a signal handler of Python's. To be asked where it drops guest frames."""
        if error is self._passing:
            return True
        from theseus_kit.task.striking import is_from_signal_handler

        is_passing = is_from_signal_handler(error)
        self.is_broken = self.is_broken or (is_passing and self._current is self._main)
        return is_passing

    def _note_dropped_frames(self) -> None:
        """The main task raises an error that is no answer to the guest code it runs, if any."""
        self.is_broken = bool(self._machine.registers().rip) or self.is_broken

    def _take_interrupt(self) -> bool:
        """Whether somebody has asked to interrupt whatever goes on next; no longer."""
        noted, self._is_interrupted = self._is_interrupted, False
        return self._machine.take_interrupt() or noted

    def _raise_interrupt(self) -> None:
        if self._take_interrupt():
            raise GuestInterrupted("guest code was interrupted while it waited")

    def _make_ready(self, task: Task, by: object) -> None:
        task.state = READY
        task.woken_by = by
        self._ready.append(task)
        if self._quantum is not None:
            self._quantum.start()

    def _choose(self) -> Task:
        """Find the task that runs next; the world outside is waited for as long as it takes.

        It stays the first that is ready. The main task comes before, where it has to raise an
        error.
        """
        try:
            return self._find()
        except BaseException as error:  # noqa: BLE001  # raised where the main task stands
            return self._send_to_main(error)

    def _find(self) -> Task:
        while True:
            if self._is_interrupted:
                self._raise_interrupt()
            events = self._events
            if events is not None and events.is_needed:
                events.collect(wait=not self._ready)
            if self._ready:
                task = self._first_ready()
                if task is not None:
                    return task
            elif events is None or not events.is_needed:
                raise self._deadlock()

    def _first_ready(self) -> Task | None:
        ready = self._ready
        while ready and ready[0].state != READY:
            del ready[0]  # it has been struck, or raises an error, and runs
        if not ready:
            return None
        task = ready[0]
        if task.greenlet and task.host_thread is not current_thread():
            ready.rotate(-1)
            raise MachineError(
                f"{task!r} began on the thread {task.host_thread.name!r}, and can go on only while "
                "that one uses the platform"
            )
        if self._quantum is not None and self.is_contended():
            self._quantum.start()
        return task

    def _send_to_main(self, error: BaseException) -> Task:
        """Have the main task raise an error when it goes on, which it does next."""
        main = self._main
        if main is None:
            raise error
        if main.error is not None:
            from theseus_kit.task.striking import combine

            error = combine(error, main.error)
        main.error = error
        return main

    def _switch(self, left: Task, task: Task) -> None:
        """Leave the current task's Python side, until somebody comes back to it."""
        ready = self._ready
        try:
            self._select(task)
            if left is self._main:
                left.host_thread = current_thread()
            left.greenlet = self._greenlet_here()
            there = task.greenlet
            if there:
                # From here on all in one piece.
                if ready and ready[0] is task:
                    del ready[0]
                there.switch()
            else:  # it has not begun
                self._hub_here().greenlet.switch()
            left.state = RUNNING
            left.greenlet = None
        except BaseException as error:
            left.state = RUNNING
            left.greenlet = None
            try:
                # Whether it was before the switch or after: this task runs, and is to be the
                # current one. If the machine has refused to select another it is.
                if not isinstance(error, MachineError) or self._current is not left:
                    self._select(left)
            except BaseException:  # struck twice
                self._select(left)
                raise
            if task.state == READY and task not in ready:
                ready.append(task)  # Python has refused: it belongs to another host thread
            raise

    def _find_greenlet(self) -> object:
        from greenlet import getcurrent

        self._greenlet_here = getcurrent
        return getcurrent()

    def _select(self, task: Task) -> None:
        """Make a task the current one, without its Python side. Doing it twice is as once."""
        self._machine.select_thread(task.thread)
        left, self._current = self._current, task
        self.switches += 1
        if left is not None:
            for listener in self._listeners:
                listener(left, task)

    def _hub_here(self) -> Hub:
        """What starts tasks on this host thread."""
        hub = self._hub
        if hub is None or hub.host_thread is not current_thread() or hub.is_over:
            from theseus_kit.task.hub import Hub

            hub = self._hub = Hub(self._go_on)
            self.place = hub.place
        return hub

    def _go_on(self, hub: Hub) -> Callable[[], object]:
        """Begin the current task, or find and select who goes on when it has ended; return what
        passes control on."""
        task, main, ready = self.current, self.main, self._ready
        if task.greenlet is not None and task.greenlet.dead:
            task.state = ENDED  # struck before its first instruction
            task.greenlet = task.body = None
            task.ended.wake_all()
        for error in hub.struck:
            self._send_to_main(error)
        if task.body is None or main.error is not None:
            # While it closes the main task waits for each of the others to end.
            task = main if main.error is not None or self._is_closing else self._choose()
            self._select(task)
        if not task.greenlet:
            from greenlet import greenlet

            task.greenlet = greenlet(partial(self._run, task), hub.greenlet)
        switch: Callable[[], object] = task.greenlet.switch
        # From here on all in one piece.
        if ready and ready[0] is task:
            del ready[0]
        del hub.struck[:]
        return switch

    def _run(self, task: Task) -> None:
        raise NotImplementedError("switching alone runs no tasks")

    def _raise(self, task: Task) -> NoReturn:
        """Raise what a task has to raise now that it goes on."""
        is_main = task is self._main
        if is_main:
            self._note_dropped_frames()
        error = task.error
        assert error is not None
        if is_main:
            self._passing = error
        task.error = None
        raise error

    def _deadlock(self) -> DeadlockError:
        from theseus_kit.task.deadlock import deadlock_of

        return deadlock_of(self._waiting_tasks(), self.capture)

    def _waiting_tasks(self) -> Iterable[Task]:
        raise NotImplementedError("switching alone knows no tasks")


def _no_backtrace(task: Task) -> tuple[BacktraceEntry, ...]:
    return ()
