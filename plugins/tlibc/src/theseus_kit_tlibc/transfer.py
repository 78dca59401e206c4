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
from theseus_kit_tlibc.readiness import POLLIN, POLLOUT, readiness_of, waiting_for
from theseus_kit_tlibc.streams import as_platform_error

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library

RW_COUNT_MAX = 0x7FFFF000
"""Most bytes one read or write moves (read(2))."""
IOV_MAX = 1024
_IOVEC = Struct("<QQ")
_PIPE_BUF = 4096
"""What a pipe that is ready for writing takes without waiting (pipe(7))."""
_SPECIAL = O_NONBLOCK | O_DSYNC | O_PATH

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
        if description.flags & _SPECIAL or description.waiting is not Waiting.NEVER:
            return self._wait(
                description, POLLIN, lambda: self._read(description, buffers), lambda: None
            )
        return self._read(description, buffers)

    def write(self, description: Description, buffers: Buffers) -> int:
        """Write at the file's position, or its end, waiting where the description does."""
        if description.said:
            for buffer in buffers:
                self._library.files.remember(bytes(buffer[-_PIPE_BUF:]))
        if not description.flags & _SPECIAL and description.waiting is Waiting.NEVER:
            return self._write(description, buffers)
        parts = buffers

        def shorten() -> None:
            nonlocal parts
            parts = _cut(buffers, _PIPE_BUF)

        count = self._wait(description, POLLOUT, lambda: self._write(description, parts), shorten)
        if description.flags & O_DSYNC and count:
            description.file.synchronize()
        return count

    def read_at(self, description: Description, buffers: Buffers, offset: int) -> int:
        """Read at an offset; the position stays."""
        _check_offset(description, offset)
        if description.host >= 0:
            try:
                return os.preadv(description.host, buffers, offset)
            except (OSError, OverflowError) as error:
                raise as_platform_error(error) from error
        size = sum(map(len, buffers))
        return _scatter(description.file.read_at(size, offset), buffers)

    def write_at(self, description: Description, buffers: Buffers, offset: int) -> int:
        """Write at an offset, or at the end of a file that is appended to; the position stays."""
        _check_offset(description, offset)
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
        events: int,
        operation: Callable[[], int],
        shorten: Callable[[], None],
    ) -> int:
        """Do what may have to wait. ``shorten`` keeps a write from waiting halfway."""
        if description.flags & O_PATH:
            raise PlatformError("the descriptor only holds a file", errno.EBADF)
        waiting = description.waiting
        non_blocking = description.flags & O_NONBLOCK != 0
        if waiting is Waiting.ON_HOST:
            needed = OpenMode.READ if events == POLLIN else OpenMode.WRITE
            if needed not in description.file.mode:
                raise PlatformError("the descriptor is not open for this", errno.EBADF)
            if non_blocking and not readiness_of(description.file):
                raise PlatformError("nothing can be moved now", errno.EAGAIN)
            if non_blocking or self._library.services.tasks.has_others:
                shorten()
        return waiting_for(
            self._library.services.tasks, description.file, events, non_blocking, operation
        )


def _check_offset(description: Description, offset: int) -> None:
    if offset < 0:
        raise InvalidParameterError(f"offset {offset}")
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
