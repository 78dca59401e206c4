"""pthread.h: mutexes and their attributes.

pthread_mutex_t, the words of it used here, where glibc has them::

    0   lock: 0 free, 1 taken,     4   count of a recursive lock
        2 taken and waited for     8   owner: the task's id, of kinds 1 and 2
                                  16   kind: 0 normal, 1 recursive, 2 error-checking, 3 adaptive

Machine code (:mod:`.pthread_code`) takes and frees normal and adaptive ones as long as nobody has
to wait; it knows no owner.

pthread_mutexattr_t is one word: the kind, and above it whether processes share the mutex and
whether it outlives its owner. A mutex that is shared is as good as any, there being one process;
robust ones and those with priorities are refused (ENOTSUP) where they are asked for.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit_tlibc.declare import RESULT, Header, c_function
from theseus_kit_tlibc.parking import CLOCK_REALTIME, ParkingLot, read_timespec, remaining_ns
from theseus_kit_tlibc.pthread_code import MUTEX_LOCK, MUTEX_TRYLOCK, MUTEX_UNLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.listing import Listing

NORMAL, RECURSIVE, ERROR_CHECKING, ADAPTIVE = range(4)
MUTEX_SIZE = 40
_COUNT, _OWNER, _KIND = 4, 8, 16
_WAITED_FOR = 2
_KIND_BITS = 3
_SHARED = 1 << 31
_COUNT_MAX = 0xFFFF_FFFF


class Mutexes:
    """What locks and unlocks; condition variables do it as well."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._memory = library.memory
        self._parked = ParkingLot(library.services.tasks, "mutex")

    def try_lock(self, mutex: int) -> bool:
        """Raises PlatformError: EAGAIN for a recursive mutex that is locked too often."""
        memory = self._memory
        if not memory.read_u32(mutex):
            memory.write_u32(mutex, _WAITED_FOR if self._parked.waiting(mutex) else 1)
            memory.write_u32(mutex + _COUNT, 1)
            memory.write_u32(mutex + _OWNER, self._library.task.id)
            return True
        if self._kind(mutex) == RECURSIVE and self.is_mine(mutex):
            count = memory.read_u32(mutex + _COUNT)
            if count == _COUNT_MAX:
                raise PlatformError("a mutex locked too often", errno.EAGAIN)
            memory.write_u32(mutex + _COUNT, count + 1)
            return True
        return False

    def lock(self, mutex: int, deadline: tuple[int, int] | None = None) -> None:
        """Lock, waiting as long as it takes, or to a (clock, time). Raises EDEADLK, ETIMEDOUT."""
        while not self.try_lock(mutex):
            if self._kind(mutex) == ERROR_CHECKING and self.is_mine(mutex):
                raise PlatformError("locking a mutex one owns", errno.EDEADLK)
            timeout_ns = None
            if deadline is not None:
                timeout_ns = remaining_ns(self._library.services.clock, *deadline)
            self._memory.write_u32(mutex, _WAITED_FOR)
            if not self._parked.wait_uninterrupted(mutex, timeout_ns):
                raise PlatformError("the mutex was not unlocked in time", errno.ETIMEDOUT)

    def unlock(self, mutex: int, *, wholly: bool = False) -> int:
        """Unlock once, or as often as it is locked; return how often that was. Raises EPERM."""
        memory = self._memory
        if self._kind(mutex) in (RECURSIVE, ERROR_CHECKING) and not self.is_mine(mutex):
            raise PlatformError("unlocking a mutex one does not own", errno.EPERM)
        count = memory.read_u32(mutex + _COUNT)
        if count > 1 and not wholly:
            memory.write_u32(mutex + _COUNT, count - 1)
            return 1
        memory.write(mutex, bytes(_OWNER + 4))
        self._parked.wake(mutex)
        return count

    def set_count(self, mutex: int, count: int) -> None:
        """Lock a mutex of one's own as often as it was locked before."""
        self._memory.write_u32(mutex + _COUNT, max(count, 1))

    def is_mine(self, mutex: int) -> bool:
        memory = self._memory
        return bool(memory.read_u32(mutex)) and (
            memory.read_u32(mutex + _OWNER) == self._library.task.id
        )

    def _kind(self, mutex: int) -> int:
        return self._memory.read_u32(mutex + _KIND) & _KIND_BITS


class PthreadMutex(Header):
    header: ClassVar[str] = "pthread.h"

    def __init__(self, library: Library, mutexes: Mutexes) -> None:
        super().__init__(library)
        self._mutexes = mutexes

    def machine_code(self, listing: Listing) -> Callable[[], bytes]:
        slow = {MUTEX_LOCK: "lock", MUTEX_TRYLOCK: "trylock", MUTEX_UNLOCK: "unlock"}[listing]
        return lambda: listing.with_address(self.library.provided(f"__pthread_mutex_{slow}_slow"))

    @c_function("int pthread_mutexattr_init(pthread_mutexattr_t *attr)", on_error=RESULT)
    def pthread_mutexattr_init(self, attr: int) -> int:
        self.library.memory.write_u32(attr, 0)
        return 0

    @c_function("int pthread_mutexattr_destroy(pthread_mutexattr_t *attr)", on_error=RESULT)
    def pthread_mutexattr_destroy(self, attr: int) -> int:
        return 0

    @c_function(
        "int pthread_mutexattr_settype(pthread_mutexattr_t *attr, int kind)", on_error=RESULT
    )
    def pthread_mutexattr_settype(self, attr: int, kind: int) -> int:
        if kind not in (NORMAL, RECURSIVE, ERROR_CHECKING, ADAPTIVE):
            raise InvalidParameterError(f"no mutex type {kind}")
        memory = self.library.memory
        memory.write_u32(attr, memory.read_u32(attr) & ~_KIND_BITS | kind)
        return 0

    @c_function(
        "int pthread_mutexattr_gettype(const pthread_mutexattr_t *attr, int *kind)",
        on_error=RESULT,
    )
    def pthread_mutexattr_gettype(self, attr: int, kind: int) -> int:
        self.library.memory.write_u32(kind, self.library.memory.read_u32(attr) & _KIND_BITS)
        return 0

    @c_function(
        "int pthread_mutexattr_setpshared(pthread_mutexattr_t *attr, int pshared)", on_error=RESULT
    )
    def pthread_mutexattr_setpshared(self, attr: int, pshared: int) -> int:
        if pshared not in (0, 1):
            raise InvalidParameterError(f"pshared {pshared}")
        memory = self.library.memory
        memory.write_u32(attr, memory.read_u32(attr) & ~_SHARED | pshared * _SHARED)
        return 0

    @c_function(
        "int pthread_mutexattr_getpshared(const pthread_mutexattr_t *attr, int *pshared)",
        on_error=RESULT,
    )
    def pthread_mutexattr_getpshared(self, attr: int, pshared: int) -> int:
        self.library.memory.write_u32(pshared, self.library.memory.read_u32(attr) >> 31)
        return 0

    @c_function(
        "int pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robustness)",
        on_error=RESULT,
    )
    def pthread_mutexattr_setrobust(self, attr: int, robustness: int) -> int:
        if robustness not in (0, 1):
            raise InvalidParameterError(f"robustness {robustness}")
        return errno.ENOTSUP if robustness else 0

    @c_function(
        "int pthread_mutexattr_setprotocol(pthread_mutexattr_t *attr, int protocol)",
        on_error=RESULT,
    )
    def pthread_mutexattr_setprotocol(self, attr: int, protocol: int) -> int:
        if protocol not in (0, 1, 2):
            raise InvalidParameterError(f"protocol {protocol}")
        return errno.ENOTSUP if protocol else 0

    @c_function(
        "int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)",
        on_error=RESULT,
    )
    def pthread_mutex_init(self, mutex: int, attr: int) -> int:
        memory = self.library.memory
        memory.write(mutex, bytes(MUTEX_SIZE))
        if attr:
            memory.write_u32(mutex + _KIND, memory.read_u32(attr) & _KIND_BITS)
        return 0

    @c_function("int pthread_mutex_destroy(pthread_mutex_t *mutex)", on_error=RESULT)
    def pthread_mutex_destroy(self, mutex: int) -> int:
        return errno.EBUSY if self.library.memory.read_u32(mutex) else 0

    @c_function(
        "int pthread_mutex_lock(pthread_mutex_t *mutex)",
        on_error=RESULT,
        blocks=True,
        listing=MUTEX_LOCK,
    )
    def pthread_mutex_lock(self, mutex: int) -> int:
        self._mutexes.lock(mutex)
        return 0

    @c_function(
        "int __pthread_mutex_lock_slow(pthread_mutex_t *mutex)", on_error=RESULT, blocks=True
    )
    def mutex_lock_slow(self, mutex: int) -> int:
        return self.pthread_mutex_lock(mutex)

    @c_function("int __pthread_mutex_trylock_slow(pthread_mutex_t *mutex)", on_error=RESULT)
    def mutex_trylock_slow(self, mutex: int) -> int:
        return self.pthread_mutex_trylock(mutex)

    @c_function("int __pthread_mutex_unlock_slow(pthread_mutex_t *mutex)", on_error=RESULT)
    def mutex_unlock_slow(self, mutex: int) -> int:
        return self.pthread_mutex_unlock(mutex)

    @c_function(
        "int pthread_mutex_trylock(pthread_mutex_t *mutex)",
        on_error=RESULT,
        listing=MUTEX_TRYLOCK,
    )
    def pthread_mutex_trylock(self, mutex: int) -> int:
        return 0 if self._mutexes.try_lock(mutex) else errno.EBUSY

    @c_function(
        "int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *abstime)",
        on_error=RESULT,
        blocks=True,
    )
    def pthread_mutex_timedlock(self, mutex: int, abstime: int) -> int:
        return self.pthread_mutex_clocklock(mutex, CLOCK_REALTIME, abstime)

    @c_function(
        "int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clockid, "
        "const struct timespec *abstime)",
        on_error=RESULT,
        blocks=True,
    )
    def pthread_mutex_clocklock(self, mutex: int, clockid: int, abstime: int) -> int:
        if not self._mutexes.try_lock(mutex):  # a time that is none matters only to who waits
            self._mutexes.lock(mutex, (clockid, read_timespec(self.library.memory, abstime)))
        return 0

    @c_function(
        "int pthread_mutex_unlock(pthread_mutex_t *mutex)", on_error=RESULT, listing=MUTEX_UNLOCK
    )
    def pthread_mutex_unlock(self, mutex: int) -> int:
        self._mutexes.unlock(mutex)
        return 0
