"""The file namespace: what each path operation does with the last component of a path.

How the components before it are walked is ``walk.py``'s, and there the promise is kept that
nothing outside the mounts is reached. Relative paths start at the root: a working directory is
the C face's, which joins it to what it was given.

Only regular files and directories are opened. Devices, FIFOs and sockets can be seen, renamed
and removed, but opening one is EACCES, as on a file system mounted ``nodev``: it could block
the platform, or do to the host what no mount allows.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from theseus_kit.values.paths import DirectoryEntry, FileKind, FileStatus, Mount, OpenMode
from theseus_kit_path.files import Directory, HostFile, status_of
from theseus_kit_path.host_errors import host_errors, path_error
from theseus_kit_path.mounts import DirectoryMount, FileMount, MountNode, MountTable
from theseus_kit_path.walk import Walk

_ALWAYS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""O_NONBLOCK: should a FIFO take the file's place after the look, opening it must not hang."""

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_CHANGES = OpenMode.WRITE | OpenMode.TRUNCATE | OpenMode.APPEND


class Namespace:
    """Mounts, and operations on the paths below them. Paths are given as text.

    Every method raises PlatformError with the errno of the system call it is named after.
    """

    def __init__(self) -> None:
        self._mounts = MountTable()
        self._open: set[HostFile | Directory] = set()

    def mount(self, mount: Mount) -> None:
        self._mounts.add(mount)

    def unmount(self, target: str) -> None:
        self._mounts.remove(target)

    def close(self) -> None:
        """Close every file and every mount."""
        for file in list(self._open):
            file.close()
        self._mounts.close()

    def resolve(self, text: str, follow: bool) -> str:
        """The absolute path without ``.``, ``..`` and links of what ``text`` names."""
        with host_errors(text), self._walk(text) as walk:
            self._find(walk, follow)
            return "/" + "/".join(walk.names)

    def status(self, text: str, follow: bool) -> FileStatus:
        with host_errors(text), self._walk(text) as walk:
            return self._find(walk, follow)

    def list(self, text: str) -> Sequence[DirectoryEntry]:
        with host_errors(text), self._walk(text) as walk:
            if self._find(walk, follow=True).kind is not FileKind.DIRECTORY:
                raise path_error(errno.ENOTDIR, text)
            entries: dict[str, DirectoryEntry] = {}
            if walk.descriptor >= 0:
                descriptor = os.open(".", _LIST, dir_fd=walk.descriptor)
                try:
                    with os.scandir(descriptor) as scan:
                        for found in scan:
                            entries[found.name] = _entry(found)
                finally:
                    os.close(descriptor)
            if walk.node is not None:
                for name, node in walk.node.children.items():
                    entries[name] = _mount_entry(name, node)
            return [entries[name] for name in sorted(entries)]

    def open(self, text: str, mode: OpenMode, permissions: int) -> HostFile | Directory:
        with host_errors(text), self._walk(text) as walk:
            if OpenMode.CREATE in mode and OpenMode.DIRECTORY in mode:
                raise path_error(errno.EINVAL, text)
            while (name := walk.to_last()) is not None:
                kind = self._kind(walk, name)
                if kind is None:
                    return self._create(walk, name, mode, permissions)
                if stat.S_ISLNK(kind):
                    _check_link(walk, mode)
                    walk.follow(name)
                elif stat.S_ISDIR(kind) and not walk.at_mount_point:
                    walk.enter(name)
                else:
                    return self._open_file(walk, name, kind, mode, permissions)
            return self._open_directory(walk, mode)

    def create_directory(self, text: str, permissions: int) -> None:
        with host_errors(text), self._walk(text) as walk:
            name = walk.to_last()
            if name is None or walk.at_mount_point or self._kind(walk, name) is not None:
                raise path_error(errno.EEXIST, text)
            _check_writable(walk)
            os.mkdir(name, permissions, dir_fd=walk.descriptor)

    def remove(self, text: str) -> None:
        with host_errors(text), self._walk(text) as walk:
            name = self._changeable(walk)
            _check_writable(walk)
            kind = self._kind(walk, name)
            if kind is None:
                raise path_error(errno.ENOENT, text)
            if stat.S_ISDIR(kind):
                os.rmdir(name, dir_fd=walk.descriptor)
            elif walk.needs_directory:
                raise path_error(errno.ENOTDIR, text)
            else:
                os.unlink(name, dir_fd=walk.descriptor)

    def rename(self, source: str, target: str) -> None:
        text = f"{source} -> {target}"
        with host_errors(text), self._walk(source) as old, self._walk(target) as new:
            old_name = self._changeable(old)
            new_name = self._changeable(new)
            if old.mount is not new.mount:
                raise path_error(errno.EXDEV, text)
            _check_writable(old)
            kind = self._kind(old, old_name)
            if kind is None:
                raise path_error(errno.ENOENT, text)
            if not stat.S_ISDIR(kind) and (old.needs_directory or new.needs_directory):
                raise path_error(errno.ENOTDIR, text)
            os.rename(old_name, new_name, src_dir_fd=old.descriptor, dst_dir_fd=new.descriptor)

    def _walk(self, text: str) -> Walk:
        return Walk(self._mounts.root, text)

    def _kind(self, walk: Walk, name: str) -> int | None:
        """The mode of ``name`` in the directory where the walk stands, None if there is none."""
        if walk.descriptor < 0:
            return None
        try:
            return os.stat(name, dir_fd=walk.descriptor, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None

    def _find(self, walk: Walk, follow: bool) -> FileStatus:
        """Walk to what exists. If that is a directory and links are followed, stand in it."""
        while (name := walk.to_last()) is not None:
            if walk.descriptor < 0:
                raise path_error(errno.ENOENT, walk.text)
            found = os.stat(name, dir_fd=walk.descriptor, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                if follow or walk.needs_directory or walk.at_mount_point:
                    walk.follow(name)
                    continue
            elif stat.S_ISDIR(found.st_mode) and not walk.at_mount_point:
                walk.enter(name)
                continue
            elif walk.needs_directory:
                raise path_error(errno.ENOTDIR, walk.text)
            walk.names.append(walk.last)
            return status_of(found)
        return self._directory_status(walk)

    def _directory_status(self, walk: Walk) -> FileStatus:
        if walk.descriptor >= 0:
            return status_of(os.fstat(walk.descriptor))
        inode = walk.node.inode if walk.node is not None else 0
        return FileStatus(FileKind.DIRECTORY, 0, inode=inode, links=2, permissions=0o555)

    def _changeable(self, walk: Walk) -> str:
        """The name of an entry that may be renamed or removed: no mount point, root, ``..``."""
        name = walk.to_last()
        if name is None or walk.at_mount_point:
            # rmdir(2) and rename(2): EINVAL and ENOTEMPTY for rmdir of "." and "..", EBUSY for a
            # mount point; rename says EBUSY for all of them, and so does the namespace.
            raise path_error(errno.EBUSY, walk.text)
        return name

    def _create(
        self, walk: Walk, name: str, mode: OpenMode, permissions: int
    ) -> HostFile | Directory:
        if OpenMode.CREATE not in mode:
            raise path_error(errno.ENOENT, walk.text)
        if walk.needs_directory:
            raise path_error(errno.EISDIR, walk.text)
        _check_writable(walk)
        return self._open_regular(walk, name, mode, permissions)

    def _open_file(
        self, walk: Walk, name: str, kind: int, mode: OpenMode, permissions: int
    ) -> HostFile:
        if OpenMode.CREATE in mode and OpenMode.EXCLUSIVE in mode:
            raise path_error(errno.EEXIST, walk.text)
        if OpenMode.DIRECTORY in mode or walk.needs_directory:
            raise path_error(errno.ENOTDIR, walk.text)
        if not stat.S_ISREG(kind):
            raise path_error(errno.EACCES, walk.text)
        if mode & _CHANGES:
            _check_writable(walk)
        return self._open_regular(walk, name, mode, permissions)

    def _open_regular(self, walk: Walk, name: str, mode: OpenMode, permissions: int) -> HostFile:
        flags = _host_flags(mode)
        if not walk.writable:
            flags &= ~os.O_CREAT  # the file was there a moment ago; were it not, nothing is made
        descriptor = os.open(name, flags | _ALWAYS, permissions, dir_fd=walk.descriptor)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise path_error(errno.EACCES, walk.text)
            os.set_blocking(descriptor, True)
        except BaseException:
            os.close(descriptor)
            raise
        file = HostFile(descriptor, walk.text, self._open.discard)
        self._open.add(file)
        return file

    def _open_directory(self, walk: Walk, mode: OpenMode) -> Directory:
        if OpenMode.CREATE in mode:
            exclusive = OpenMode.EXCLUSIVE in mode
            raise path_error(errno.EEXIST if exclusive else errno.EISDIR, walk.text)
        if mode & _CHANGES:
            raise path_error(errno.EISDIR, walk.text)
        status = self._directory_status(walk)
        host = os.open(".", _LIST, dir_fd=walk.descriptor) if walk.descriptor >= 0 else -1
        directory = Directory(walk.text, host, status, self._open.discard)
        self._open.add(directory)
        return directory


def _check_writable(walk: Walk) -> None:
    """EROFS below a read-only mount, and for the directories of the mount table alone."""
    if not walk.writable or walk.descriptor < 0:
        raise path_error(errno.EROFS, walk.text)


def _check_link(walk: Walk, mode: OpenMode) -> None:
    if OpenMode.CREATE in mode and OpenMode.EXCLUSIVE in mode:
        raise path_error(errno.EEXIST, walk.text)
    if OpenMode.NO_FOLLOW in mode and not walk.needs_directory:
        directory = OpenMode.DIRECTORY in mode
        raise path_error(errno.ENOTDIR if directory else errno.ELOOP, walk.text)


def _host_flags(mode: OpenMode) -> int:
    if OpenMode.WRITE in mode:
        flags = os.O_RDWR if OpenMode.READ in mode else os.O_WRONLY
    else:
        flags = os.O_RDONLY
    for ours, host in (
        (OpenMode.CREATE, os.O_CREAT),
        (OpenMode.EXCLUSIVE, os.O_EXCL),
        (OpenMode.TRUNCATE, os.O_TRUNC),
        (OpenMode.APPEND, os.O_APPEND),
    ):
        if ours in mode:
            flags |= host
    return flags


def _entry(found: os.DirEntry[str]) -> DirectoryEntry:
    if found.is_symlink():
        kind = FileKind.SYMBOLIC_LINK
    elif found.is_dir(follow_symlinks=False):
        kind = FileKind.DIRECTORY
    elif found.is_file(follow_symlinks=False):
        kind = FileKind.FILE
    else:
        kind = FileKind.OTHER
    return DirectoryEntry(found.name, kind, found.inode())


def _mount_entry(name: str, node: MountNode) -> DirectoryEntry:
    mount = node.mount
    if isinstance(mount, FileMount):
        try:
            found = os.stat(mount.name, dir_fd=mount.descriptor, follow_symlinks=False)
        except FileNotFoundError:  # the host removed it; the mount point is still there
            return DirectoryEntry(name, FileKind.FILE)
        return DirectoryEntry(name, FileKind.FILE, found.st_ino)
    inode = os.fstat(mount.descriptor).st_ino if isinstance(mount, DirectoryMount) else node.inode
    return DirectoryEntry(name, FileKind.DIRECTORY, inode)
