"""Open files that are no files: what eventfd, epoll and their kin refuse alike."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NoReturn

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import FileKind, FileStatus, OpenMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from theseus_kit.values.paths import DirectoryEntry, StatusChange


class AnonymousFile:
    """An open file without a position, a length or a name; a base to start from."""

    descriptor: int | None = None
    mode = OpenMode.READ | OpenMode.WRITE

    def read(self, size: int = -1) -> bytes:
        raise InvalidParameterError("nothing can be read from it")

    def write(self, data: bytes | memoryview) -> int:
        raise InvalidParameterError("nothing can be written to it")

    def read_at(self, size: int, offset: int) -> bytes:
        self._refuse_positions()

    def write_at(self, data: bytes | memoryview, offset: int) -> int:
        self._refuse_positions()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Nothing, as Linux's noop_llseek."""
        return 0

    def truncate(self, size: int) -> None:
        raise InvalidParameterError("it has no length")

    def allocate(self, offset: int, size: int) -> None:
        self._refuse_positions()

    def synchronize(self) -> None:
        raise InvalidParameterError("it is not kept anywhere")

    def set_append(self, append: bool) -> None:
        """There is no end to be written to."""

    def entries(self) -> Sequence[DirectoryEntry]:
        raise PlatformError("it is no directory", errno.ENOTDIR)

    def status(self) -> FileStatus:
        return FileStatus(FileKind.OTHER, 0, permissions=0o600)

    def change(self, change: StatusChange) -> None:
        raise PlatformError("it has no status to change", errno.EPERM)

    def close(self) -> None:
        """Nothing is held."""

    def _refuse_positions(self) -> NoReturn:
        raise PlatformError("it has no positions", errno.ESPIPE)
