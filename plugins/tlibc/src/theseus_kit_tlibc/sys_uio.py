"""sys/uio.h: reading and writing several buffers in one call."""

from __future__ import annotations

import errno
from typing import ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function, system_call
from theseus_kit_tlibc.transfer import check_offset

RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND = 1, 2, 4, 8, 16
_READ_FLAGS = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT
_WRITE_FLAGS = _READ_FLAGS | RWF_APPEND
_AT_POSITION = -1


class SysUio(Header):
    header: ClassVar[str] = "sys/uio.h"

    @c_function("ssize_t readv(int fd, const struct iovec *iov, int iovcnt)",
                system_call=19, on_error=MINUS_ONE, blocks=True)  # fmt: skip
    def readv(self, fd: int, iov: int, iovcnt: int) -> int:
        transfers = self.library.transfers
        description = self.library.files.description(fd)
        return transfers.read(description, transfers.vectors(iov, iovcnt, writable=True))

    @c_function("ssize_t writev(int fd, const struct iovec *iov, int iovcnt)",
                system_call=20, on_error=MINUS_ONE, blocks=True)  # fmt: skip
    def writev(self, fd: int, iov: int, iovcnt: int) -> int:
        transfers = self.library.transfers
        description = self.library.files.description(fd)
        return transfers.write(description, transfers.vectors(iov, iovcnt, writable=False))

    @c_function(
        "ssize_t preadv(int fd, const struct iovec *iov, int iovcnt, off_t offset)",
        system_call=295,
        aliases=("preadv64",),
        on_error=MINUS_ONE,
    )
    def preadv(self, fd: int, iov: int, iovcnt: int, offset: int) -> int:
        """The system call's fifth argument, the offset's upper half, is 0 on x86-64."""
        check_offset(offset)
        transfers = self.library.transfers
        description = self.library.files.description(fd)
        buffers = transfers.vectors(iov, iovcnt, writable=True)
        return transfers.read_at(description, buffers, offset)

    @c_function(
        "ssize_t pwritev(int fd, const struct iovec *iov, int iovcnt, off_t offset)",
        system_call=296,
        aliases=("pwritev64",),
        on_error=MINUS_ONE,
    )
    def pwritev(self, fd: int, iov: int, iovcnt: int, offset: int) -> int:
        check_offset(offset)
        transfers = self.library.transfers
        description = self.library.files.description(fd)
        buffers = transfers.vectors(iov, iovcnt, writable=False)
        return transfers.write_at(description, buffers, offset)

    @c_function(
        "ssize_t preadv2(int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags)",
        aliases=("preadv64v2",),
        on_error=MINUS_ONE,
        blocks=True,
    )
    def preadv2(self, fd: int, iov: int, iovcnt: int, offset: int, flags: int) -> int:
        if flags & ~_READ_FLAGS:
            raise PlatformError(f"preadv2: flags {flags:#x}", errno.EOPNOTSUPP)
        if offset == _AT_POSITION:
            return self.readv(fd, iov, iovcnt)
        return self.preadv(fd, iov, iovcnt, offset)

    @c_function(
        "ssize_t pwritev2(int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags)",
        aliases=("pwritev64v2",),
        on_error=MINUS_ONE,
        blocks=True,
    )
    def pwritev2(self, fd: int, iov: int, iovcnt: int, offset: int, flags: int) -> int:
        if flags & ~_WRITE_FLAGS:
            raise PlatformError(f"pwritev2: flags {flags:#x}", errno.EOPNOTSUPP)
        if offset < _AT_POSITION:
            raise InvalidParameterError(f"offset {offset}")
        library = self.library
        transfers = library.transfers
        description = library.files.description(fd)
        buffers = transfers.vectors(iov, iovcnt, writable=False)
        if flags & RWF_APPEND:
            count = transfers.append(description, buffers, offset)
        elif offset == _AT_POSITION:
            count = transfers.write(description, buffers)
        else:
            count = transfers.write_at(description, buffers, offset)
        if flags & (RWF_DSYNC | RWF_SYNC) and count:
            description.file.synchronize()
        return count

    @system_call(
        327,
        "ssize_t preadv2(int fd, const struct iovec *iov, int iovcnt, off_t offset, "
        "unsigned long high, int flags)",
        blocks=True,
    )
    def preadv2_call(
        self, fd: int, iov: int, iovcnt: int, offset: int, high: int, flags: int
    ) -> int:
        return self.preadv2(fd, iov, iovcnt, offset, flags)

    @system_call(
        328,
        "ssize_t pwritev2(int fd, const struct iovec *iov, int iovcnt, off_t offset, "
        "unsigned long high, int flags)",
        blocks=True,
    )
    def pwritev2_call(
        self, fd: int, iov: int, iovcnt: int, offset: int, high: int, flags: int
    ) -> int:
        return self.pwritev2(fd, iov, iovcnt, offset, flags)
