"""pthread.h: routines that run once, barriers, spin locks.

::

    pthread_once_t       0   0 not yet, 1 running, 2 done
    pthread_barrier_t    0   how many it takes    4   how many have come    8   rounds
    pthread_spinlock_t   0   1 taken, 0 free
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import GuestUnwinding, InvalidParameterError
from theseus_kit_tlibc.declare import RESULT, Header, c_function
from theseus_kit_tlibc.parking import ParkingLot
from theseus_kit_tlibc.pthread_code import ONCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.listing import Listing

_ONCE_RUNNING, _ONCE_DONE = 1, 2
_BARRIER_SIZE = 32
_NEEDED, _COME, _ROUND = 0, 4, 8
_SERIAL_THREAD = -1


class PthreadSync(Header):
    header: ClassVar[str] = "pthread.h"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        tasks = library.services.tasks
        self._once = ParkingLot(tasks, "pthread_once")
        self._barriers = ParkingLot(tasks, "barrier")
        self._spinning = ParkingLot(tasks, "spin lock")

    def machine_code(self, listing: Listing) -> Callable[[], bytes]:
        return lambda: listing.with_address(self.library.provided("__pthread_once_slow"))

    @c_function(
        "int pthread_once(pthread_once_t *once_control, void (*init_routine)(void))",
        on_error=RESULT,
        blocks=True,
        listing=ONCE,
    )
    def pthread_once(self, once_control: int, init_routine: int) -> int:
        memory = self.library.memory
        while (state := memory.read_u32(once_control)) == _ONCE_RUNNING:
            self._once.wait_uninterrupted(once_control)
        if state != _ONCE_DONE:
            memory.write_u32(once_control, _ONCE_RUNNING)
            try:
                self.library.machine.call(init_routine)
            except GuestUnwinding:  # a C++ exception: it has not run then (call_once)
                memory.write_u32(once_control, 0)
                self._once.wake_all(once_control)
                raise
            memory.write_u32(once_control, _ONCE_DONE)
            self._once.wake_all(once_control)
        return 0

    @c_function(
        "int __pthread_once_slow(pthread_once_t *once_control, void (*init_routine)(void))",
        on_error=RESULT,
        blocks=True,
    )
    def once_slow(self, once_control: int, init_routine: int) -> int:
        return self.pthread_once(once_control, init_routine)

    @c_function("int pthread_barrierattr_init(pthread_barrierattr_t *attr)", on_error=RESULT)
    def pthread_barrierattr_init(self, attr: int) -> int:
        self.library.memory.write_u32(attr, 0)
        return 0

    @c_function("int pthread_barrierattr_destroy(pthread_barrierattr_t *attr)", on_error=RESULT)
    def pthread_barrierattr_destroy(self, attr: int) -> int:
        return 0

    @c_function(
        "int pthread_barrier_init(pthread_barrier_t *barrier, const pthread_barrierattr_t *attr, "
        "unsigned int count)",
        on_error=RESULT,
    )
    def pthread_barrier_init(self, barrier: int, attr: int, count: int) -> int:
        if not 0 < count < 1 << 31:
            raise InvalidParameterError(f"a barrier for {count}")
        memory = self.library.memory
        memory.write(barrier, bytes(_BARRIER_SIZE))
        memory.write_u32(barrier + _NEEDED, count)
        return 0

    @c_function("int pthread_barrier_destroy(pthread_barrier_t *barrier)", on_error=RESULT)
    def pthread_barrier_destroy(self, barrier: int) -> int:
        return errno.EBUSY if self.library.memory.read_u32(barrier + _COME) else 0

    @c_function("int pthread_barrier_wait(pthread_barrier_t *barrier)", blocks=True)
    def pthread_barrier_wait(self, barrier: int) -> int:
        """PTHREAD_BARRIER_SERIAL_THREAD, -1, to the one that comes last; 0 to the others."""
        memory = self.library.memory
        come = memory.read_u32(barrier + _COME) + 1
        this_round = memory.read_u32(barrier + _ROUND)
        if come == memory.read_u32(barrier + _NEEDED):
            memory.write_u32(barrier + _COME, 0)
            memory.write_u32(barrier + _ROUND, this_round + 1 & 0xFFFF_FFFF)
            self._barriers.wake_all(barrier)
            return _SERIAL_THREAD
        memory.write_u32(barrier + _COME, come)
        self._barriers.wait_uninterrupted(barrier)
        while memory.read_u32(barrier + _ROUND) == this_round and memory.read_u32(barrier + _COME):
            self._barriers.wait_uninterrupted(barrier)  # a signal was handled meanwhile
        return 0

    @c_function("int pthread_spin_init(pthread_spinlock_t *lock, int pshared)", on_error=RESULT)
    def pthread_spin_init(self, lock: int, pshared: int) -> int:
        self.library.memory.write_u32(lock, 0)
        return 0

    @c_function("int pthread_spin_destroy(pthread_spinlock_t *lock)", on_error=RESULT)
    def pthread_spin_destroy(self, lock: int) -> int:
        return 0

    @c_function("int pthread_spin_lock(pthread_spinlock_t *lock)", on_error=RESULT, blocks=True)
    def pthread_spin_lock(self, lock: int) -> int:
        """Waits instead of spinning: who holds it cannot run meanwhile."""
        while not self._try_spin(lock):
            self._spinning.wait_uninterrupted(lock)
        return 0

    @c_function("int pthread_spin_trylock(pthread_spinlock_t *lock)", on_error=RESULT)
    def pthread_spin_trylock(self, lock: int) -> int:
        return 0 if self._try_spin(lock) else errno.EBUSY

    @c_function("int pthread_spin_unlock(pthread_spinlock_t *lock)", on_error=RESULT)
    def pthread_spin_unlock(self, lock: int) -> int:
        self.library.memory.write_u32(lock, 0)
        self._spinning.wake(lock)
        return 0

    def _try_spin(self, lock: int) -> bool:
        memory = self.library.memory
        if memory.read_u32(lock):
            return False
        memory.write_u32(lock, 1)
        return True
