"""poll.h: waiting for any of several open files. Source: poll(2).

struct pollfd is an int descriptor, a short of events asked for, a short of those that hold.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.memory import Protection
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.parking import NANOSECONDS, read_timespec
from theseus_kit_tlibc.readiness import (
    POLLERR,
    POLLHUP,
    POLLNVAL,
    Readiness,
    is_waitable,
    readiness_of,
    waits_on_host,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from theseus_kit_tlibc.deferred import Deferred

_POLLFD = Struct("<ihh")
_MILLISECOND = NANOSECONDS // 1000
_UNASKED = POLLERR | POLLHUP | POLLNVAL


class Bodies(DeferredBodies):
    """The functions of poll.h."""

    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._masked = deferred.masked

    def poll(self, fds: int, nfds: int, timeout: int) -> int:
        return self._poll(fds, nfds, None if timeout < 0 else timeout * _MILLISECOND)

    def ppoll(self, fds: int, nfds: int, tmo_p: int, sigmask: int) -> int:
        timeout_ns = read_timespec(self.library.memory, tmo_p) if tmo_p else None
        with self._masked(sigmask):
            return self._poll(fds, nfds, timeout_ns)

    def raw_ppoll(self, fds: int, nfds: int, tmo_p: int, sigmask: int, sigsetsize: int) -> int:
        """The time that is left is not written back, as the kernel may choose where it ends so."""
        if sigmask and sigsetsize != 8:
            raise InvalidParameterError(f"a signal set of {sigsetsize} bytes")
        return self.ppoll(fds, nfds, tmo_p, sigmask)

    def _poll(self, fds: int, nfds: int, timeout_ns: int | None) -> int:
        library = self.library
        if nfds > library.files.limit:
            raise InvalidParameterError(f"poll of {nfds} descriptors")
        size = nfds * _POLLFD.size
        if size:
            library.memory.check(fds, size, Protection.READ_WRITE)
        entries = [
            (fd, events) for fd, events, _ in _POLLFD.iter_unpack(library.memory.read(fds, size))
        ]
        found = self._wait(entries, timeout_ns)
        data = b"".join(
            _POLLFD.pack(fd, events, revents)
            for (fd, events), revents in zip(entries, found, strict=True)
        )
        library.memory.write(fds, data)
        return sum(1 for revents in found if revents)

    def _wait(self, entries: Sequence[tuple[int, int]], timeout_ns: int | None) -> list[int]:
        clock, tasks = self.library.services.clock, self.library.services.tasks
        deadline = None if timeout_ns is None else clock.monotonic_ns() + timeout_ns
        while True:
            files = [self._file(fd) for fd, _ in entries]
            found = [
                _events_of(file, fd, events)
                for file, (fd, events) in zip(files, entries, strict=True)
            ]
            left = None if deadline is None else max(deadline - clock.monotonic_ns(), 0)
            if any(found):
                return found
            if left == 0:
                tasks.yield_()  # who asks again and again must let others answer
                return found
            queues: list[Readiness] = []
            descriptors: list[tuple[int, int]] = []
            for file, (_, events) in zip(files, entries, strict=True):
                if is_waitable(file):
                    queues.append(file.waiters)
                elif (host := waits_on_host(file)) is not None:
                    descriptors.append((host, events & 0xFFFF))
            tasks.wait_for_any(queues, descriptors, left)

    def _file(self, fd: int) -> Any:
        """The open file, None where there is none (POLLNVAL) or it is not asked for."""
        if fd < 0:
            return None
        try:
            return self.library.files.usable(fd)
        except PlatformError:
            return None


def _events_of(file: Any, fd: int, events: int) -> int:
    if fd < 0:
        return 0
    if file is None:
        return POLLNVAL
    return readiness_of(file) & (events | _UNASKED)
