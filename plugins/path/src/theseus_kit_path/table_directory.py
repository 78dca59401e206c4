"""The directories of the mount table: empty, unchangeable, only there to lead to mounts."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NoReturn

from theseus_kit.values.paths import (
    DirectoryEntry,
    FileKind,
    FileStatus,
    OpenFile,
    StatusChange,
)
from theseus_kit_path.host_errors import os_error

if TYPE_CHECKING:
    from theseus_kit_path.trees import OnClose, OpenRequest, TreeDirectory


class TableDirectory:
    """A directory that only mounts are in: to its tree it is empty (ENOENT, EROFS)."""

    __slots__ = ("_inode",)

    def __init__(self, inode: int) -> None:
        self._inode = inode

    def status(self) -> FileStatus:
        return FileStatus(FileKind.DIRECTORY, 0, inode=self._inode, links=2, permissions=0o555)

    def entries(self) -> list[DirectoryEntry]:
        return []

    def change(self, change: StatusChange) -> None:
        raise os_error(errno.EROFS)

    def synchronize(self) -> None:
        """Nothing is ever written, so nothing is late."""

    def held_again(self, readable: bool) -> TableDirectory:
        return self

    def close(self) -> None:
        """The mount table's own."""

    def names_below(self, root: TreeDirectory) -> tuple[str, ...] | None:
        return () if root is self else None

    def _nothing_here(self) -> NoReturn:
        raise os_error(errno.ENOENT)

    def look(self, name: str) -> FileStatus:
        self._nothing_here()

    def enter(self, name: str) -> TreeDirectory:
        self._nothing_here()

    def read_link(self, name: str) -> str:
        self._nothing_here()

    def open(self, name: str, how: OpenRequest) -> OpenFile:
        self._nothing_here()

    def hold(self, name: str, on_close: OnClose) -> OpenFile:
        self._nothing_here()

    def change_entry(self, name: str, change: StatusChange) -> None:
        self._nothing_here()

    def create_directory(self, name: str, permissions: int) -> None:
        raise os_error(errno.EROFS)

    def create_link(self, name: str, text: str) -> None:
        raise os_error(errno.EROFS)

    def remove(self, name: str, directory: bool) -> None:
        self._nothing_here()

    def link(self, name: str, target: TreeDirectory, target_name: str) -> None:
        self._nothing_here()

    def rename(self, name: str, target: TreeDirectory, target_name: str) -> None:
        self._nothing_here()
