"""sys/uio.h: reading and writing several buffers in one call."""

from __future__ import annotations

import errno

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.transfer import check_offset

RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND = 1, 2, 4, 8, 16
_READ_FLAGS = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT
_WRITE_FLAGS = _READ_FLAGS | RWF_APPEND
_AT_POSITION = -1


class Bodies(DeferredBodies):
    """The functions of sys/uio.h."""

    def readv(self, fd: int, iov: int, iovcnt: int) -> int:
        transfers = self.library.transfers
        description = self.library.files.description(fd)
        return transfers.read(description, transfers.vectors(iov, iovcnt, writable=True))

    def writev(self, fd: int, iov: int, iovcnt: int) -> int:
        transfers = self.library.transfers
        description = self.library.files.description(fd)
        return transfers.write(description, transfers.vectors(iov, iovcnt, writable=False))

    def preadv(self, fd: int, iov: int, iovcnt: int, offset: int) -> int:
        """The system call's fifth argument, the offset's upper half, is 0 on x86-64."""
        check_offset(offset)
        transfers = self.library.transfers
        description = self.library.files.description(fd)
        buffers = transfers.vectors(iov, iovcnt, writable=True)
        return transfers.read_at(description, buffers, offset)

    def pwritev(self, fd: int, iov: int, iovcnt: int, offset: int) -> int:
        check_offset(offset)
        transfers = self.library.transfers
        description = self.library.files.description(fd)
        buffers = transfers.vectors(iov, iovcnt, writable=False)
        return transfers.write_at(description, buffers, offset)

    def preadv2(self, fd: int, iov: int, iovcnt: int, offset: int, flags: int) -> int:
        if flags & ~_READ_FLAGS:
            raise PlatformError(f"preadv2: flags {flags:#x}", errno.EOPNOTSUPP)
        if offset == _AT_POSITION:
            return self.readv(fd, iov, iovcnt)
        return self.preadv(fd, iov, iovcnt, offset)

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

    def raw_preadv2(
        self, fd: int, iov: int, iovcnt: int, offset: int, high: int, flags: int
    ) -> int:
        return self.preadv2(fd, iov, iovcnt, offset, flags)

    def raw_pwritev2(
        self, fd: int, iov: int, iovcnt: int, offset: int, high: int, flags: int
    ) -> int:
        return self.pwritev2(fd, iov, iovcnt, offset, flags)
