"""The set of open files that an epoll instance watches. Source: epoll(7), epoll_ctl(2).

Files whose readiness other tasks change are watched here; the host's own (pipes, terminals,
sockets) by an epoll of the host's, with the same flags, so that edges and one-shots are as exact as
the kernel has them. Regular files cannot be watched (EPERM).

A file is watched until all of its descriptors are closed, whatever became of the one it was added
by.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit_tlibc.anonymous import AnonymousFile
from theseus_kit_tlibc.readiness import (
    POLLERR,
    POLLHUP,
    POLLIN,
    Readiness,
    is_waitable,
    waits_on_host,
)
from theseus_kit_tlibc.streams import as_platform_error

if TYPE_CHECKING:
    import select

    from theseus_kit.task import WaitQueue
    from theseus_kit_tlibc.files import Description

EPOLLEXCLUSIVE, EPOLLWAKEUP, EPOLLONESHOT, EPOLLET = 1 << 28, 1 << 29, 1 << 30, 1 << 31
_FLAGS = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET
_UNASKED = POLLERR | POLLHUP


class Watched:
    """One file of the set."""

    __slots__ = ("data", "description", "events", "host", "is_armed", "seen")

    def __init__(self, description: Description, events: int, data: int) -> None:
        self.description = description
        self.events = events
        self.data = data
        self.host: int | None = None
        """A host descriptor of its own, where the host's epoll watches it."""
        self.seen = -1
        """How often its readiness had grown when it was told last (EPOLLET)."""
        self.is_armed = True
        """False once told, with EPOLLONESHOT."""

    def found(self) -> int:
        """The events to be told now, of a file that is watched here."""
        file = self.description.file
        if not self.is_armed or not is_waitable(file):
            return 0
        if self.events & EPOLLET and self.seen == file.waiters.changes:
            return 0
        return file.readiness() & (self.events & ~_FLAGS | _UNASKED)

    def tell(self) -> None:
        """Its events are being told."""
        file = self.description.file
        if is_waitable(file):
            self.seen = file.waiters.changes
        if self.events & EPOLLONESHOT:
            self.is_armed = False


Told = tuple[int, int]
"""What epoll_wait tells of one file: events, and the program's own data."""


class EpollSet(AnonymousFile):
    """An epoll instance, itself an open file that others may wait for."""

    def __init__(self) -> None:
        self.waiters = Readiness("epoll")
        self._watched: dict[tuple[int, int], Watched] = {}
        """By descriptor and description, in the order they are told."""
        self._host: select.epoll | None = None
        self._of_host: dict[int, tuple[int, int]] = {}

    def add(self, fd: int, description: Description, events: int, data: int) -> None:
        """Raises PlatformError: EEXIST, EPERM, ELOOP."""
        self._forget_closed()
        key = (fd, id(description))
        if key in self._watched:
            raise PlatformError(f"descriptor {fd} is watched already", errno.EEXIST)
        file = description.file
        watched = Watched(description, events, data)
        if isinstance(file, EpollSet) and file.reaches(self):
            raise PlatformError("epoll instances that watch each other", errno.ELOOP)
        if not is_waitable(file):
            self._add_to_host(key, watched)
        self._watched[key] = watched
        self.waiters.grow()

    def modify(self, fd: int, description: Description, events: int, data: int) -> None:
        """Raises PlatformError: ENOENT."""
        watched = self._of(fd, description)
        watched.events, watched.data = events, data
        watched.is_armed, watched.seen = True, -1
        if watched.host is not None and self._host is not None:
            self._host.modify(watched.host, events & ~EPOLLWAKEUP)
        self.waiters.grow()

    def remove(self, fd: int, description: Description) -> None:
        """Raises PlatformError: ENOENT."""
        self._release(self._of(fd, description))
        del self._watched[fd, id(description)]

    def reaches(self, other: EpollSet) -> bool:
        """Whether a chain of epoll instances leads from this one to another."""
        return other is self or any(
            isinstance(watched.description.file, EpollSet)
            and watched.description.file.reaches(other)
            for watched in self._watched.values()
        )

    def readiness(self) -> int:
        self._forget_closed()
        if any(watched.found() for watched in self._watched.values()):
            return POLLIN
        if self._host is not None:
            import select

            poll = select.poll()
            poll.register(self._host.fileno(), POLLIN)
            if poll.poll(0):
                return POLLIN
        return 0

    def take(self, most: int) -> list[Told]:
        """What is to be told now, up to ``most`` files; those told go to the end of the line."""
        self._forget_closed()
        told: list[Told] = []
        for key, watched in list(self._watched.items()):
            if len(told) == most:
                return told
            events = watched.found()
            if events:
                watched.tell()
                told.append((events, watched.data))
                self._watched[key] = self._watched.pop(key)
        if self._host is not None and len(told) < most:
            for host, events in self._host.poll(0, most - len(told)):
                told.append((events, self._watched[self._of_host[host]].data))
        return told

    def queues(self) -> list[WaitQueue]:
        """What grows when there may be something to tell."""
        queues: list[WaitQueue] = [self.waiters]
        for watched in self._watched.values():
            file = watched.description.file
            if watched.is_armed and is_waitable(file):
                queues.append(file.waiters)
                if isinstance(file, EpollSet):
                    queues += file.queues()
        return queues

    def host_descriptors(self) -> list[tuple[int, int]]:
        """The host descriptors to be polled meanwhile: one at most of each instance."""
        found = [] if self._host is None else [(self._host.fileno(), POLLIN)]
        for watched in self._watched.values():
            if isinstance(watched.description.file, EpollSet):
                found += watched.description.file.host_descriptors()
        return found

    def close(self) -> None:
        for watched in self._watched.values():
            self._release(watched)
        self._watched.clear()
        if self._host is not None:
            self._host.close()
            self._host = None

    def _of(self, fd: int, description: Description) -> Watched:
        self._forget_closed()
        watched = self._watched.get((fd, id(description)))
        if watched is None:
            raise PlatformError(f"descriptor {fd} is not watched", errno.ENOENT)
        return watched

    def _add_to_host(self, key: tuple[int, int], watched: Watched) -> None:
        host = waits_on_host(watched.description.file)
        if host is None:
            raise PlatformError("a file that is always ready cannot be watched", errno.EPERM)
        import select

        if self._host is None:
            self._host = select.epoll()
        # A descriptor of its own: guest descriptors may share one of the host.
        own = os.dup(host)
        try:
            self._host.register(own, watched.events & ~EPOLLWAKEUP)
        except OSError as error:
            os.close(own)
            raise as_platform_error(error) from error
        watched.host = own
        self._of_host[own] = key

    def _release(self, watched: Watched) -> None:
        if watched.host is not None and self._host is not None:
            self._host.unregister(watched.host)
            os.close(watched.host)
            del self._of_host[watched.host]
            watched.host = None

    def _forget_closed(self) -> None:
        closed = [key for key, entry in self._watched.items() if not entry.description.references]
        for key in closed:
            self._release(self._watched.pop(key))
