"""The mount table: which host file or directory stands at which path of the namespace.

    Mount(source="/home/me/data", target="/srv/data"), Mount(source="m.wasm", target="/srv/m.wasm")

    /               a directory of the table alone
    └── srv         a directory of the table alone
        ├── data    DirectoryMount: descriptor of /home/me/data
        └── m.wasm  FileMount: descriptor of the directory of m.wasm, and the name in it

Host directories are opened when they are mounted and reached through that descriptor ever after,
so renaming or replacing what the host's path leads through changes nothing. Walking the table and
the host's files together is ``namespace.py``'s.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path as HostPath

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import Mount
from theseus_kit_path.host_errors import host_errors, path_error
from theseus_kit_path.posix_path import ROOT, Path

WALK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened to walk through it. O_PATH asks for search permission only; hosts
without it (macOS) ask for read permission as well."""


class DirectoryMount:
    """A host directory in the namespace. Owns ``descriptor``."""

    __slots__ = ("descriptor", "writable")

    def __init__(self, descriptor: int, writable: bool) -> None:
        self.descriptor = descriptor
        self.writable = writable

    def close(self) -> None:
        os.close(self.descriptor)


class FileMount:
    """A single host file in the namespace: ``name`` in the directory of ``descriptor``.

    It is opened anew each time, without following a link, so a file that was replaced is seen
    replaced and a link put in its place leads nowhere. Owns ``descriptor``.
    """

    __slots__ = ("descriptor", "name", "writable")

    def __init__(self, descriptor: int, name: str, writable: bool) -> None:
        self.descriptor = descriptor
        self.name = name
        self.writable = writable

    def close(self) -> None:
        os.close(self.descriptor)


class MountNode:
    """A path of the namespace that is a mount point, or leads to one."""

    __slots__ = ("children", "inode", "mount")

    def __init__(self, inode: int) -> None:
        self.inode = inode
        """What stat shows for a directory that no host directory stands behind."""
        self.children: dict[str, MountNode] = {}
        self.mount: DirectoryMount | FileMount | None = None


class MountTable:
    """The tree of mount points."""

    def __init__(self) -> None:
        self._inodes = 1
        self.root = MountNode(1)

    def add(self, mount: Mount) -> None:
        """Open a mount's source and put it at its target.

        Raises PlatformError: EEXIST if the target is a mount point already, ENOTDIR if a file
        would have to be a directory, EINVAL if the target is not an absolute path without ``..``
        or the source is neither a file nor a directory, and the host's errno if the source
        cannot be opened.
        """
        names = _target_names(mount.target)
        opened = _open_source(mount)
        try:
            self._place(names, opened, mount.target)
        except PlatformError:
            opened.close()
            raise

    def _place(
        self, names: tuple[str, ...], opened: DirectoryMount | FileMount, target: str
    ) -> None:
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
        mount.close()
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
                node.mount.close()
        self.root = MountNode(1)


def _target_names(target: str) -> tuple[str, ...]:
    components = Path(target).components
    if components[:1] != (ROOT,) or ".." in components or "\0" in target:
        raise InvalidParameterError(
            f"mount target {target!r}: give an absolute path without '..', such as /data"
        )
    return components[1:]


def _open_source(mount: Mount) -> DirectoryMount | FileMount:
    # Links on the way to the source are the host user's own and are followed, once, here.
    source = HostPath(os.path.realpath(mount.source))
    with host_errors(str(mount.source)):
        kind = source.lstat().st_mode
        if stat.S_ISDIR(kind):
            return DirectoryMount(os.open(source, WALK), mount.writable)
        if stat.S_ISREG(kind):
            return FileMount(os.open(source.parent, WALK), source.name, mount.writable)
    raise InvalidParameterError(f"{mount.source}: only files and directories can be mounted")
