"""pthread.h: condition variables.

A condition variable is its address; of pthread_cond_t only one word is used, where glibc has it::

    36  flags: bit 1 set for CLOCK_MONOTONIC, clear for CLOCK_REALTIME

and of pthread_condattr_t, one word, likewise: bit 0 shared between processes, bit 1 the clock.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.parking import (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    ParkingLot,
    read_timespec,
    remaining_ns,
)

if TYPE_CHECKING:
    from theseus_kit_tlibc.deferred import Deferred

_COND_SIZE = 48
_FLAGS = 36
_CLOCK_BIT = 2


class Bodies(DeferredBodies):
    """The functions of pthread.h."""

    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._mutexes = deferred.mutexes
        self._parked = ParkingLot(self.library.services.tasks, "condition variable")

    def pthread_condattr_init(self, attr: int) -> int:
        self.library.memory.write_u32(attr, 0)
        return 0

    def pthread_condattr_destroy(self, attr: int) -> int:
        return 0

    def pthread_condattr_setclock(self, attr: int, clock_id: int) -> int:
        if clock_id not in (CLOCK_REALTIME, CLOCK_MONOTONIC):
            raise InvalidParameterError(f"clock {clock_id} to wait by")
        memory = self.library.memory
        memory.write_u32(attr, memory.read_u32(attr) & ~_CLOCK_BIT | clock_id * _CLOCK_BIT)
        return 0

    def pthread_condattr_getclock(self, attr: int, clock_id: int) -> int:
        memory = self.library.memory
        memory.write_u32(clock_id, bool(memory.read_u32(attr) & _CLOCK_BIT))
        return 0

    def pthread_condattr_setpshared(self, attr: int, pshared: int) -> int:
        if pshared not in (0, 1):
            raise InvalidParameterError(f"pshared {pshared}")
        memory = self.library.memory
        memory.write_u32(attr, memory.read_u32(attr) & ~1 | pshared)
        return 0

    def pthread_cond_init(self, cond: int, attr: int) -> int:
        memory = self.library.memory
        memory.write(cond, bytes(_COND_SIZE))
        if attr:
            memory.write_u32(cond + _FLAGS, memory.read_u32(attr) & _CLOCK_BIT)
        return 0

    def pthread_cond_destroy(self, cond: int) -> int:
        return errno.EBUSY if self._parked.waiting(cond) else 0

    def pthread_cond_signal(self, cond: int) -> int:
        self._parked.wake(cond)
        return 0

    def pthread_cond_broadcast(self, cond: int) -> int:
        self._parked.wake_all(cond)
        return 0

    def pthread_cond_wait(self, cond: int, mutex: int) -> int:
        self._wait(cond, mutex, None)
        return 0

    def pthread_cond_timedwait(self, cond: int, mutex: int, abstime: int) -> int:
        clockid = bool(self.library.memory.read_u32(cond + _FLAGS) & _CLOCK_BIT)
        return self.pthread_cond_clockwait(cond, mutex, int(clockid), abstime)

    def pthread_cond_clockwait(self, cond: int, mutex: int, clock_id: int, abstime: int) -> int:
        deadline = read_timespec(self.library.memory, abstime)
        timeout_ns = remaining_ns(self.library.services.clock, clock_id, deadline)
        if not self._wait(cond, mutex, timeout_ns):
            raise PlatformError("the condition was not signalled in time", errno.ETIMEDOUT)
        return 0

    def _wait(self, cond: int, mutex: int, timeout_ns: int | None) -> bool:
        """A signal handler's run is a spurious wakeup, as POSIX allows."""
        count = self._mutexes.unlock(mutex, wholly=True)
        is_woken = self._parked.wait_uninterrupted(cond, timeout_ns)
        self._mutexes.lock(mutex)
        self._mutexes.set_count(mutex, count)
        self.library.services.tasks.at_cancellation_point()
        return is_woken
