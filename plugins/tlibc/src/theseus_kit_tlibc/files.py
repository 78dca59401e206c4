"""The descriptor table: which open file a guest's small integer stands for.

0, 1 and 2 are the host's standard streams; everything else comes from the path hooks. What files
are and how they are opened is :mod:`.fcntl`'s and the path provider's business.
"""

from __future__ import annotations

import errno
import os
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import FileKind, FileStatus, OpenMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from theseus_kit.values.paths import DirectoryEntry, OpenFile, StatusChange

OPEN_MAX = 1024
_REMEMBERED = 2048


class Stream:
    """A standard stream of the host, as an open file without a position."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        self.mode = OpenMode.WRITE if descriptor else OpenMode.READ
        self._number = descriptor

    def read(self, size: int = -1) -> bytes:
        try:
            return os.read(self._number, size if size >= 0 else 1 << 20)
        except OSError as error:
            raise _as_platform_error(error) from error

    def write(self, data: bytes) -> int:
        try:
            return os.write(self._number, data)
        except OSError as error:
            raise _as_platform_error(error) from error

    def read_at(self, size: int, offset: int) -> bytes:
        raise PlatformError("a stream has no positions", errno.ESPIPE)

    def write_at(self, data: bytes, offset: int) -> int:
        raise PlatformError("a stream has no positions", errno.ESPIPE)

    def seek(self, offset: int, whence: int = 0) -> int:
        raise PlatformError("a stream has no positions", errno.ESPIPE)

    def truncate(self, size: int) -> None:
        raise InvalidParameterError("a stream has no length")

    def allocate(self, offset: int, size: int) -> None:
        raise PlatformError("a stream has no length", errno.ESPIPE)

    def synchronize(self) -> None:
        raise InvalidParameterError("a stream cannot be synchronised")

    def set_append(self, append: bool) -> None:
        """A stream has only its end to be written to."""

    def entries(self) -> Sequence[DirectoryEntry]:
        raise PlatformError("a stream is no directory", errno.ENOTDIR)

    def status(self) -> FileStatus:
        return FileStatus(FileKind.OTHER, 0, permissions=0o620)

    def change(self, change: StatusChange) -> None:
        raise PlatformError("the streams are the host's", errno.EPERM)

    def close(self) -> None:
        """The stream is the host's: the guest loses it, the host keeps it."""


def _as_platform_error(error: OSError) -> PlatformError:
    return PlatformError(error.strerror or str(error), error.errno)


class Files:
    """One platform's open descriptors. Numbers are the lowest free ones, as POSIX has it."""

    def __init__(self) -> None:
        self._open: dict[int, OpenFile] = {number: Stream(number) for number in range(3)}
        self._free: list[int] = []
        self._next = 3
        self.last_words = b""
        """The end of what the guest wrote to its standard error: why it aborts."""

    def open_file(self, descriptor: int) -> OpenFile:
        """Raises PlatformError (EBADF)."""
        file = self._open.get(descriptor)
        if file is None:
            raise PlatformError(f"descriptor {descriptor} is not open", errno.EBADF)
        return file

    def add(self, file: OpenFile) -> int:
        """Give a file a descriptor. Raises PlatformError (EMFILE); the file is closed then."""
        if len(self._open) >= OPEN_MAX:
            file.close()
            raise PlatformError(f"{OPEN_MAX} files are open", errno.EMFILE)
        if self._free:
            descriptor = heappop(self._free)
        else:
            descriptor = self._next
            self._next += 1
        self._open[descriptor] = file
        return descriptor

    def close(self, descriptor: int) -> None:
        file = self.open_file(descriptor)
        del self._open[descriptor]
        heappush(self._free, descriptor)
        file.close()

    def write(self, descriptor: int, data: bytes) -> int:
        if descriptor == 2:
            self.last_words = (self.last_words + data)[-_REMEMBERED:]
        return self.open_file(descriptor).write(data)

    def close_all(self) -> None:
        """Close what the guest left open."""
        for file in self._open.values():
            file.close()
        self._open.clear()
