"""sched.h and linux/futex.h: processors, yielding, and waiting on a word of memory."""

from __future__ import annotations

import errno
import time
from struct import Struct
from typing import ClassVar

from theseus_kit.errors import GuestKilled, InvalidParameterError, PlatformError
from theseus_kit.values.exceptions import Panicked
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function, system_call

FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET = 0, 1, 9, 10
_FUTEX_PRIVATE, _FUTEX_CLOCK_REALTIME = 128, 256
_FUTEX_COMMAND = ~(_FUTEX_PRIVATE | _FUTEX_CLOCK_REALTIME)
_TIMESPEC = Struct("<qq")


class Sched(Header):
    header: ClassVar[str] = "sched.h"

    @c_function("int sched_yield(void)", system_call=24, on_error=MINUS_ONE)
    def sched_yield(self) -> int:
        return 0

    @c_function(
        "int sched_getaffinity(pid_t pid, size_t cpusetsize, cpu_set_t *mask)", on_error=MINUS_ONE
    )
    def sched_getaffinity(self, pid: int, cpusetsize: int, mask: int) -> int:
        self.raw_sched_getaffinity(pid, cpusetsize, mask)
        return 0

    @system_call(204, "long sched_getaffinity(pid_t pid, size_t cpusetsize, cpu_set_t *mask)")
    def raw_sched_getaffinity(self, pid: int, cpusetsize: int, mask: int) -> int:
        """The system call answers how many bytes it wrote; the C function answers 0."""
        bits = (1 << self.library.options.processors) - 1
        needed = -(-bits.bit_length() // 64) * 8
        if cpusetsize < needed or cpusetsize % 8:
            raise InvalidParameterError(f"sched_getaffinity with {cpusetsize} bytes")
        self.library.memory.write(mask, bits.to_bytes(cpusetsize, "little"))
        return needed

    @system_call(
        202,
        "long futex(uint32_t *uaddr, int futex_op, uint32_t val, const struct timespec *timeout, "
        "uint32_t *uaddr2, uint32_t val3)",
    )
    def futex(
        self, uaddr: int, futex_op: int, val: int, timeout: int, uaddr2: int, val3: int
    ) -> int:
        """Wait and wake where no other task can run: a wait ends by its time-out or never."""
        command = futex_op & _FUTEX_COMMAND
        if command in (FUTEX_WAKE, FUTEX_WAKE_BITSET):
            self.library.memory.read_u32(uaddr)
            return 0
        if command not in (FUTEX_WAIT, FUTEX_WAIT_BITSET):
            raise PlatformError(f"futex command {command}", errno.ENOSYS)
        if self.library.memory.read_u32(uaddr) != val:
            raise PlatformError("the word changed before the wait", errno.EAGAIN)
        if timeout:
            self._sleep(timeout, futex_op)
            raise PlatformError("no task woke this one", errno.ETIMEDOUT)
        name = self.library.task.name
        raise GuestKilled(Panicked(f"deadlock: task {name!r} waits for ever on {uaddr:#x}"))

    def _sleep(self, timeout: int, futex_op: int) -> None:
        """FUTEX_WAIT's time-out is relative, FUTEX_WAIT_BITSET's is absolute (futex(2))."""
        seconds, nanoseconds = _TIMESPEC.unpack(self.library.memory.read(timeout, 16))
        if seconds < 0 or not 0 <= nanoseconds < 1_000_000_000:
            raise InvalidParameterError(f"timespec {seconds} s, {nanoseconds} ns")
        duration = seconds + nanoseconds / 1e9
        if futex_op & _FUTEX_COMMAND == FUTEX_WAIT_BITSET:
            realtime = futex_op & _FUTEX_CLOCK_REALTIME
            duration -= time.time() if realtime else time.clock_gettime(time.CLOCK_MONOTONIC)
        if duration > 0:
            time.sleep(duration)
