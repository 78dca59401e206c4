"""semaphore.h: unnamed semaphores.

sem_t: the value in its first word, where glibc has it. Named ones (sem_open) need files that
processes share and are not here.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.parking import CLOCK_REALTIME, ParkingLot, read_timespec, remaining_ns

if TYPE_CHECKING:
    from theseus_kit_tlibc.deferred import Deferred

SEM_VALUE_MAX = (1 << 31) - 1
_SIZE = 32


class Bodies(DeferredBodies):
    """The functions of semaphore.h."""

    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._parked = ParkingLot(self.library.services.tasks, "semaphore")

    def sem_init(self, sem: int, pshared: int, value: int) -> int:
        if value > SEM_VALUE_MAX:
            raise InvalidParameterError(f"a semaphore of {value}")
        self.library.memory.write(sem, value.to_bytes(4, "little") + bytes(_SIZE - 4))
        return 0

    def sem_destroy(self, sem: int) -> int:
        return 0

    def sem_getvalue(self, sem: int, sval: int) -> int:
        self.library.memory.write_u32(sval, self.library.memory.read_u32(sem))
        return 0

    def sem_post(self, sem: int) -> int:
        memory = self.library.memory
        value = memory.read_u32(sem)
        if value == SEM_VALUE_MAX:
            raise PlatformError("a semaphore's value would overflow", errno.EOVERFLOW)
        memory.write_u32(sem, value + 1)
        self._parked.wake(sem)
        return 0

    def sem_trywait(self, sem: int) -> int:
        if not self._try(sem):
            raise PlatformError("the semaphore is 0", errno.EAGAIN)
        return 0

    def sem_wait(self, sem: int) -> int:
        while not self._try(sem):
            self._parked.wait_restarting(sem)
        return 0

    def sem_timedwait(self, sem: int, abs_timeout: int) -> int:
        return self.sem_clockwait(sem, CLOCK_REALTIME, abs_timeout)

    def sem_clockwait(self, sem: int, clockid: int, abs_timeout: int) -> int:
        library = self.library
        while not self._try(sem):
            deadline = read_timespec(library.memory, abs_timeout)
            left = remaining_ns(library.services.clock, clockid, deadline)
            if not self._parked.wait(sem, left):
                raise PlatformError("nobody posted in time", errno.ETIMEDOUT)
        return 0

    def _try(self, sem: int) -> bool:
        memory = self.library.memory
        value = memory.read_u32(sem)
        if value:
            memory.write_u32(sem, value - 1)
        return bool(value)
