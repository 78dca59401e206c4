"""sys/file.h: locking whole files."""

from __future__ import annotations

from typing import ClassVar

from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function


class SysFile(Header):
    header: ClassVar[str] = "sys/file.h"

    @c_function("int flock(int fd, int operation)", system_call=73, on_error=MINUS_ONE, blocks=True)
    def flock(self, fd: int, operation: int) -> int:
        """Waits, where it has to, by trying again each millisecond."""
        library = self.library
        library.files.usable(fd)
        return library.locks.flock(library.files.description(fd), operation)
