"""What a tree of files is to the namespace: directories, entered one name at a time.

Three kinds of directory answer to this: the host's (``host_tree.py``), those in memory
(``memory_tree.py``) and the mount table's own (``mounts.py``). The namespace walks and decides;
a tree does one thing to one name in one directory and never follows a link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from theseus_kit.values.paths import (
    DirectoryEntry,
    FileStatus,
    OpenFile,
    OpenMode,
    StatusChange,
)
from theseus_kit.values.record import NamedTuple

OnClose = Callable[[OpenFile], None]
"""Told when an open file is closed."""


class OpenRequest(NamedTuple):
    """How a regular file is to be opened."""

    text: str
    """The path it was asked for by, for messages."""
    mode: OpenMode
    permissions: int
    writable: bool
    """False on a read-only mount: the open file's times and permissions stay too."""
    on_close: OnClose


class TreeDirectory(Protocol):
    """A directory, held whatever becomes of its name. ``name`` is one component: no slash, no
    ``.``, no ``..``. Every method raises OSError with the errno of the system call it is like;
    :meth:`close` gives back what the host lent.
    """

    def status(self) -> FileStatus: ...
    def entries(self) -> list[DirectoryEntry]:
        """In any order, without ``.`` and ``..``."""
        ...

    def change(self, change: StatusChange) -> None: ...
    def synchronize(self) -> None: ...
    def held_again(self, readable: bool) -> TreeDirectory:
        """The same directory, to be closed on its own; EACCES if it may not be listed but is to
        be ``readable``."""
        ...

    def close(self) -> None: ...

    def names_below(self, root: TreeDirectory) -> tuple[str, ...] | None:
        """Where this directory is now, by names from another of its tree; None if it is not below
        that one, or nowhere any more."""
        ...

    def look(self, name: str) -> FileStatus:
        """As lstat(2)."""
        ...

    def enter(self, name: str) -> TreeDirectory:
        """The directory of this name; ENOTDIR or ELOOP for a link, ENOTDIR for a file."""
        ...

    def read_link(self, name: str) -> str: ...
    def open(self, name: str, how: OpenRequest) -> OpenFile:
        """Open or make a regular file; ELOOP for a link, EACCES for a device and its like."""
        ...

    def hold(self, name: str, on_close: OnClose) -> OpenFile:
        """What is there, of any kind but a directory, without opening it (O_PATH)."""
        ...

    def change_entry(self, name: str, change: StatusChange) -> None:
        """Change what is there, a link itself; EOPNOTSUPP for a link's permissions."""
        ...

    def create_directory(self, name: str, permissions: int) -> None: ...
    def create_link(self, name: str, text: str) -> None:
        """``text`` is not empty and what a host can hold."""
        ...

    def remove(self, name: str, directory: bool) -> None: ...
    def link(self, name: str, target: TreeDirectory, target_name: str) -> None:
        """``target`` is a directory of the same tree, here and in :meth:`rename`."""
        ...

    def rename(self, name: str, target: TreeDirectory, target_name: str) -> None: ...
