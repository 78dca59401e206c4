"""Standard streams: the host's descriptors 0, 1 and 2 as open files of the guest.

They are used as they are: what the guest writes is out at once, nothing is read ahead, and their
access modes are the host's. Closing one takes it from the guest and leaves it to the host. A guest
that wants one without blocking (O_NONBLOCK) gets that by asking the host first; the host's own
flags, which its other users share, are never changed.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import FileKind, FileStatus, OpenMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from theseus_kit.values.paths import DirectoryEntry, StatusChange

_KINDS = {
    stat.S_IFREG: FileKind.FILE,
    stat.S_IFDIR: FileKind.DIRECTORY,
    stat.S_IFCHR: FileKind.CHARACTER_DEVICE,
    stat.S_IFBLK: FileKind.BLOCK_DEVICE,
    stat.S_IFIFO: FileKind.PIPE,
    stat.S_IFSOCK: FileKind.SOCKET,
}


class Stream:
    """A stream of the host. Each method raises PlatformError with the host's errno."""

    def __init__(self, descriptor: int) -> None:
        """Raises OSError (EBADF) if the host has closed it."""
        from fcntl import F_GETFL, fcntl

        self.host_flags = fcntl(descriptor, F_GETFL)
        """As the host opened it: access mode and status flags, open(2)."""
        self.descriptor: int | None = descriptor
        self._number = descriptor
        access = self.host_flags & os.O_ACCMODE
        self.mode = (OpenMode.READ, OpenMode.WRITE, OpenMode.READ | OpenMode.WRITE)[access % 3]

    def read(self, size: int = -1) -> bytes:
        try:
            return os.read(self._number, size if size >= 0 else 1 << 20)
        except OSError as error:
            raise as_platform_error(error) from error

    def write(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._number, data)
        except OSError as error:
            raise as_platform_error(error) from error

    def read_at(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._number, size, offset)
        except OSError as error:
            raise as_platform_error(error) from error

    def write_at(self, data: bytes | memoryview, offset: int) -> int:
        try:
            return os.pwrite(self._number, data, offset)
        except OSError as error:
            raise as_platform_error(error) from error

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return os.lseek(self._number, offset, whence)
        except OSError as error:
            raise as_platform_error(error) from error

    def truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._number, size)
        except OSError as error:
            raise as_platform_error(error) from error

    def allocate(self, offset: int, size: int) -> None:
        try:
            os.posix_fallocate(self._number, offset, size)
        except OSError as error:
            raise as_platform_error(error) from error

    def synchronize(self) -> None:
        try:
            os.fsync(self._number)
        except OSError as error:
            raise as_platform_error(error) from error

    def set_append(self, append: bool) -> None:
        if append != bool(self.host_flags & os.O_APPEND) and self._is_regular():
            raise InvalidParameterError("how a stream's file is written is the host's to say")

    def entries(self) -> Sequence[DirectoryEntry]:
        raise PlatformError("a stream is no directory", errno.ENOTDIR)

    def status(self) -> FileStatus:
        try:
            host = os.fstat(self._number)
        except OSError as error:
            raise as_platform_error(error) from error
        return FileStatus(
            _KINDS.get(stat.S_IFMT(host.st_mode), FileKind.OTHER),
            host.st_size,
            host.st_ino,
            host.st_dev,
            host.st_nlink,
            stat.S_IMODE(host.st_mode),
            host.st_atime_ns,
            host.st_mtime_ns,
            host.st_ctime_ns,
            None,
            host.st_blocks,
        )

    def change(self, change: StatusChange) -> None:
        raise PlatformError("the streams are the host's", errno.EPERM)

    def close(self) -> None:
        """The stream is the host's: the guest loses it, the host keeps it."""

    def _is_regular(self) -> bool:
        return stat.S_ISREG(os.fstat(self._number).st_mode)


def standard_streams() -> dict[int, Stream]:
    """Those of 0, 1 and 2 that the host has open."""
    streams: dict[int, Stream] = {}
    for number in range(3):
        try:
            streams[number] = Stream(number)
        except OSError:  # closed by whoever started the host program: so it is for the guest
            continue
    return streams


def as_platform_error(error: OSError | OverflowError) -> PlatformError:
    """The host's refusal as the platform's; a number beyond the host's types is EINVAL."""
    if isinstance(error, OverflowError):
        return InvalidParameterError(str(error))
    return PlatformError(error.strerror or str(error), error.errno)
