"""Moving bytes between guest memory and open files: what read(2), write(2) and their kin share.

Where an open file has a host descriptor, the host reads and writes guest memory itself and nothing
is copied here. EFAULT comes before anything is moved: a buffer is usable as a whole or not at all,
where Linux moves what lies before the first bad page.

Waiting for a pipe, a terminal or another task is :mod:`.readiness`'s.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import OpenMode
from theseus_kit_tlibc.files import O_APPEND, O_DSYNC, O_NONBLOCK, O_PATH, Description, Waiting
from theseus_kit_tlibc.readiness import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    readiness_of,
    wait_until,
    waiting_for,
)
from theseus_kit_tlibc.streams import as_platform_error

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library

RW_COUNT_MAX = 0x7FFFF000
"""Most bytes one read or write moves (read(2))."""
IOV_MAX = 1024
_IOVEC = Struct("<QQ")
_PIPE_BUF = 4096
"""What a pipe that is ready for writing takes without waiting (pipe(7))."""
_SPECIAL = O_DSYNC | O_PATH
_AT_POSITION = -1
_RWF_NOWAIT = 8
_NOT_UNDERSTOOD = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What RWF_NOWAIT is to terminals and to older hosts (preadv2(2)). EINVAL may be the operation's
own word as well, which the next way of doing it then says."""

Buffers = list[memoryview]


class Transfers:
    """Reading and writing for one platform. Raises PlatformError with the system call's errno."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._window = library.memory.window

    def vectors(self, iov: int, iovcnt: int, *, writable: bool) -> Buffers:
        """The buffers of an array of struct iovec, cut where one call ends. EINVAL, EFAULT."""
        if not 0 <= iovcnt <= IOV_MAX:
            raise InvalidParameterError(f"{iovcnt} vectors")
        buffers: Buffers = []
        room = RW_COUNT_MAX
        raw = self._library.memory.read(iov, iovcnt * _IOVEC.size)
        for base, size in _IOVEC.iter_unpack(raw):
            if size >> 63:
                raise InvalidParameterError(f"a vector of {size} bytes")
            size = min(size, room)
            room -= size
            buffers.append(self._window(base, size, writable=writable))
        return buffers

    def read(self, description: Description, buffers: Buffers) -> int:
        """Read from the file's position, waiting where the description does."""
        if description.waiting is Waiting.NEVER and not description.flags & O_PATH:
            return self._read(description, buffers)
        return self._wait(
            description,
            OpenMode.READ,
            lambda: self._read(description, buffers),
            lambda: os.preadv(description.host, buffers, _AT_POSITION, _RWF_NOWAIT),
        )

    def write(self, description: Description, buffers: Buffers) -> int:
        """Write at the file's position, or its end, waiting where the description does."""
        if description.said:
            for buffer in buffers:
                self._library.files.remember(bytes(buffer[-_PIPE_BUF:]))
        if description.waiting is Waiting.NEVER and not description.flags & _SPECIAL:
            return self._write(description, buffers)
        count = self._wait(
            description,
            OpenMode.WRITE,
            lambda: self._write(description, _cut(buffers, _PIPE_BUF)),
            lambda: os.pwritev(description.host, buffers, _AT_POSITION, _RWF_NOWAIT),
        )
        if description.flags & O_DSYNC and count:
            description.file.synchronize()
        return count

    def read_at(self, description: Description, buffers: Buffers, offset: int) -> int:
        """Read at an offset, which is checked; the position stays."""
        _check_use(description)
        if description.host >= 0:
            try:
                return os.preadv(description.host, buffers, offset)
            except (OSError, OverflowError) as error:
                raise as_platform_error(error) from error
        size = sum(map(len, buffers))
        return _scatter(description.file.read_at(size, offset), buffers)

    def write_at(self, description: Description, buffers: Buffers, offset: int) -> int:
        """Write at an offset, or at the end of a file that is appended to; the position stays."""
        _check_use(description)
        if description.host >= 0:
            try:
                count = os.pwritev(description.host, buffers, offset)
            except (OSError, OverflowError) as error:
                raise as_platform_error(error) from error
        else:
            count = description.file.write_at(_gather(buffers), offset)
        if description.flags & O_DSYNC and count:
            description.file.synchronize()
        return count

    def append(self, description: Description, buffers: Buffers, offset: int) -> int:
        """Write at the end whatever the description says (RWF_APPEND, pwritev2(2)).

        From an offset of -1 the position moves as with write(2).
        """
        file = description.file
        before = file.seek(0, os.SEEK_CUR)
        appends = description.flags & O_APPEND != 0
        file.set_append(True)
        try:
            count = self.write(description, buffers)
        finally:
            file.set_append(appends)
            if offset != -1:
                file.seek(before)
        return count

    def _read(self, description: Description, buffers: Buffers) -> int:
        if description.host >= 0:
            try:
                return os.readv(description.host, buffers)
            except OSError as error:
                raise as_platform_error(error) from error
        return _scatter(description.file.read(sum(map(len, buffers))), buffers)

    def _write(self, description: Description, buffers: Buffers) -> int:
        if description.host >= 0:
            try:
                return os.writev(description.host, buffers)
            except OSError as error:
                raise as_platform_error(error) from error
        return description.file.write(_gather(buffers))

    def _wait(
        self,
        description: Description,
        mode: OpenMode,
        once: Callable[[], int],
        at_once: Callable[[], int],
    ) -> int:
        """Do what may have to wait, letting other tasks run meanwhile.

        ``once`` is the operation on a file that is ready for it; ``at_once`` asks the host to do
        what can be done without waiting, which not all of its files understand.
        """
        if description.flags & O_PATH:
            raise PlatformError("the descriptor only holds a file", errno.EBADF)
        tasks, file = self._library.services.tasks, description.file
        non_blocking = description.flags & O_NONBLOCK != 0
        events = POLLIN if mode is OpenMode.READ else POLLOUT
        if description.waiting is not Waiting.ON_HOST:
            return waiting_for(tasks, file, events, non_blocking, once)
        if mode not in file.mode:
            raise PlatformError("the descriptor is not open for this", errno.EBADF)
        while description.never_waits:
            try:
                return at_once()
            except OSError as error:
                if error.errno in _NOT_UNDERSTOOD:
                    description.never_waits = False
                    self._library.files.tell_change(description)
                elif error.errno != errno.EAGAIN or non_blocking:
                    raise as_platform_error(error) from error
                else:
                    wait_until(tasks, file, events)
        if non_blocking and not readiness_of(file) & (events | POLLERR | POLLHUP | POLLNVAL):
            raise PlatformError("nothing can be moved now", errno.EAGAIN)
        return waiting_for(tasks, file, events, non_blocking, once)


def check_offset(offset: int) -> None:
    """Raises EINVAL, which comes before anything that is wrong with the descriptor."""
    if offset < 0:
        raise InvalidParameterError(f"offset {offset}")


def _check_use(description: Description) -> None:
    if description.flags & O_PATH:
        raise PlatformError("the descriptor only holds a file", errno.EBADF)


def _scatter(data: bytes, buffers: Buffers) -> int:
    """Put bytes into buffers, in order; return how many."""
    if len(buffers) == 1:
        buffers[0][: len(data)] = data
        return len(data)
    position = 0
    for buffer in buffers:
        piece = data[position : position + len(buffer)]
        buffer[: len(piece)] = piece
        position += len(piece)
    return position


def _gather(buffers: Buffers) -> bytes | memoryview:
    return buffers[0] if len(buffers) == 1 else b"".join(buffers)


def _cut(buffers: Buffers, size: int) -> Buffers:
    """The buffers up to so many bytes."""
    kept: Buffers = []
    for buffer in buffers:
        kept.append(buffer[:size])
        size -= len(kept[-1])
    return kept
