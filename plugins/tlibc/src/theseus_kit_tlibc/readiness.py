"""What poll, epoll and blocking reads ask of open files that may make their users wait.

An open file of the descriptor table is one of three kinds:

- a :class:`Waitable`: its bytes come from other tasks (an eventfd, a pipe in memory, an epoll).
  It tells its readiness, and wakes the tasks in its queue whenever that grows;
- one of the host's whose ``descriptor`` is a pipe, a terminal or a socket: it is waited for by the
  host's poll, together with everything else the platform waits for;
- any other: always ready, as regular files and /dev/null are (poll(2)).

Events are the bits of poll(2), which are epoll's: EPOLLIN is POLLIN.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar

from theseus_kit.errors import PlatformError
from theseus_kit.task import WaitQueue
from theseus_kit_tlibc.parking import is_restarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit.task import Tasks

_Result = TypeVar("_Result")

POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 1, 2, 4, 8, 16, 32
POLLRDNORM, POLLWRNORM = 64, 256
READY = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
"""What a regular file always is."""


class Readiness(WaitQueue):
    """The queue of an open file whose readiness other tasks change."""

    __slots__ = ("changes",)

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.changes = 0
        """Counts :meth:`grow`: what edge-triggered epoll goes by."""

    def grow(self) -> None:
        """The file may have become ready for something: wake everybody."""
        self.changes += 1
        self.wake_all()


class Waitable(Protocol):
    """An open file whose readiness other tasks change.

    Its own reads and writes never wait: they raise PlatformError (EAGAIN) where there is nothing
    to be read or no room. Waiting is their caller's, by :func:`waiting_for`.
    """

    @property
    def waiters(self) -> Readiness:
        """Grows whenever the file may have become ready for something."""
        ...

    def readiness(self) -> int:
        """The events that hold now."""
        ...


def is_waitable(file: Any) -> TypeGuard[Waitable]:
    """Whether an open file is a :class:`Waitable`: looked at for each read and write."""
    return hasattr(file, "readiness")


def waits_on_host(file: Any) -> int | None:
    """The host descriptor to be polled for a file, None where its readiness is known here."""
    descriptor: int | None = getattr(file, "descriptor", None)
    if descriptor is None or is_waitable(file):
        return None
    try:
        status = os.fstat(descriptor)
    except OSError:  # closed behind our back: poll tells POLLNVAL
        return descriptor
    mode = status.st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return None if stat.S_ISCHR(mode) and _is_memory(status.st_rdev) else descriptor


def _is_memory(device: int) -> bool:
    """/dev/null, zero, full (Linux's devices.txt): always ready, and not for epoll, as files."""
    return os.major(device) == 1 and os.minor(device) in (3, 5, 7)


def readiness_of(file: Any) -> int:
    """The events of poll(2) that hold for an open file now; never waits."""
    if is_waitable(file):
        return file.readiness()
    descriptor = waits_on_host(file)
    if descriptor is None:
        return READY
    poll = select.poll()
    poll.register(descriptor, POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM)
    found = poll.poll(0)
    return found[0][1] if found else 0


def wait_until(tasks: Tasks, file: Any, events: int) -> None:
    """Return when a file is ready for any of the events, or has failed or hung up.

    For a C function that is declared ``blocks=True``: other tasks run meanwhile. Raises
    PlatformError (EINTR) for a signal whose handler does not restart the call.
    """
    wanted = events | POLLERR | POLLHUP | POLLNVAL
    while not readiness_of(file) & wanted:
        wait_for_change(tasks, file, events)


def wait_for_change(tasks: Tasks, file: Any, events: int) -> None:
    """Wait until a file's readiness may have grown; the host's files: until it has."""
    try:
        if is_waitable(file):
            tasks.wait(file.waiters)
        else:
            descriptor = waits_on_host(file)
            if descriptor is not None:
                tasks.wait_for_descriptors([(descriptor, events)])
    except PlatformError as error:
        if not is_restarted(tasks, error):
            raise


def waiting_for(
    tasks: Tasks, file: Any, events: int, non_blocking: bool, operation: Callable[[], _Result]
) -> _Result:
    """Read (POLLIN) or write (POLLOUT) as a blocking descriptor does, letting other tasks run.

    ``operation`` is the file's own, of this one try. With ``non_blocking`` (O_NONBLOCK) its EAGAIN
    is the answer. Raises what it raises, and PlatformError (EINTR) for a signal.
    """
    if not is_waitable(file):
        # The host's own read would wait as well, but keep the other tasks from running, and
        # whoever interrupts the platform from being heard.
        if not non_blocking:
            wait_until(tasks, file, events)
        return operation()
    while True:
        try:
            return operation()
        except PlatformError as error:
            if error.errno != errno.EAGAIN or non_blocking:
                raise
        wait_for_change(tasks, file, events)
