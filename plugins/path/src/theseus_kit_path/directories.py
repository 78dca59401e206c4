"""Open directories: the OpenFile values of path_open that list, and from which paths start.

They show no descriptor: whoever opened paths relative to one would leave the namespace by ``..``
or a link. Paths from them are walked by the namespace, as all others are.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from theseus_kit.values.paths import DirectoryEntry, FileStatus, OpenMode, StatusChange
from theseus_kit_path.files import KEPT_MODES, UnreadableFile
from theseus_kit_path.host_errors import host_errors
from theseus_kit_path.mounts import Place

if TYPE_CHECKING:
    from theseus_kit_path.trees import OnClose


class Directory(UnreadableFile):
    """An open directory. Owns the directory of ``place``."""

    _no_bytes = errno.EISDIR

    def __init__(self, text: str, place: Place, mode: OpenMode, on_close: OnClose) -> None:
        super().__init__(text)
        self._place: Place | None = place
        self._on_close = on_close
        self.mode = mode & KEPT_MODES

    @property
    def place(self) -> Place:
        """Where paths from here start. Raises PlatformError (EBADF) after :meth:`close`."""
        if self._place is None:
            self._refuse(errno.EBADF)
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        """Rewind, the one seek that means something: who lists keeps the position himself."""
        if (offset, whence) != (0, os.SEEK_SET):
            self._refuse(errno.EINVAL)
        return 0

    def truncate(self, size: int) -> None:
        self._refuse(errno.EINVAL)

    def synchronize(self) -> None:
        with host_errors(self._text):
            self._usable().directory.synchronize()

    def entries(self) -> Sequence[DirectoryEntry]:
        with host_errors(self._text):
            return self._usable().entries()

    def status(self) -> FileStatus:
        with host_errors(self._text):
            return self.place.directory.status()

    def change(self, change: StatusChange) -> None:
        place = self._usable()
        if not place.writable:
            self._refuse(errno.EROFS)
        with host_errors(self._text):
            place.directory.change(change)

    def close(self) -> None:
        """Give the directory back; closing twice is nothing."""
        if self._place is not None:
            place, self._place = self._place, None
            self._on_close(self)
            with host_errors(self._text):
                place.directory.close()

    def _usable(self) -> Place:
        if OpenMode.PATH in self.mode:
            self._refuse(errno.EBADF)
        return self.place
