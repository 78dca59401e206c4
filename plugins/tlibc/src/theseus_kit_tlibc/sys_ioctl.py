"""sys/ioctl.h: the few requests that a program makes of any descriptor."""

from __future__ import annotations

import errno
import os
from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import FileKind, OpenMode
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.files import O_NONBLOCK
from theseus_kit_tlibc.streams import as_platform_error

if TYPE_CHECKING:
    from theseus_kit_tlibc.files import Description

TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX = (
    0x5401,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
)
_INT = Struct("<i")
_ASKED_OF_THE_HOST = {TCGETS: 36, TIOCGWINSZ: 8}
"""Requests that read the state of a terminal, and how many bytes they write."""


class Bodies(DeferredBodies):
    """The functions of sys/ioctl.h."""

    def ioctl(self, fd: int, request: int, argp: int) -> int:
        """Raises ENOTTY for what a file has no answer to. No state of a terminal is changed."""
        library = self.library
        library.files.usable(fd)
        description = library.files.description(fd)
        request &= 0xFFFFFFFF
        if request in (FIOCLEX, FIONCLEX):
            library.files.set_close_on_exec(fd, close=request == FIOCLEX)
        elif request == FIONBIO:
            on = library.memory.read_u32(argp) != 0
            kept = description.flags & ~O_NONBLOCK
            library.files.set_flags(description, kept | O_NONBLOCK * on)
        elif request == FIONREAD:
            library.memory.write(argp, _INT.pack(self._readable(description)))
        elif request in _ASKED_OF_THE_HOST and description.host >= 0:
            answer = self._of_host(description.host, request, _ASKED_OF_THE_HOST[request])
            library.memory.write(argp, answer)
        else:
            raise PlatformError(f"ioctl {request:#x}", errno.ENOTTY)
        return 0

    def _of_host(self, host: int, request: int, size: int) -> bytes:
        from fcntl import ioctl

        try:
            return ioctl(host, request, bytes(size))
        except OSError as error:
            raise as_platform_error(error) from error

    def _readable(self, description: Description) -> int:
        file = description.file
        status = file.status()
        if status.kind is FileKind.FILE:
            return min(max(status.size - file.seek(0, os.SEEK_CUR), 0), (1 << 31) - 1)
        if description.host < 0 or OpenMode.READ not in file.mode:
            raise PlatformError("nothing says how much could be read", errno.ENOTTY)
        count: int = _INT.unpack(self._of_host(description.host, FIONREAD, _INT.size))[0]
        return count
