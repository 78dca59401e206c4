"""Open files: the OpenFile values of path_open that are the host's, and what only holds a file.

Only regular files of the host are ever opened (``namespace.py`` sees to it), so no method here
blocks on anything but the host's disk. Directories are ``directories.py``'s, files in memory
``memory_files.py``'s.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from theseus_kit.values.paths import DirectoryEntry, FileKind, FileStatus, OpenMode, StatusChange
from theseus_kit_path.host_errors import as_platform_error, host_errors, path_error
from theseus_kit_path.host_status import change_times, status_of

if TYPE_CHECKING:
    from theseus_kit_path.trees import OnClose, OpenRequest

_WHOLE_FILE_STEP = 1 << 20
"""Bytes asked for at a time where the caller did not say how much there is."""

KEPT_MODES = OpenMode.READ | OpenMode.WRITE | OpenMode.APPEND | OpenMode.PATH
"""What of an open mode still matters once a file is open."""


class HostFile:
    """A regular file of the host. Each method raises PlatformError with the host's errno,
    EBADF after :meth:`close`."""

    def __init__(self, descriptor: int, how: OpenRequest) -> None:
        self._descriptor = descriptor
        self._text = how.text
        self._mode = how.mode & KEPT_MODES
        self._writable = how.writable
        self._on_close = how.on_close

    @property
    def descriptor(self) -> int | None:
        return self._descriptor if self._descriptor >= 0 else None

    @property
    def mode(self) -> OpenMode:
        return self._mode

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes from the file's position; all that is left if negative."""
        try:
            if size >= 0:
                return os.read(self._descriptor, self._bounded(size))
            pieces = []
            while piece := os.read(self._descriptor, self._bounded(1 << 62)):
                pieces.append(piece)
            return b"".join(pieces)
        except (OSError, OverflowError) as error:
            raise as_platform_error(error, self._text) from error

    def write(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except (OSError, OverflowError) as error:
            raise as_platform_error(error, self._text) from error

    def read_at(self, size: int, offset: int) -> bytes:
        """Read up to ``size`` bytes at ``offset``; the file's position stays."""
        try:
            return os.pread(self._descriptor, self._bounded(size, offset), offset)
        except (OSError, OverflowError) as error:
            raise as_platform_error(error, self._text) from error

    def write_at(self, data: bytes | memoryview, offset: int) -> int:
        """Write at ``offset``, or at the end of a file that is appended to (pwrite(2), BUGS); the
        file's position stays."""
        try:
            return os.pwrite(self._descriptor, data, offset)
        except (OSError, OverflowError) as error:
            raise as_platform_error(error, self._text) from error

    def seek(self, offset: int, whence: int = 0) -> int:
        with host_errors(self._text):
            return os.lseek(self._descriptor, offset, whence)

    def truncate(self, size: int) -> None:
        with host_errors(self._text):
            os.ftruncate(self._descriptor, size)

    def allocate(self, offset: int, size: int) -> None:
        with host_errors(self._text):
            os.posix_fallocate(self._descriptor, offset, size)

    def synchronize(self) -> None:
        with host_errors(self._text):
            os.fsync(self._descriptor)

    def set_append(self, append: bool) -> None:
        with host_errors(self._text):
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & ~os.O_APPEND
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | os.O_APPEND * append)
        self._mode = self._mode & ~OpenMode.APPEND
        if append:
            self._mode |= OpenMode.APPEND

    def entries(self) -> Sequence[DirectoryEntry]:
        raise path_error(errno.ENOTDIR, self._text)

    def status(self) -> FileStatus:
        with host_errors(self._text):
            return status_of(os.fstat(self._descriptor))

    def change(self, change: StatusChange) -> None:
        if not self._writable:
            raise path_error(errno.EROFS, self._text)
        with host_errors(self._text):
            if change.permissions is not None:
                os.fchmod(self._descriptor, change.permissions & 0o777)
            change_times(self._descriptor, change)

    def close(self) -> None:
        """Give the descriptor back; closing twice is nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._on_close(self)
            with host_errors(self._text):
                os.close(descriptor)

    def _bounded(self, size: int, offset: int | None = None) -> int:
        """Cut a read to what the file holds.

        os.read allocates all that is asked for first, and a guest may well ask for 2 GiB of a
        small file.
        """
        if size <= _WHOLE_FILE_STEP:
            return size
        if offset is None:
            offset = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        rest = os.fstat(self._descriptor).st_size - offset
        return min(size, max(rest, _WHOLE_FILE_STEP))


class UnreadableFile:
    """Base of open files without bytes: every use of bytes is the errno ``_no_bytes``."""

    _no_bytes = errno.EBADF

    descriptor: int | None = None

    def __init__(self, text: str) -> None:
        self._text = text

    def _refuse(self, number: int) -> NoReturn:
        raise path_error(number, self._text)

    def read(self, size: int = -1) -> bytes:
        self._refuse(self._no_bytes)

    def write(self, data: bytes | memoryview) -> int:
        self._refuse(errno.EBADF)

    def read_at(self, size: int, offset: int) -> bytes:
        self._refuse(self._no_bytes)

    def write_at(self, data: bytes | memoryview, offset: int) -> int:
        self._refuse(errno.EBADF)

    def allocate(self, offset: int, size: int) -> None:
        self._refuse(errno.EBADF)

    def set_append(self, append: bool) -> None:
        """Nothing is ever written, at the end or elsewhere."""


class HeldFile(UnreadableFile):
    """What is there, held and not opened (O_PATH): it tells its status, all else is EBADF."""

    mode = OpenMode.PATH

    def __init__(
        self,
        text: str,
        *,
        status: Callable[[], FileStatus],
        read_link: Callable[[], str],
        release: Callable[[], None],
        on_close: OnClose,
    ) -> None:
        super().__init__(text)
        self._status: Callable[[], FileStatus] | None = status
        self._read_link = read_link
        self._release = release
        self._on_close = on_close

    def seek(self, offset: int, whence: int = 0) -> int:
        self._refuse(errno.EBADF)

    def truncate(self, size: int) -> None:
        self._refuse(errno.EBADF)

    def synchronize(self) -> None:
        self._refuse(errno.EBADF)

    def entries(self) -> Sequence[DirectoryEntry]:
        self._refuse(errno.EBADF)

    def status(self) -> FileStatus:
        if self._status is None:
            self._refuse(errno.EBADF)
        with host_errors(self._text):
            return self._status()

    def read_link(self) -> str:
        """The text of the link that is held; ENOENT if it is none (readlink(2), an empty path)."""
        if self.status().kind is not FileKind.SYMBOLIC_LINK:
            self._refuse(errno.ENOENT)
        with host_errors(self._text):
            return self._read_link()

    def change(self, change: StatusChange) -> None:
        self._refuse(errno.EBADF)

    def close(self) -> None:
        """Let go of it; closing twice is nothing."""
        if self._status is not None:
            self._status = None
            self._on_close(self)
            with host_errors(self._text):
                self._release()
