"""A tree of files in memory: hermetic, bounded, and to its users like one of the host's.

What it does not do: permissions are kept and never checked (the platform has one user, who owns
it), and reading leaves the time of access alone, as a file system mounted ``noatime``.

    MemoryTree        limit, bytes used, clock, lock
    └── Inode         a directory: its entries and its parent
        ├── Inode     a file: a bytearray, zeros where nothing was written
        └── Inode     a link: its text

One lock guards a tree: every operation is one step to all others, as rename(2) asks for.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING

from theseus_kit.values.paths import (
    DirectoryEntry,
    FileKind,
    FileStatus,
    OpenFile,
    OpenMode,
    StatusChange,
)
from theseus_kit_path.files import HeldFile
from theseus_kit_path.host_errors import os_error
from theseus_kit_path.memory_files import Inode, MemoryFile, Store

if TYPE_CHECKING:
    from theseus_kit_path.trees import OnClose, OpenRequest, TreeDirectory

_LONGEST_NAME = 255
"""Bytes: NAME_MAX, limits.h."""

_PERMISSIONS = 0o7777


class MemoryTree:
    """An empty tree. ``limit`` bounds files, names and links together, in bytes (ENOSPC)."""

    def __init__(self, device: int, limit: int, now: Callable[[], int]) -> None:
        store = Store(device, limit, now, RLock())
        self.root = MemoryDirectory(store, Inode(store, FileKind.DIRECTORY, 0o755))


class MemoryDirectory:
    """A directory in memory."""

    __slots__ = ("_inode", "_store")

    def __init__(self, store: Store, inode: Inode) -> None:
        self._store = store
        self._inode = inode

    def status(self) -> FileStatus:
        with self._store.lock:
            return self._inode.status()

    def entries(self) -> list[DirectoryEntry]:
        with self._store.lock:
            return [
                DirectoryEntry(name, inode.kind, inode.number)
                for name, inode in self._inode.children.items()
            ]

    def change(self, change: StatusChange) -> None:
        with self._store.lock:
            self._inode.change(change)

    def synchronize(self) -> None:
        """Memory is as safe as it gets."""

    def held_again(self, readable: bool) -> MemoryDirectory:
        return MemoryDirectory(self._store, self._inode)

    def close(self) -> None:
        """Nothing is lent by the host."""

    def names_below(self, root: TreeDirectory) -> tuple[str, ...] | None:
        with self._store.lock:
            top = self._same_tree(root)._inode
            names: list[str] = []
            inode = self._inode
            while inode is not top:
                above = inode.parent
                if above is None:
                    return None
                names += [name for name, child in above.children.items() if child is inode]
                inode = above
            return tuple(reversed(names))

    def look(self, name: str) -> FileStatus:
        with self._store.lock:
            return self._existing(name).status()

    def enter(self, name: str) -> MemoryDirectory:
        with self._store.lock:
            inode = self._existing(name)
            if inode.kind is not FileKind.DIRECTORY:
                raise os_error(errno.ENOTDIR)
            return MemoryDirectory(self._store, inode)

    def read_link(self, name: str) -> str:
        with self._store.lock:
            inode = self._existing(name)
            if inode.kind is not FileKind.SYMBOLIC_LINK:
                raise os_error(errno.EINVAL)
            return inode.text

    def open(self, name: str, how: OpenRequest) -> OpenFile:
        mode = how.mode
        with self._store.lock:
            inode = self._inode.children.get(_checked(name))
            if inode is None:
                if OpenMode.CREATE not in mode:
                    raise os_error(errno.ENOENT)
                inode = self._add(name, FileKind.FILE, how.permissions)
            elif OpenMode.EXCLUSIVE in mode and OpenMode.CREATE in mode:
                raise os_error(errno.EEXIST)
            elif inode.kind is not FileKind.FILE:
                directory = inode.kind is FileKind.DIRECTORY
                raise os_error(errno.EISDIR if directory else errno.ELOOP)
            elif OpenMode.TRUNCATE in mode:
                inode.resize(0)
            return MemoryFile(inode, how)

    def hold(self, name: str, on_close: OnClose) -> OpenFile:
        with self._store.lock:
            inode = self._existing(name)
        return HeldFile(
            name,
            status=inode.status,
            read_link=lambda: inode.text,
            release=lambda: None,
            on_close=on_close,
        )

    def change_entry(self, name: str, change: StatusChange) -> None:
        with self._store.lock:
            inode = self._existing(name)
            if inode.kind is FileKind.SYMBOLIC_LINK and change.permissions is not None:
                raise os_error(errno.EOPNOTSUPP)
            inode.change(change)

    def create_directory(self, name: str, permissions: int) -> None:
        with self._store.lock:
            self._check_free(name)
            self._add(name, FileKind.DIRECTORY, permissions)

    def create_link(self, name: str, text: str) -> None:
        size = len(os.fsencode(text))
        with self._store.lock:
            self._check_free(name)
            self._store.charge(size)
            try:
                inode = self._add(name, FileKind.SYMBOLIC_LINK, 0o777)
            except OSError:
                self._store.release(size)
                raise
            inode.text = text

    def remove(self, name: str, directory: bool) -> None:
        with self._store.lock:
            inode = self._existing(name)
            if directory:
                if inode.kind is not FileKind.DIRECTORY:
                    raise os_error(errno.ENOTDIR)
                if inode.children:
                    raise os_error(errno.ENOTEMPTY)
            elif inode.kind is FileKind.DIRECTORY:
                raise os_error(errno.EISDIR)
            self._inode.detach(name)

    def link(self, name: str, target: TreeDirectory, target_name: str) -> None:
        other = self._same_tree(target)
        with self._store.lock:
            inode = self._existing(name)
            if inode.kind is FileKind.DIRECTORY:
                raise os_error(errno.EPERM)
            other._check_free(target_name)
            other._inode.attach(target_name, inode)

    def rename(self, name: str, target: TreeDirectory, target_name: str) -> None:
        other = self._same_tree(target)
        with self._store.lock:
            inode = self._existing(name)
            other._check_alive()
            replaced = other._inode.children.get(_checked(target_name))
            if replaced is inode:
                return  # rename(2): two names of one file, or the same name twice
            if inode.kind is FileKind.DIRECTORY and other._inode.is_within(inode):
                raise os_error(errno.EINVAL)
            if replaced is not None:
                if self._inode.is_within(replaced):  # of either kind: rename(2) asks this first
                    raise os_error(errno.ENOTEMPTY)
                _check_replaceable(inode, replaced)
            if len(os.fsencode(target_name)) - len(os.fsencode(name)) > self._store.room:
                raise os_error(errno.ENOSPC)
            if replaced is not None:
                other._inode.detach(target_name)
            self._inode.move(name, other._inode, target_name)

    def _existing(self, name: str) -> Inode:
        inode = self._inode.children.get(_checked(name))
        if inode is None:
            raise os_error(errno.ENOENT)
        return inode

    def _check_alive(self) -> None:
        if self._inode.links == 0:  # removed while somebody stood in it
            raise os_error(errno.ENOENT)

    def _check_free(self, name: str) -> None:
        self._check_alive()
        if _checked(name) in self._inode.children:
            raise os_error(errno.EEXIST)

    def _add(self, name: str, kind: FileKind, permissions: int) -> Inode:
        self._check_alive()
        inode = Inode(self._store, kind, permissions & _PERMISSIONS)
        self._inode.attach(name, inode)
        return inode

    def _same_tree(self, target: TreeDirectory) -> MemoryDirectory:
        if not isinstance(target, MemoryDirectory) or target._store is not self._store:
            raise os_error(errno.EXDEV)
        return target


def _checked(name: str) -> str:
    if len(name) > _LONGEST_NAME // 4 and len(os.fsencode(name)) > _LONGEST_NAME:
        raise os_error(errno.ENAMETOOLONG)
    return name


def _check_replaceable(inode: Inode, replaced: Inode) -> None:
    """Whether a rename may put one over the other (rename(2))."""
    if inode.kind is FileKind.DIRECTORY:
        if replaced.kind is not FileKind.DIRECTORY:
            raise os_error(errno.ENOTDIR)
        if replaced.children:
            raise os_error(errno.ENOTEMPTY)
    elif replaced.kind is FileKind.DIRECTORY:
        raise os_error(errno.EISDIR)
