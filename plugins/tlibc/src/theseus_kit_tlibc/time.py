"""time.h and sys/time.h: clocks and sleeping.

All clocks are the platform's (``services.clock``). The machine code that asks the host's own
clock_gettime is bound where that comes to the same: not on a deterministic platform.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from struct import Struct
from typing import ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.machine.protocol import Ability
from theseus_kit_tlibc.declare import MINUS_ONE, RESULT, Header, c_function
from theseus_kit_tlibc.listing import Listing
from theseus_kit_tlibc.parking import NANOSECONDS, read_timespec

TIMER_ABSTIME = 1

# linux/time.h
CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID = range(4)
_MONOTONIC = (CLOCK_MONOTONIC, 4, 6, 7)  # and _RAW, _COARSE, BOOTTIME
_REALTIME = (CLOCK_REALTIME, 5, 8, 11)  # and _COARSE, REALTIME_ALARM, TAI
# Tasks share one host thread, so a thread's own time cannot be told from the process's.
_CPU = (CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID)
_RESOLUTION = 1
_PAIR = Struct("<qq")

# Where guest code can call the host's functions: a compiler asks for the time thousands of times.
CLOCK_GETTIME = Listing(
    """
    84842400f0ffff          test byte ptr [rsp - 0x1000], al ; no room faults here
    53                      push rbx
    4883ec20                sub rsp, 0x20
    4889f3                  mov rbx, rsi
    48897c2410              mov qword ptr [rsp + 0x10], rdi
    4889e6                  mov rsi, rsp
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc   ; the host's clock_gettime
    ffd0                    call rax
    4889de                  mov rsi, rbx
    85c0                    test eax, eax
    7516                    jne 0x40                         ; an error: errno is the slow path's
    488b1424                mov rdx, qword ptr [rsp]
    488b4c2408              mov rcx, qword ptr [rsp + 8]
    488916                  mov qword ptr [rsi], rdx         ; a wild pointer faults here
    48894e08                mov qword ptr [rsi + 8], rcx
    4883c420                add rsp, 0x20
    5b                      pop rbx
    c3                      ret
    488b7c2410              mov rdi, qword ptr [rsp + 0x10]
    4883c420                add rsp, 0x20
    5b                      pop rbx
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc   ; __clock_gettime_slow
    41ffe3                  jmp r11
    """
)


class Time(Header):
    header: ClassVar[str] = "time.h"

    def machine_code(self, listing: Listing) -> Callable[[], bytes] | None:
        library = self.library
        if Ability.HOST_FUNCTIONS not in library.machine.abilities:
            return None
        if library.services.clock.is_virtual:
            return None
        return lambda: listing.with_addresses(
            _host_clock_gettime(), self.library.provided("__clock_gettime_slow")
        )

    @c_function(
        "int __clock_gettime_slow(clockid_t clockid, struct timespec *tp)", on_error=MINUS_ONE
    )
    def clock_gettime_slow(self, clockid: int, tp: int) -> int:
        return self.clock_gettime(clockid, tp)

    @c_function(
        "int clock_gettime(clockid_t clockid, struct timespec *tp)",
        system_call=228,
        on_error=MINUS_ONE,
        listing=CLOCK_GETTIME,
    )
    def clock_gettime(self, clockid: int, tp: int) -> int:
        now = self._now(clockid)
        self.library.memory.write(tp, _PAIR.pack(*divmod(now, NANOSECONDS)))
        return 0

    @c_function(
        "int clock_getres(clockid_t clockid, struct timespec *res)",
        system_call=229,
        on_error=MINUS_ONE,
    )
    def clock_getres(self, clockid: int, res: int) -> int:
        """A nanosecond, as Linux tells it of all clocks but the coarse ones."""
        self._now(clockid)
        if res:
            self.library.memory.write(res, _PAIR.pack(0, _RESOLUTION))
        return 0

    @c_function(
        "int gettimeofday(struct timeval *tv, void *tz)", system_call=96, on_error=MINUS_ONE
    )
    def gettimeofday(self, tv: int, tz: int) -> int:
        seconds, rest = divmod(self.library.services.clock.realtime_ns(), NANOSECONDS)
        if tv:
            self.library.memory.write(tv, _PAIR.pack(seconds, rest // 1000))
        return 0

    @c_function("time_t time(time_t *tloc)", system_call=201, on_error=MINUS_ONE)
    def time(self, tloc: int) -> int:
        now = self.library.services.clock.realtime_ns() // NANOSECONDS
        if tloc:
            self.library.memory.write_u64(tloc, now)
        return now

    @c_function(
        "int clock_nanosleep(clockid_t clockid, int flags, const struct timespec *request, "
        "struct timespec *remain)",
        system_call=230,
        on_error=RESULT,
        blocks=True,
    )
    def clock_nanosleep(self, clockid: int, flags: int, request: int, remain: int) -> int:
        """Other tasks run meanwhile. A signal's handler ends it (EINTR)."""
        library = self.library
        clock, tasks = library.services.clock, library.services.tasks
        duration = read_timespec(library.memory, request)
        is_absolute = bool(flags & TIMER_ABSTIME)
        now = self._now(clockid)
        if clockid == CLOCK_THREAD_CPUTIME_ID:
            raise InvalidParameterError("a thread's own time does not pass while it sleeps")
        if is_absolute:
            duration -= now
        if duration <= 0:
            return 0
        deadline = clock.monotonic_ns() + duration
        try:
            tasks.sleep(duration)
        except PlatformError:
            if remain and not is_absolute:
                left = max(deadline - clock.monotonic_ns(), 0)
                library.memory.write(remain, _PAIR.pack(*divmod(left, NANOSECONDS)))
            raise
        return 0

    @c_function(
        "int nanosleep(const struct timespec *request, struct timespec *remain)",
        system_call=35,
        on_error=MINUS_ONE,
        blocks=True,
    )
    def nanosleep(self, request: int, remain: int) -> int:
        return self.clock_nanosleep(CLOCK_MONOTONIC, 0, request, remain)

    @c_function("int usleep(useconds_t usec)", on_error=MINUS_ONE, blocks=True)
    def usleep(self, usec: int) -> int:
        self.library.services.tasks.sleep(usec * 1000)
        return 0

    @c_function("unsigned int sleep(unsigned int seconds)", blocks=True)
    def sleep(self, seconds: int) -> int:
        """The seconds left, where a signal's handler has ended it."""
        clock = self.library.services.clock
        deadline = clock.monotonic_ns() + seconds * NANOSECONDS
        try:
            self.library.services.tasks.sleep(seconds * NANOSECONDS)
        except PlatformError as error:
            if error.errno != errno.EINTR:
                raise
            self.library.services.tasks.interrupted()
            return max(deadline - clock.monotonic_ns(), 0) // NANOSECONDS
        return 0

    def _now(self, clockid: int) -> int:
        clock = self.library.services.clock
        if clockid in _MONOTONIC:
            return clock.monotonic_ns()
        if clockid in _REALTIME:
            return clock.realtime_ns()
        if clockid in _CPU:
            return clock.cpu_ns()
        raise InvalidParameterError(f"no clock {clockid}")


def _host_clock_gettime() -> int:
    import ctypes

    address = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value
    assert address is not None
    return address
