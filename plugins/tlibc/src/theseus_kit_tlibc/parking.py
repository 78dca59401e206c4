"""Tasks that wait on an object in guest memory, by its address.

Where a task waits is known here alone: the object itself holds only what its own functions need.
Tasks are switched nowhere but where they wait, so looking at an object and waiting on it is one
step: nothing can come between.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.task import WaitQueue

if TYPE_CHECKING:
    from theseus_kit.clock import Clock
    from theseus_kit.machine.protocol import Memory
    from theseus_kit.task import Tasks

CLOCK_REALTIME, CLOCK_MONOTONIC = 0, 1
NANOSECONDS = 1_000_000_000
_TIMESPEC = Struct("<qq")


def read_timespec(memory: Memory, address: int) -> int:
    """A struct timespec in nanoseconds. Raises MemoryFaultError, InvalidParameterError."""
    seconds, nanoseconds = _TIMESPEC.unpack(memory.read(address, 16))
    if seconds < 0 or not 0 <= nanoseconds < NANOSECONDS:
        raise InvalidParameterError(f"timespec {seconds} s, {nanoseconds} ns")
    duration: int = seconds * NANOSECONDS + nanoseconds
    return duration


def remaining_ns(clock: Clock, clockid: int, deadline: int) -> int:
    """How long it is until an absolute time. Raises InvalidParameterError for other clocks."""
    if clockid == CLOCK_REALTIME:
        return max(deadline - clock.realtime_ns(), 0)
    if clockid == CLOCK_MONOTONIC:
        return max(deadline - clock.monotonic_ns(), 0)
    raise InvalidParameterError(f"clock {clockid} to wait by")


def is_restarted(tasks: Tasks, error: PlatformError) -> bool:
    """Whether a wait that ended with an error is to be taken up again: a signal has ended it, and
    each handler that has run now wants that (SA_RESTART)."""
    return error.errno == errno.EINTR and tasks.handle_signals()


class ParkingLot:
    """The queues of one kind of object."""

    def __init__(self, tasks: Tasks, what: str) -> None:
        self._tasks = tasks
        self._what = what
        self._queues: dict[int, WaitQueue] = {}

    def wait(self, address: int, timeout_ns: int | None = None) -> bool:
        """Wait on an object; False if the time was over first. Raises PlatformError (EINTR)."""
        queue = self._queues.get(address)
        if queue is None:
            queue = self._queues[address] = WaitQueue(self._what, address)
        try:
            return self._tasks.wait(queue, timeout_ns)
        finally:
            if not queue and self._queues.get(address) is queue:
                del self._queues[address]

    def wait_uninterrupted(self, address: int, timeout_ns: int | None = None) -> bool:
        """As :meth:`wait`, but a signal, which is handled, only ends the wait early: True, as if
        it was woken."""
        try:
            return self.wait(address, timeout_ns)
        except PlatformError as error:
            if error.errno != errno.EINTR:
                raise
            self._tasks.handle_signals()
            return True

    def wait_restarting(self, address: int) -> None:
        """As :meth:`wait` without a time, which is taken up again where the signal's handler was
        installed with SA_RESTART (signal(7)); returns then, as if it was woken."""
        try:
            self.wait(address)
        except PlatformError as error:
            if not is_restarted(self._tasks, error):
                raise

    def wake(self, address: int, count: int = 1) -> int:
        """Make tasks ready that wait on an object; return how many."""
        queue = self._queues.get(address)
        return 0 if queue is None else queue.wake(count)

    def wake_all(self, address: int) -> int:
        queue = self._queues.get(address)
        return 0 if queue is None else queue.wake_all()

    def waiting(self, address: int) -> int:
        """How many tasks wait on an object."""
        return len(self._queues.get(address, ()))
