"""sys/epoll.h: waiting for any of many open files. Source: epoll_create(2), _ctl(2), _wait(2).

struct epoll_event is packed: 32 bits of events, 64 bits that are the program's own.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import InvalidParameterError
from theseus_kit.values.memory import Protection
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function, system_call
from theseus_kit_tlibc.epoll_set import EpollSet
from theseus_kit_tlibc.files import O_RDWR
from theseus_kit_tlibc.parking import NANOSECONDS, read_timespec

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.signal_wait import Masked

EPOLL_CLOEXEC = 0o2000000
EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD = 1, 2, 3
_EVENT = Struct("<IQ")
_MILLISECOND = NANOSECONDS // 1000
_MOST_EVENTS = ((1 << 31) - 1) // _EVENT.size


class SysEpoll(Header):
    header: ClassVar[str] = "sys/epoll.h"

    def __init__(self, library: Library, masked: Masked) -> None:
        super().__init__(library)
        self._masked = masked

    @c_function("int epoll_create1(int flags)", system_call=291, on_error=MINUS_ONE)
    def epoll_create1(self, flags: int) -> int:
        if flags & ~EPOLL_CLOEXEC:
            raise InvalidParameterError(f"epoll_create1 flags {flags:#x}")
        return self.library.files.add(EpollSet(), O_RDWR, close_on_exec=bool(flags))

    @c_function("int epoll_create(int size)", system_call=213, on_error=MINUS_ONE)
    def epoll_create(self, size: int) -> int:
        if size <= 0:
            raise InvalidParameterError(f"an epoll instance for {size}")
        return self.epoll_create1(0)

    @c_function(
        "int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)",
        system_call=233,
        on_error=MINUS_ONE,
    )
    def epoll_ctl(self, epfd: int, op: int, fd: int, event: int) -> int:
        events, data = 0, 0
        if op != EPOLL_CTL_DEL:
            events, data = _EVENT.unpack(self.library.memory.read(event, _EVENT.size))
        files = self.library.files
        instance = files.description(epfd).file
        files.usable(fd)
        description = files.description(fd)
        if not isinstance(instance, EpollSet) or description.file is instance:
            raise InvalidParameterError(f"descriptor {epfd} is no other epoll instance")
        if op == EPOLL_CTL_ADD:
            instance.add(fd, description, events, data)
        elif op == EPOLL_CTL_MOD:
            instance.modify(fd, description, events, data)
        elif op == EPOLL_CTL_DEL:
            instance.remove(fd, description)
        else:
            raise InvalidParameterError(f"epoll_ctl operation {op}")
        return 0

    @c_function(
        "int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)",
        system_call=232,
        on_error=MINUS_ONE,
        blocks=True,
    )
    def epoll_wait(self, epfd: int, events: int, maxevents: int, timeout: int) -> int:
        return self._wait(epfd, events, maxevents, None if timeout < 0 else timeout * _MILLISECOND)

    @c_function(
        "int epoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout, "
        "const sigset_t *sigmask)",
        on_error=MINUS_ONE,
        blocks=True,
    )
    def epoll_pwait(
        self, epfd: int, events: int, maxevents: int, timeout: int, sigmask: int
    ) -> int:
        with self._masked(sigmask):
            return self.epoll_wait(epfd, events, maxevents, timeout)

    @system_call(
        281,
        "long epoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout, "
        "const sigset_t *sigmask, size_t sigsetsize)",
        blocks=True,
    )
    def raw_epoll_pwait(
        self, epfd: int, events: int, maxevents: int, timeout: int, sigmask: int, sigsetsize: int
    ) -> int:
        if sigmask and sigsetsize != 8:
            raise InvalidParameterError(f"a signal set of {sigsetsize} bytes")
        return self.epoll_pwait(epfd, events, maxevents, timeout, sigmask)

    @c_function(
        "int epoll_pwait2(int epfd, struct epoll_event *events, int maxevents, "
        "const struct timespec *timeout, const sigset_t *sigmask)",
        on_error=MINUS_ONE,
        blocks=True,
    )
    def epoll_pwait2(
        self, epfd: int, events: int, maxevents: int, timeout: int, sigmask: int
    ) -> int:
        timeout_ns = read_timespec(self.library.memory, timeout) if timeout else None
        with self._masked(sigmask):
            return self._wait(epfd, events, maxevents, timeout_ns)

    def _wait(self, epfd: int, events: int, maxevents: int, timeout_ns: int | None) -> int:
        library = self.library
        clock, tasks = library.services.clock, library.services.tasks
        if not 0 < maxevents <= _MOST_EVENTS:
            raise InvalidParameterError(f"epoll_wait for {maxevents} events")
        library.memory.check(events, _EVENT.size, Protection.WRITE)
        instance = library.files.description(epfd).file
        if not isinstance(instance, EpollSet):
            raise InvalidParameterError(f"descriptor {epfd} is no epoll instance")
        deadline = None if timeout_ns is None else clock.monotonic_ns() + timeout_ns
        while not (told := instance.take(maxevents)):
            left = None if deadline is None else max(deadline - clock.monotonic_ns(), 0)
            if left == 0:
                tasks.yield_()  # who asks again and again must let others answer
                told = instance.take(maxevents)
                break
            tasks.wait_for_any(instance.queues(), instance.host_descriptors(), left)
        data = b"".join(_EVENT.pack(*each) for each in told)
        if data:
            library.memory.write(events, data)
        return len(told)
