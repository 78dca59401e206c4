"""pthread.h: read-write locks.

pthread_rwlock_t, the words of it used here, where glibc has them::

    0   how many tasks read     4   how many wait to write
    24  the task that writes    48  kind: 0 and 1 prefer readers, 2 writers

A lock that prefers readers is had by a reader whenever nobody writes; one that prefers writers not
while somebody waits to write.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.parking import CLOCK_REALTIME, ParkingLot, read_timespec, remaining_ns

if TYPE_CHECKING:
    from theseus_kit_tlibc.deferred import Deferred

_SIZE = 56
_READERS, _WAITING_WRITERS, _WRITER, _KIND = 0, 4, 24, 48
PREFER_WRITER = 2
_READERS_MAX = (1 << 31) - 1


class Bodies(DeferredBodies):
    """The functions of pthread.h."""

    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._memory = self.library.memory
        self._parked = ParkingLot(self.library.services.tasks, "read-write lock")

    def pthread_rwlockattr_init(self, attr: int) -> int:
        self._memory.write_u64(attr, 0)
        return 0

    def pthread_rwlockattr_destroy(self, attr: int) -> int:
        return 0

    def pthread_rwlockattr_setpshared(self, attr: int, pshared: int) -> int:
        if pshared not in (0, 1):
            raise InvalidParameterError(f"pshared {pshared}")
        self._memory.write_u32(attr + 4, pshared)
        return 0

    def pthread_rwlockattr_setkind_np(self, attr: int, pref: int) -> int:
        if pref not in (0, 1, PREFER_WRITER):
            raise InvalidParameterError(f"no kind {pref} of read-write lock")
        self._memory.write_u32(attr, pref)
        return 0

    def pthread_rwlock_init(self, rwlock: int, attr: int) -> int:
        self._memory.write(rwlock, bytes(_SIZE))
        if attr:
            self._memory.write_u32(rwlock + _KIND, self._memory.read_u32(attr))
        return 0

    def pthread_rwlock_destroy(self, rwlock: int) -> int:
        return 0

    def pthread_rwlock_rdlock(self, rwlock: int) -> int:
        self._lock(rwlock, self._try_read)
        return 0

    def pthread_rwlock_tryrdlock(self, rwlock: int) -> int:
        return 0 if self._try_read(rwlock) else errno.EBUSY

    def pthread_rwlock_timedrdlock(self, rwlock: int, abstime: int) -> int:
        return self.pthread_rwlock_clockrdlock(rwlock, CLOCK_REALTIME, abstime)

    def pthread_rwlock_clockrdlock(self, rwlock: int, clockid: int, abstime: int) -> int:
        self._lock(rwlock, self._try_read, (clockid, read_timespec(self._memory, abstime)))
        return 0

    def pthread_rwlock_wrlock(self, rwlock: int) -> int:
        self._lock(rwlock, self._try_write)
        return 0

    def pthread_rwlock_trywrlock(self, rwlock: int) -> int:
        return 0 if self._try_write(rwlock) else errno.EBUSY

    def pthread_rwlock_timedwrlock(self, rwlock: int, abstime: int) -> int:
        return self.pthread_rwlock_clockwrlock(rwlock, CLOCK_REALTIME, abstime)

    def pthread_rwlock_clockwrlock(self, rwlock: int, clockid: int, abstime: int) -> int:
        self._lock(rwlock, self._try_write, (clockid, read_timespec(self._memory, abstime)))
        return 0

    def pthread_rwlock_unlock(self, rwlock: int) -> int:
        memory = self._memory
        if memory.read_u32(rwlock + _WRITER):
            memory.write_u32(rwlock + _WRITER, 0)
        elif readers := memory.read_u32(rwlock + _READERS):
            memory.write_u32(rwlock + _READERS, readers - 1)
        self._parked.wake_all(rwlock)
        return 0

    def _try_read(self, rwlock: int) -> bool:
        memory = self._memory
        readers = memory.read_u32(rwlock + _READERS)
        if memory.read_u32(rwlock + _WRITER):
            return False
        if memory.read_u32(rwlock + _KIND) == PREFER_WRITER and memory.read_u32(
            rwlock + _WAITING_WRITERS
        ):
            return False
        if readers == _READERS_MAX:
            raise PlatformError("a lock read too often", errno.EAGAIN)
        memory.write_u32(rwlock + _READERS, readers + 1)
        return True

    def _try_write(self, rwlock: int) -> bool:
        memory = self._memory
        if memory.read_u32(rwlock + _WRITER) or memory.read_u32(rwlock + _READERS):
            return False
        memory.write_u32(rwlock + _WRITER, self.library.task.id)
        return True

    def _lock(
        self, rwlock: int, try_lock: Callable[[int], bool], deadline: tuple[int, int] | None = None
    ) -> None:
        memory, clock = self._memory, self.library.services.clock
        waits_to_write = try_lock == self._try_write
        while not try_lock(rwlock):
            if memory.read_u32(rwlock + _WRITER) == self.library.task.id:
                raise PlatformError("locking a lock that one writes under", errno.EDEADLK)
            timeout_ns = None if deadline is None else remaining_ns(clock, *deadline)
            if waits_to_write:
                self._count_writer(rwlock, 1)
            is_woken = self._parked.wait_uninterrupted(rwlock, timeout_ns)
            if waits_to_write:
                self._count_writer(rwlock, -1)
            if not is_woken:
                self._parked.wake_all(rwlock)  # readers that this writer kept out
                raise PlatformError("the lock was not unlocked in time", errno.ETIMEDOUT)

    def _count_writer(self, rwlock: int, change: int) -> None:
        memory = self._memory
        place = rwlock + _WAITING_WRITERS
        memory.write_u32(place, max(memory.read_u32(place) + change, 0))
