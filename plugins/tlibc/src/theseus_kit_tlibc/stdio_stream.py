"""A FILE's other side: the buffers of a C stream over an open descriptor.

As ISO C has it (7.21.3) with glibc's habits: a stream is fully buffered, buffered by lines, or not
at all; reading after writing writes what is waiting first, writing after reading goes back to
where the reader is. The functions that take a FILE are :mod:`.stdio_files`'.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library

FULLY, BY_LINES, UNBUFFERED = 0, 1, 2
"""_IOFBF, _IOLBF, _IONBF of stdio.h."""
BUFFER_SIZE = 4096
"""What glibc allocates: st_blksize, which is this here."""


class CStream:
    """One stream. Every method that moves bytes raises PlatformError and sets :attr:`error`."""

    def __init__(
        self,
        library: Library,
        descriptor: int,
        *,
        readable: bool,
        writable: bool,
        appends: bool = False,
        buffering: int | None = None,
    ) -> None:
        self._library = library
        self.descriptor = descriptor
        self.readable = readable
        self.writable = writable
        self.at_end = False
        self.error = False
        self._appends = appends
        self._buffering = buffering
        self._size = BUFFER_SIZE
        self._incoming = b""
        self._taken = 0
        """How much of the incoming bytes has been read."""
        self._pushed_back = bytearray()
        """By ungetc, the next one last."""
        self._outgoing = bytearray()
        self._failure: PlatformError | None = None

    @property
    def buffering(self) -> int:
        """As setvbuf set it; by lines for a terminal, fully for everything else."""
        if self._buffering is None:
            description = self._library.files.descriptions.get(self.descriptor)
            host = -1 if description is None else description.host
            self._buffering = BY_LINES if host >= 0 and os.isatty(host) else FULLY
        return self._buffering

    def set_buffering(self, mode: int, size: int) -> None:
        self._buffering = mode
        self._size = size or BUFFER_SIZE

    @property
    def waiting(self) -> int:
        """Bytes that are written and not out yet."""
        return len(self._outgoing)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer at the end of the file."""
        self._begin(self.readable)
        pieces = [self._from_buffer(size)]
        left = size - len(pieces[0])
        while left > 0 and not self.at_end:
            try:
                if left >= self._size:  # straight through: a buffer would be filled and emptied
                    piece = self._receive(left)
                else:
                    self._fill()
                    piece = self._from_buffer(left)
            except PlatformError as failure:
                if left == size:
                    raise
                self._failure = failure  # what was read before is not lost
                break
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def take_failure(self) -> PlatformError | None:
        """What cut the last read short, once."""
        failure, self._failure = self._failure, None
        return failure

    def read_until(self, delimiter: int, limit: int) -> bytes:
        """Up to ``limit`` bytes, the last of which is the first ``delimiter`` if one is there."""
        self._begin(self.readable)
        found = bytearray()
        while len(found) < limit:
            if self._pushed_back:
                found.append(self._pushed_back.pop())
            else:
                if self._taken == len(self._incoming):
                    self._fill()
                    if self.at_end:
                        break
                end = self._incoming.find(delimiter, self._taken)
                end = len(self._incoming) if end < 0 else end + 1
                end = min(end, self._taken + limit - len(found))
                found += self._incoming[self._taken : end]
                self._taken = end
            if found[-1] == delimiter:
                break
        return bytes(found)

    def push_back(self, byte: int) -> None:
        """Make a byte the next to be read (ungetc)."""
        self._begin(self.readable)
        self._pushed_back.append(byte)
        self.at_end = False

    def write(self, data: bytes) -> int:
        """Write bytes, through the buffer; return how many it took."""
        self._begin(self.writable, reads=False)
        if self.buffering == UNBUFFERED:
            self._send(data)
            return len(data)
        self._outgoing += data
        if len(self._outgoing) >= self._size:
            whole = len(self._outgoing) - len(self._outgoing) % self._size
            self._drain(whole)
        if self.buffering == BY_LINES:
            self._drain(self._outgoing.rfind(b"\n") + 1)
        return len(data)

    def flush(self) -> None:
        """Write what is waiting; go back to where the reader is (POSIX, fflush)."""
        self._drain(len(self._outgoing))
        ahead = len(self._incoming) - self._taken + len(self._pushed_back)
        if ahead:
            try:
                self._seek_file(-ahead, os.SEEK_CUR)
            except PlatformError as failure:
                if failure.errno != errno.ESPIPE:
                    raise
                return  # a pipe: what was read ahead stays
        self._forget_incoming()

    def seek(self, offset: int, whence: int) -> None:
        self._drain(len(self._outgoing))
        if whence == os.SEEK_CUR:
            offset -= len(self._incoming) - self._taken + len(self._pushed_back)
        self._seek_file(offset, whence)
        self._forget_incoming()
        self.at_end = False

    def tell(self) -> int:
        """Where the next byte is read or written."""
        if self._outgoing and self._appends:  # it goes to the end, wherever the file stands now
            return self._seek_file(0, os.SEEK_END) + len(self._outgoing)
        position = self._seek_file(0, os.SEEK_CUR)
        ahead = len(self._incoming) - self._taken + len(self._pushed_back)
        return position - ahead + len(self._outgoing)

    def clear(self) -> None:
        """No error, not at the end (clearerr)."""
        self.at_end = self.error = False

    def _begin(self, allowed: bool, *, reads: bool = True) -> None:
        if not allowed:
            self.error = True
            raise PlatformError("the stream is not open for this", errno.EBADF)
        if reads and self._outgoing:
            self._drain(len(self._outgoing))
        elif not reads and (self._taken < len(self._incoming) or self._pushed_back):
            self.flush()

    def _from_buffer(self, size: int) -> bytes:
        data = b""
        if self._pushed_back:
            data = bytes(self._pushed_back[: -size - 1 : -1])
            del self._pushed_back[-len(data) :]
        start = self._taken
        self._taken = min(start + size - len(data), len(self._incoming))
        return data + self._incoming[start : self._taken]

    def _forget_incoming(self) -> None:
        self._incoming, self._taken = b"", 0
        self._pushed_back.clear()

    def _fill(self) -> None:
        self._taken = 0
        self._incoming = b""
        self._incoming = self._receive(1 if self.buffering == UNBUFFERED else self._size)

    def _receive(self, size: int) -> bytes:
        """One read of the file, of which the end is remembered."""
        library = self._library
        buffer = bytearray(size)
        try:
            description = library.files.usable_description(self.descriptor)
            count = library.transfers.read(description, [memoryview(buffer)])
        except PlatformError:
            self.error = True
            raise
        if count == 0:
            self.at_end = True
        return bytes(buffer[:count])

    def _drain(self, size: int) -> None:
        """Write the first bytes of those that wait; what cannot be written is lost, as in C."""
        if size <= 0:
            return
        data = bytes(self._outgoing[:size])
        del self._outgoing[:size]
        self._send(data)

    def _send(self, data: bytes) -> None:
        library = self._library
        view = memoryview(data)
        try:
            description = library.files.usable_description(self.descriptor)
            while view:
                count = library.transfers.write(description, [view])
                view = view[count:]
        except PlatformError:
            self.error = True
            raise

    def _seek_file(self, offset: int, whence: int) -> int:
        return self._library.files.usable(self.descriptor).seek(offset, whence)
