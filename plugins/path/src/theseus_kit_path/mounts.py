"""The mount table: which tree of files stands at which path of the namespace.

    Mount(source="/home/me/data", target="/srv/data"), Mount(source="m.wasm", target="/srv/m.wasm"),
    MemoryMount(target="/tmp")

    /               a directory of the table alone
    ├── srv         a directory of the table alone
    │   ├── data    DirectoryMount: the host directory /home/me/data
    │   └── m.wasm  FileMount: the directory of m.wasm, and the name in it
    └── tmp         DirectoryMount: the root of a tree in memory

Host directories are opened when they are mounted and reached through that descriptor ever after,
so renaming or replacing what the host's path leads through changes nothing. Walking the table and
the trees together is ``walk.py``'s.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path as HostPath
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import DirectoryEntry, FileKind, Mount
from theseus_kit_path.host_errors import host_errors, path_error
from theseus_kit_path.host_tree import HostDirectory
from theseus_kit_path.table_directory import TableDirectory

if TYPE_CHECKING:
    from theseus_kit_path.trees import TreeDirectory


class DirectoryMount:
    """A directory of some tree in the namespace. Owns ``directory``."""

    __slots__ = ("directory", "writable")

    def __init__(self, directory: TreeDirectory, writable: bool) -> None:
        self.directory = directory
        self.writable = writable


class FileMount:
    """A single host file in the namespace: ``name`` in ``directory``.

    It is opened anew each time, without following a link, so a file that was replaced is seen
    replaced and a link put in its place leads nowhere. Owns ``directory``.
    """

    __slots__ = ("directory", "name", "writable")

    def __init__(self, directory: TreeDirectory, name: str, writable: bool) -> None:
        self.directory = directory
        self.name = name
        self.writable = writable


AnyMount = DirectoryMount | FileMount


class MountNode:
    """A path of the namespace that is a mount point, or leads to one."""

    __slots__ = ("children", "mount", "table")

    def __init__(self, inode: int) -> None:
        self.table = TableDirectory(inode)
        """What stands here where no tree does."""
        self.children: dict[str, MountNode] = {}
        self.mount: AnyMount | None = None


class Place:
    """A directory of the namespace: what stands there, and how it was come by."""

    __slots__ = ("directory", "mount", "names", "node")

    def __init__(
        self,
        directory: TreeDirectory,
        node: MountNode | None,
        mount: AnyMount | None,
        names: tuple[str, ...],
    ) -> None:
        self.directory = directory
        self.node = node
        """None below the mount table's own paths."""
        self.mount = mount
        """None above every mount."""
        self.names = names
        """Its resolved path, from the root."""

    @property
    def writable(self) -> bool:
        return self.mount is not None and self.mount.writable

    def child(self, name: str) -> MountNode | None:
        """What the mount table has of this name here."""
        return self.node.children.get(name) if self.node is not None else None

    def entries(self) -> list[DirectoryEntry]:
        """The directory's entries with the mounts among them, sorted. Raises OSError."""
        entries = {entry.name: entry for entry in self.directory.entries()}
        if self.node is not None:
            for name, node in self.node.children.items():
                entries[name] = _mount_entry(name, node)
        return [entries[name] for name in sorted(entries)]


def root_place(root: MountNode) -> Place:
    """The namespace's root."""
    directory = root.mount.directory if root.mount is not None else root.table
    return Place(directory, root, root.mount, ())


class MountTable:
    """The tree of mount points."""

    def __init__(self) -> None:
        self._inodes = 1
        self.root = MountNode(1)

    def add(self, target: str, opened: AnyMount) -> None:
        """Put a mount at its target, and own it from now on; where that fails it is closed.

        Raises PlatformError: EEXIST if the target is a mount point already, ENOTDIR if a file
        would have to be a directory, EINVAL if the target is not an absolute path without ``..``.
        """
        try:
            self._place(_target_names(target), opened, target)
        except PlatformError:
            opened.directory.close()
            raise

    def _place(self, names: tuple[str, ...], opened: AnyMount, target: str) -> None:
        # First look, then grow: a refused mount leaves no half-made branch behind.
        node: MountNode | None = self.root
        for name in names:
            if node is None:
                break
            if isinstance(node.mount, FileMount):
                raise path_error(errno.ENOTDIR, target)
            node = node.children.get(name)
        if node is not None and node.mount is not None:
            raise path_error(errno.EEXIST, target)
        if isinstance(opened, FileMount) and (not names or (node and node.children)):
            raise path_error(errno.ENOTDIR, target)
        node = self.root
        for name in names:
            child = node.children.get(name)
            if child is None:
                self._inodes += 1
                child = node.children[name] = MountNode(self._inodes)
            node = child
        node.mount = opened

    def remove(self, target: str) -> None:
        """Take the mount at ``target`` away; mounts below it stay. ENOENT if none is there."""
        names = _target_names(target)
        branch = [self.root]
        for name in names:
            child = branch[-1].children.get(name)
            if child is None:
                raise path_error(errno.ENOENT, target)
            branch.append(child)
        mount = branch[-1].mount
        if mount is None:
            raise path_error(errno.ENOENT, target)
        branch[-1].mount = None
        mount.directory.close()
        for depth in range(len(names), 0, -1):
            node = branch[depth]
            if node.mount is not None or node.children:
                break
            del branch[depth - 1].children[names[depth - 1]]

    def close(self) -> None:
        """Close every mount and forget the tree."""
        nodes = [self.root]
        while nodes:
            node = nodes.pop()
            nodes.extend(node.children.values())
            if node.mount is not None:
                node.mount.directory.close()
        self.root = MountNode(1)


def open_source(mount: Mount) -> AnyMount:
    """Open what a host mount shows.

    Raises PlatformError: EINVAL if the source is neither a file nor a directory, and the host's
    errno if it cannot be opened.
    """
    # Links on the way to the source are the host user's own and are followed, once, here.
    source = HostPath(os.path.realpath(mount.source))
    with host_errors(str(mount.source)):
        kind = source.lstat().st_mode
        if stat.S_ISDIR(kind):
            return DirectoryMount(HostDirectory.at(source), mount.writable)
        if stat.S_ISREG(kind):
            return FileMount(HostDirectory.at(source.parent), source.name, mount.writable)
    raise InvalidParameterError(f"{mount.source}: only files and directories can be mounted")


def _target_names(target: str) -> tuple[str, ...]:
    names = tuple(name for name in target.split("/") if name not in ("", "."))
    if not target.startswith("/") or ".." in names or "\0" in target:
        raise InvalidParameterError(
            f"mount target {target!r}: give an absolute path without '..', such as /data"
        )
    return names


def _mount_entry(name: str, node: MountNode) -> DirectoryEntry:
    mount = node.mount
    if isinstance(mount, FileMount):
        try:
            return DirectoryEntry(name, FileKind.FILE, mount.directory.look(mount.name).inode)
        except FileNotFoundError:  # the host removed it; the mount point is still there
            return DirectoryEntry(name, FileKind.FILE)
    directory = node.table if mount is None else mount.directory
    return DirectoryEntry(name, FileKind.DIRECTORY, directory.status().inode)
