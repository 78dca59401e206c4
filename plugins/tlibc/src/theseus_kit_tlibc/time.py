"""time.h and sys/time.h: the host's clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from struct import Struct
from typing import ClassVar

from theseus_kit.errors import InvalidParameterError
from theseus_kit.machine.protocol import Ability
from theseus_kit_tlibc.declare import MINUS_ONE, RESULT, Header, c_function
from theseus_kit_tlibc.listing import Listing

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
        if Ability.HOST_FUNCTIONS not in self.library.machine.abilities:
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


def _host_clock_gettime() -> int:
    import ctypes

    address = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value
    assert address is not None
    return address
