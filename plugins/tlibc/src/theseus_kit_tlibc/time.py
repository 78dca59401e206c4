"""time.h and sys/time.h: the host's clocks."""

from __future__ import annotations

import time
from struct import Struct
from typing import ClassVar

from theseus_kit.errors import InvalidParameterError
from theseus_kit_tlibc.declare import MINUS_ONE, RESULT, Header, c_function

NANOSECONDS = 1_000_000_000
TIMER_ABSTIME = 1

# linux/time.h. Python's own constants are the host's; the guest is Linux on every host.
CLOCKS = {
    0: time.CLOCK_REALTIME,
    1: time.CLOCK_MONOTONIC,
    2: time.CLOCK_PROCESS_CPUTIME_ID,
    3: time.CLOCK_THREAD_CPUTIME_ID,
    4: time.CLOCK_MONOTONIC,  # _RAW
    5: time.CLOCK_REALTIME,  # _COARSE
    6: time.CLOCK_MONOTONIC,  # _COARSE
    7: time.CLOCK_MONOTONIC,  # BOOTTIME
}
_PAIR = Struct("<qq")


class Time(Header):
    header: ClassVar[str] = "time.h"

    @c_function(
        "int clock_gettime(clockid_t clockid, struct timespec *tp)",
        system_call=228,
        on_error=MINUS_ONE,
    )
    def clock_gettime(self, clockid: int, tp: int) -> int:
        now = time.clock_gettime_ns(self._clock(clockid))
        self.library.memory.write(tp, _PAIR.pack(*divmod(now, NANOSECONDS)))
        return 0

    @c_function(
        "int clock_getres(clockid_t clockid, struct timespec *res)",
        system_call=229,
        on_error=MINUS_ONE,
    )
    def clock_getres(self, clockid: int, res: int) -> int:
        resolution = round(time.clock_getres(self._clock(clockid)) * NANOSECONDS)
        if res:
            self.library.memory.write(res, _PAIR.pack(*divmod(resolution, NANOSECONDS)))
        return 0

    @c_function(
        "int gettimeofday(struct timeval *tv, void *tz)", system_call=96, on_error=MINUS_ONE
    )
    def gettimeofday(self, tv: int, tz: int) -> int:
        seconds, rest = divmod(time.clock_gettime_ns(time.CLOCK_REALTIME), NANOSECONDS)
        if tv:
            self.library.memory.write(tv, _PAIR.pack(seconds, rest // 1000))
        return 0

    @c_function("time_t time(time_t *tloc)", system_call=201, on_error=MINUS_ONE)
    def time(self, tloc: int) -> int:
        now = int(time.time())
        if tloc:
            self.library.memory.write_u64(tloc, now)
        return now

    @c_function(
        "int clock_nanosleep(clockid_t clockid, int flags, const struct timespec *request, "
        "struct timespec *remain)",
        system_call=230,
        on_error=RESULT,
    )
    def clock_nanosleep(self, clockid: int, flags: int, request: int, remain: int) -> int:
        """Sleep for real. Nothing interrupts it, so ``remain`` is never written."""
        duration = self._timespec(request)
        if flags & TIMER_ABSTIME:
            duration -= time.clock_gettime_ns(self._clock(clockid))
        if duration > 0:
            time.sleep(duration / NANOSECONDS)
        return 0

    @c_function(
        "int nanosleep(const struct timespec *request, struct timespec *remain)",
        system_call=35,
        on_error=MINUS_ONE,
    )
    def nanosleep(self, request: int, remain: int) -> int:
        return self.clock_nanosleep(1, 0, request, remain)

    def _clock(self, clockid: int) -> int:
        clock = CLOCKS.get(clockid)
        if clock is None:
            raise InvalidParameterError(f"no clock {clockid}")
        return clock

    def _timespec(self, address: int) -> int:
        seconds, nanoseconds = _PAIR.unpack(self.library.memory.read(address, 16))
        if seconds < 0 or not 0 <= nanoseconds < NANOSECONDS:
            raise InvalidParameterError(f"timespec {seconds} s, {nanoseconds} ns")
        duration: int = seconds * NANOSECONDS + nanoseconds
        return duration
