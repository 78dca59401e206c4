"""Open files: the OpenFile values of path_open, over the host's descriptors.

Only regular files and directories are ever opened (``namespace.py`` sees to it), so no method
here blocks on anything but the host's disk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from theseus_kit.values.paths import FileKind, FileStatus
from theseus_kit_path.host_errors import host_errors, path_error

_WHOLE_FILE_STEP = 1 << 20
"""Bytes asked for at a time where the caller did not say how much there is."""

_KINDS = {
    stat.S_IFREG: FileKind.FILE,
    stat.S_IFDIR: FileKind.DIRECTORY,
    stat.S_IFLNK: FileKind.SYMBOLIC_LINK,
}


def status_of(result: os.stat_result) -> FileStatus:
    """The host's stat as the platform's."""
    return FileStatus(
        kind=_KINDS.get(stat.S_IFMT(result.st_mode), FileKind.OTHER),
        size=result.st_size,
        inode=result.st_ino,
        device=result.st_dev,
        links=result.st_nlink,
        permissions=stat.S_IMODE(result.st_mode),
        accessed=result.st_atime_ns,
        modified=result.st_mtime_ns,
        changed=result.st_ctime_ns,
    )


class HostFile:
    """A regular file of the host. Each method raises PlatformError with the host's errno,
    EBADF after :meth:`close`."""

    def __init__(self, descriptor: int, text: str, on_close: Callable[[HostFile], None]) -> None:
        self._descriptor = descriptor
        self._text = text
        self._on_close = on_close

    @property
    def descriptor(self) -> int | None:
        return self._descriptor if self._descriptor >= 0 else None

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes from the file's position; all that is left if negative."""
        with host_errors(self._text):
            if size >= 0:
                return os.read(self._descriptor, self._bounded(size))
            pieces = []
            while piece := os.read(self._descriptor, self._bounded(1 << 62)):
                pieces.append(piece)
            return b"".join(pieces)

    def write(self, data: bytes) -> int:
        with host_errors(self._text):
            return os.write(self._descriptor, data)

    def read_at(self, size: int, offset: int) -> bytes:
        """Read up to ``size`` bytes at ``offset``; the file's position stays."""
        with host_errors(self._text):
            return os.pread(self._descriptor, self._bounded(size, offset), offset)

    def write_at(self, data: bytes, offset: int) -> int:
        """Write at ``offset``; the file's position stays."""
        with host_errors(self._text):
            return os.pwrite(self._descriptor, data, offset)

    def seek(self, offset: int, whence: int = 0) -> int:
        with host_errors(self._text):
            return os.lseek(self._descriptor, offset, whence)

    def truncate(self, size: int) -> None:
        with host_errors(self._text):
            os.ftruncate(self._descriptor, size)

    def synchronize(self) -> None:
        with host_errors(self._text):
            os.fsync(self._descriptor)

    def status(self) -> FileStatus:
        with host_errors(self._text):
            return status_of(os.fstat(self._descriptor))

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


class Directory:
    """An open directory, of the host or of the mount table alone.

    It shows no descriptor: whoever opened paths relative to one would leave the namespace by
    ``..`` or a link. Listing goes through path_list.
    """

    descriptor: int | None = None

    def __init__(
        self,
        text: str,
        host_descriptor: int,
        status: FileStatus,
        on_close: Callable[[Directory], None],
    ) -> None:
        self._text = text
        self._host_descriptor = host_descriptor
        """The host's directory, -1 for one of the mount table alone."""
        self._status = status
        self._on_close = on_close
        self._closed = False

    def read(self, size: int = -1) -> bytes:
        raise path_error(errno.EISDIR, self._text)

    def write(self, data: bytes) -> int:
        raise path_error(errno.EBADF, self._text)

    def read_at(self, size: int, offset: int) -> bytes:
        raise path_error(errno.EISDIR, self._text)

    def write_at(self, data: bytes, offset: int) -> int:
        raise path_error(errno.EBADF, self._text)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Rewind, the one seek that means something without a position in a listing."""
        if (offset, whence) != (0, os.SEEK_SET):
            raise path_error(errno.EINVAL, self._text)
        return 0

    def truncate(self, size: int) -> None:
        raise path_error(errno.EINVAL, self._text)

    def synchronize(self) -> None:
        if self._host_descriptor >= 0:
            with host_errors(self._text):
                os.fsync(self._host_descriptor)

    def status(self) -> FileStatus:
        if self._closed:
            raise path_error(errno.EBADF, self._text)
        if self._host_descriptor < 0:
            return self._status
        with host_errors(self._text):
            return status_of(os.fstat(self._host_descriptor))

    def close(self) -> None:
        """Give the descriptor back; closing twice is nothing."""
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        if self._host_descriptor >= 0:
            with host_errors(self._text):
                os.close(self._host_descriptor)
