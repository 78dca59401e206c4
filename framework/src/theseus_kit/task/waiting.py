"""What tasks wait for outside of the platform: the time, and the host's descriptors.

The whole platform waits in one place when no task can run. It is one wait of the host's, for the
nearest timer or the first descriptor, that :meth:`Events.interrupt` ends from another thread and
that runs Python's signal handlers (Ctrl-C) where they arrive.

Interrupts come from other threads, and what a signal handler of Python's raises comes anywhere. So
an end that nobody saw is left for the next wait, which is only shorter then; and no lock is ever
held by somebody who is to let go of it.

A virtual clock does not wait: it jumps to the nearest timer. Where a host descriptor is waited for
at the same time it goes first if it is ready: input from outside is as repeatable as it is itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING
from weakref import ref

from theseus_kit.errors import GuestInterrupted
from theseus_kit.task.task import WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from theseus_kit.clock import Clock
    from theseus_kit.task.task import Task

_MILLISECOND = 1_000_000
_SECOND = 1_000_000_000
_LONGEST_NS = _SECOND
"""Of one wait: a signal that comes the moment before it begins does not end it, and Python runs the
signal's handler after it."""
_STALE_TIMERS = 64
_MOST_RINGS = 4096
_INTERRUPTED = "guest code was interrupted while it waited"
_POLL_EVERY = 16
"""While tasks are ready the host is asked for descriptors at every so many switches: it costs as
much as a switch."""


class Events:
    """Timers and descriptors, and the tasks that wait for them."""

    def __init__(self, clock: Clock, take_interrupt: Callable[[], bool]) -> None:
        self._clock = clock
        self._take_interrupt = take_interrupt
        """Whether an interrupt came before the wait began; asked once it can be ended."""
        self._timers: list[tuple[int, int, Task, int]] = []
        """A heap of (deadline, order of arrival, task, number of its wait)."""
        self._arrivals = count()
        self._sleeping: dict[Task, int] = {}
        """Tasks whose timer counts, by deadline."""
        self._descriptors: dict[int, dict[Task, int]] = {}
        """The events each task wants of each host descriptor."""
        self._until_poll = 0
        self._alarm = Lock()
        """Held, but while it rings: waiting is trying to take it."""
        self._alarm.acquire()
        self.is_waiting = False
        """The host is being waited for."""
        self._uninterrupted: list[bool] = []
        """One element while a wait is going on. Who removes it, the wait's end or an interrupt, was
        first: a single step that only one of them can make."""
        self._pipe: tuple[int, int] | None = None
        """Ends a wait for descriptors; made at the first."""
        this = ref(self)
        os.register_at_fork(after_in_child=lambda: _part(this))

    @property
    def is_needed(self) -> bool:
        """A task waits for something here."""
        return bool(self._sleeping or self._descriptors)

    def add_timer(self, task: Task, deadline_ns: int) -> None:
        self._sleeping[task] = deadline_ns
        timers = self._timers
        if len(timers) > _STALE_TIMERS and len(timers) > 2 * len(self._sleeping):
            timers[:] = [timer for timer in timers if timer[2].wait_number == timer[3]]
            heapify(timers)
        heappush(timers, (deadline_ns, next(self._arrivals), task, task.wait_number))

    def add_descriptors(self, task: Task, descriptors: Iterable[tuple[int, int]]) -> None:
        for descriptor, events in descriptors:
            wanted = self._descriptors.setdefault(descriptor, {})
            wanted[task] = wanted.get(task, 0) | events

    def forget(self, task: Task, descriptors: Sequence[tuple[int, int]]) -> None:
        """A task's wait has ended."""
        self._sleeping.pop(task, None)
        for descriptor, _ in descriptors:
            wanted = self._descriptors.get(descriptor)
            if wanted is not None:
                wanted.pop(task, None)
                if not wanted:
                    del self._descriptors[descriptor]

    def collect(self, *, wait: bool) -> None:
        """Wake the tasks whose time has come or whose descriptors are ready.

        With ``wait``: once something has happened, or a while has passed. Raises GuestInterrupted,
        and what Python's signal handlers raise.
        """
        deadline = self._nearest()
        if not wait:
            if self._descriptors:
                self._until_poll -= 1
                if self._until_poll < 0:
                    self._until_poll = _POLL_EVERY
                    self._poll(0)
            if deadline is not None:
                self._ring(self._clock.monotonic_ns())
            return
        if self._clock.is_virtual and deadline is not None:
            if not (self._descriptors and self._poll(0)):
                self._clock.advance_to(deadline)
                self._ring(deadline)
            return
        if not self._wait(deadline) and deadline is not None:
            self._ring(self._clock.monotonic_ns())

    def interrupt(self) -> bool:
        """End the wait that is going on, if there is one, with GuestInterrupted. Any thread."""
        try:
            del self._uninterrupted[0]
        except IndexError:
            return False
        self._end_wait()
        return True

    def look_again(self) -> None:
        """Have the wait that is going on, if there is one, ask ``take_interrupt``. Any thread."""
        if self.is_waiting:
            self._end_wait()

    def _end_wait(self) -> None:
        with suppress(RuntimeError):  # it rings already
            self._alarm.release()
        if self._pipe is not None:
            with suppress(BlockingIOError):  # it is full of such bytes
                os.write(self._pipe[1], b"\0")

    def part(self) -> None:
        """In a forked child: its waits are its own to end, not its parent's."""
        self._alarm = Lock()
        self._alarm.acquire()
        self.is_waiting = False
        self._uninterrupted = []
        self.close()

    def close(self) -> None:
        pipe, self._pipe = self._pipe, None
        for end in pipe or ():
            os.close(end)

    def _nearest(self) -> int | None:
        """The nearest deadline of a task that still waits for it."""
        timers = self._timers
        while timers:
            deadline, _, task, number = timers[0]
            if task.state == WAITING and task.wait_number == number:
                return deadline
            heappop(timers)
        return None

    def _ring(self, now: int) -> None:
        while (deadline := self._nearest()) is not None and deadline <= now:
            self._timers[0][2].wake(None)  # the timer goes when it is found to count no more

    def _wait(self, deadline: int | None) -> bool:
        """Wait for the host; True if a descriptor was ready."""
        if self._descriptors and self._pipe is None:
            self._pipe = os.pipe()
            for end in self._pipe:
                os.set_blocking(end, False)
        found = False
        uninterrupted = [True]
        try:
            self._uninterrupted = uninterrupted
            self.is_waiting = True
            # From here on an interrupt ends the wait; one that came before is found now.
            self._raise_interrupt()
            remaining = _LONGEST_NS
            if deadline is not None:
                remaining = min(max(deadline - self._clock.monotonic_ns(), 0), remaining)
            if self._descriptors:
                found = self._poll(-(-remaining // _MILLISECOND))  # in whole ones, rounded up
            else:
                self._alarm.acquire(timeout=remaining / _SECOND)
        finally:
            self.is_waiting = False
            try:
                del uninterrupted[0]
                was_interrupted = False
            except IndexError:
                was_interrupted = True
        if was_interrupted:
            raise GuestInterrupted(_INTERRUPTED)
        self._raise_interrupt()
        return found

    def _raise_interrupt(self) -> None:
        if self._take_interrupt():
            raise GuestInterrupted(_INTERRUPTED)

    def _poll(self, timeout_ms: int) -> bool:
        """Ask the host for the descriptors' events; wake who wants them."""
        import select

        poll = select.poll()
        for descriptor, wanted in self._descriptors.items():
            events = 0
            for mask in wanted.values():
                events |= mask
            poll.register(descriptor, events)
        waker = -1
        if self._pipe is not None and timeout_ms != 0:
            waker = self._pipe[0]
            poll.register(waker, select.POLLIN)
        unasked = select.POLLERR | select.POLLHUP | select.POLLNVAL
        found = False
        results: dict[Task, dict[int, int]] = {}
        for descriptor, events in poll.poll(timeout_ms):
            if descriptor == waker:
                os.read(waker, _MOST_RINGS)
                continue
            for task, mask in self._descriptors[descriptor].items():
                if events & (mask | unasked):
                    results.setdefault(task, {})[descriptor] = events & (mask | unasked)
        for task, ready in results.items():
            task.wake(ready)
            found = True
        return found


def _part(this: ref[Events]) -> None:
    events = this()
    if events is not None:
        events.part()
