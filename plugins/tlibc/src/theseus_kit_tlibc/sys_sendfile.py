"""sys/sendfile.h, and copy_file_range of unistd.h: bytes from one open file to another."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import FileKind, OpenMode
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.transfer import RW_COUNT_MAX

if TYPE_CHECKING:
    from theseus_kit_tlibc.files import Description

_PIECE = 1 << 18
"""Bytes on their way at a time."""


class Bodies(DeferredBodies):
    """The functions of sys/sendfile.h."""

    def sendfile(self, out_fd: int, in_fd: int, offset: int, count: int) -> int:
        files = self.library.files
        files.usable(out_fd)
        source = files.usable(in_fd)
        if source.status().kind is not FileKind.FILE:
            raise InvalidParameterError("sendfile from what is no file")
        return self._copy(in_fd, offset, out_fd, 0, count)

    def copy_file_range(
        self, fd_in: int, off_in: int, fd_out: int, off_out: int, length: int, flags: int
    ) -> int:
        files = self.library.files
        source, target = files.usable(fd_in), files.usable(fd_out)
        for file in (source, target):
            kind = file.status().kind
            if kind is not FileKind.FILE:
                number = errno.EISDIR if kind is FileKind.DIRECTORY else errno.EINVAL
                raise PlatformError("copy_file_range: no file", number)
        if (
            OpenMode.READ not in source.mode
            or OpenMode.WRITE not in target.mode
            or OpenMode.APPEND in target.mode
        ):
            raise PlatformError("copy_file_range: not open for this", errno.EBADF)
        if flags:
            raise InvalidParameterError(f"copy_file_range: flags {flags:#x}")
        for address in (off_in, off_out):
            if address and self.library.memory.read_u64(address) + length >> 64:
                raise PlatformError("the range wraps", errno.EOVERFLOW)
        return self._copy(fd_in, off_in, fd_out, off_out, length)

    def _copy(self, fd_in: int, off_in: int, fd_out: int, off_out: int, length: int) -> int:
        """Copy, from and to the files' positions where the pointers are null."""
        files, memory = self.library.files, self.library.memory
        source, target = files.description(fd_in), files.description(fd_out)
        if OpenMode.READ not in source.file.mode or OpenMode.WRITE not in target.file.mode:
            raise PlatformError("the descriptors are not open for this", errno.EBADF)
        read_at = self._offset(off_in)
        write_at = self._offset(off_out)
        done, length = 0, min(length, RW_COUNT_MAX)
        while done < length:
            size = min(length - done, _PIECE)
            if read_at is None:
                data = source.file.read(size)
            else:
                data = source.file.read_at(size, read_at + done)
            if not data:
                break
            try:
                count = self._put(target, data, None if write_at is None else write_at + done)
            except PlatformError:
                if read_at is None:
                    source.file.seek(-len(data), 1)
                if not done:
                    raise
                break
            if count < len(data) and read_at is None:
                source.file.seek(count - len(data), 1)
            done += count
            if count < len(data):
                break
        for address, start in ((off_in, read_at), (off_out, write_at)):
            if start is not None:
                memory.write_u64(address, start + done)
        return done

    def _put(self, target: Description, data: bytes, offset: int | None) -> int:
        transfers = self.library.transfers
        view = [memoryview(data)]
        if offset is None:
            return transfers.write(target, view)
        return transfers.write_at(target, view, offset)

    def _offset(self, address: int) -> int | None:
        if not address:
            return None
        offset = self.library.memory.read_u64(address)
        if offset >> 63:
            raise InvalidParameterError("a negative offset")
        return offset
