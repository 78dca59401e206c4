"""The file namespace: what each path operation does with the last component of a path.

How the components before it are walked is ``walk.py``'s, and there the promise is kept that
nothing outside the mounts is reached; what the trees of files do is theirs. Relative paths start
at the root, or at the open directory they come with: a working directory is the C face's.

Only regular files and directories are opened. Devices, FIFOs and sockets can be seen, renamed
and removed, but opening one is EACCES, as on a file system mounted ``nodev``: it could block
the platform, or do to the host what no mount allows.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from theseus_kit.values.paths import (
    DirectoryEntry,
    FileKind,
    FileStatus,
    Location,
    MemoryMount,
    Mount,
    OpenFile,
    OpenMode,
    PathAt,
    StatusChange,
)
from theseus_kit_path.directories import Directory
from theseus_kit_path.files import HeldFile
from theseus_kit_path.host_errors import path_error
from theseus_kit_path.mounts import DirectoryMount, MountTable, Place, open_source
from theseus_kit_path.trees import OpenRequest
from theseus_kit_path.walk import MAX_LINKS, Walk, checked

_CHANGES = OpenMode.WRITE | OpenMode.TRUNCATE
"""Modes for which a file has to be writable. Appending alone is none: Linux checks what it adds to,
writing, and opens directories and files of read-only file systems with O_RDONLY | O_APPEND."""

_MEMORY_DEVICE = 0xFFF00
"""The device number of the first tree in memory: a major number that Linux gives to nobody."""


class Namespace:
    """Mounts, and operations on the paths below them.

    Every method raises PlatformError with the errno of the system call it is like. ``now`` is the
    clock of files in memory, in nanoseconds since the epoch.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._mounts = MountTable()
        self._memory_trees = 0
        self._open: set[OpenFile] = set()

    def mount(self, mount: Mount | MemoryMount) -> None:
        if isinstance(mount, MemoryMount):
            from theseus_kit_path.memory_tree import MemoryTree

            tree = MemoryTree(_MEMORY_DEVICE + self._memory_trees, mount.limit, self._now)
            self._memory_trees += 1
            self._mounts.add(mount.target, DirectoryMount(tree.root, writable=True))
        else:
            self._mounts.add(mount.target, open_source(mount))

    def unmount(self, target: str) -> None:
        self._mounts.remove(target)

    def close(self) -> None:
        """Close every file and every mount."""
        for file in list(self._open):
            file.close()
        self._mounts.close()

    def resolve(self, path: Location, follow: bool) -> str:
        """The absolute path without ``.``, ``..`` and links of what ``path`` names."""
        with self._walk(path) as walk:
            if isinstance(path, PathAt):
                walk.start_from_now()
            name, _ = self._find(walk, follow)
            names = walk.place.names if name is None else (*walk.place.names, walk.last)
            return "/" + "/".join(names)

    def status(self, path: Location, follow: bool) -> FileStatus:
        if isinstance(path, PathAt) and (found := _look_below(path, follow)) is not None:
            return found
        with self._walk(path) as walk:
            return self._find(walk, follow)[1]

    def change(self, path: Location, change: StatusChange, follow: bool) -> None:
        with self._walk(path) as walk:
            name, _ = self._find(walk, follow)
            _check_writable(walk)
            if name is None:
                walk.place.directory.change(change)
            else:
                walk.place.directory.change_entry(name, change)

    def list(self, path: Location) -> Sequence[DirectoryEntry]:
        with self._walk(path) as walk:
            if self._find(walk, follow=True)[0] is not None:
                raise path_error(errno.ENOTDIR, walk.text)
            return walk.place.entries()

    def open(self, path: Location, mode: OpenMode, permissions: int) -> OpenFile:
        links = 0 if OpenMode.NO_LINKS in mode else MAX_LINKS
        with self._walk(path, links=links) as walk:
            if OpenMode.CREATE in mode and OpenMode.DIRECTORY in mode:
                raise path_error(errno.EINVAL, walk.text)
            if OpenMode.PATH in mode:
                mode &= OpenMode.PATH | OpenMode.DIRECTORY | OpenMode.NO_FOLLOW
            while (name := walk.to_last()) is not None:
                if walk.needs_directory and OpenMode.CREATE in mode:
                    raise path_error(errno.EISDIR, walk.text)
                found = self._look(walk, name)
                if found is None:
                    return self._create(walk, name, mode, permissions)
                if found.kind is FileKind.SYMBOLIC_LINK and not _holds_link(walk, mode):
                    _check_link(walk, mode)
                    walk.follow(name)
                elif found.kind is FileKind.DIRECTORY and not walk.at_mount_point:
                    walk.enter(name)
                else:
                    return self._open_file(walk, name, found.kind, mode, permissions)
            return self._open_directory(walk, mode)

    def create_directory(self, path: Location, permissions: int) -> None:
        with self._walk(path) as walk:
            name = self._free_name(walk)
            walk.place.directory.create_directory(name, permissions)

    def create_link(self, path: Location, text: str) -> None:
        with self._walk(path) as walk:
            name = self._free_name(walk)
            if walk.needs_directory:  # symlink(2) has no name for "a link that is a directory"
                raise path_error(errno.ENOENT, walk.text)
            if not text:
                raise path_error(errno.ENOENT, walk.text)
            walk.place.directory.create_link(name, checked(text))

    def read_link(self, path: Location) -> str:
        if isinstance(path, PathAt) and not str(path):
            if not isinstance(path.directory, HeldFile):
                raise path_error(errno.ENOENT, "")
            return path.directory.read_link()
        with self._walk(path) as walk:
            name, found = self._find(walk, follow=False)
            if name is None or found.kind is not FileKind.SYMBOLIC_LINK:
                raise path_error(errno.EINVAL, walk.text)
            return walk.place.directory.read_link(name)

    def link(self, source: Location, target: Location, follow: bool) -> None:
        text = f"{source} -> {target}"
        with self._walk(source, text=text) as old, self._walk(target, text=text) as new:
            old_name, _ = self._find(old, follow)
            new_name = self._free_name(new)
            if new.needs_directory:
                raise path_error(errno.ENOENT, text)
            if old.place.mount is not new.place.mount:
                raise path_error(errno.EXDEV, text)
            if old_name is None:
                raise path_error(errno.EPERM, text)  # link(2): no second name for a directory
            old.place.directory.link(old_name, new.place.directory, new_name)

    def remove(self, path: Location, directory: bool) -> None:
        with self._walk(path) as walk:
            name = walk.to_last()
            if name is None or walk.at_mount_point:
                raise path_error(_no_name_to_remove(walk, name, directory), walk.text)
            found = self._look(walk, name)
            if found is None:
                raise path_error(errno.ENOENT, walk.text)
            is_directory = found.kind is FileKind.DIRECTORY
            if is_directory and not directory:
                raise path_error(errno.EISDIR, walk.text)
            if not is_directory and (directory or walk.needs_directory):
                raise path_error(errno.ENOTDIR, walk.text)
            _check_writable(walk)
            walk.place.directory.remove(name, directory)

    def rename(self, source: Location, target: Location) -> None:
        text = f"{source} -> {target}"
        with self._walk(source, text=text) as old, self._walk(target, text=text) as new:
            old_name, new_name = old.to_last(), new.to_last()
            # A mount point, the root, "." and "..": EBUSY for all of them, rename(2).
            if old_name is None or old.at_mount_point or new_name is None or new.at_mount_point:
                raise path_error(errno.EBUSY, text)
            if old.place.mount is not new.place.mount:
                raise path_error(errno.EXDEV, text)
            _check_writable(old)
            found = self._look(old, old_name)
            if found is None:
                raise path_error(errno.ENOENT, text)
            if found.kind is not FileKind.DIRECTORY and (
                old.needs_directory or new.needs_directory
            ):
                self._look(new, new_name)  # whose own errors come first
                raise path_error(errno.ENOTDIR, text)
            old.place.directory.rename(old_name, new.place.directory, new_name)

    def _walk(self, path: Location, *, links: int = MAX_LINKS, text: str = "") -> Walk:
        return Walk(self._mounts.root, path, links=links, text=text)

    def _look(self, walk: Walk, name: str) -> FileStatus | None:
        """What ``name`` is where the walk stands, None if there is none."""
        try:
            return walk.place.directory.look(name)
        except FileNotFoundError:
            return None

    def _find(self, walk: Walk, follow: bool) -> tuple[str | None, FileStatus]:
        """Walk to what exists: its name where the walk stands, None if it stands in it."""
        while (name := walk.to_last()) is not None:
            found = walk.place.directory.look(name)
            if found.kind is FileKind.SYMBOLIC_LINK:
                if follow or walk.needs_directory or walk.at_mount_point:
                    walk.follow(name)
                    continue
            elif found.kind is FileKind.DIRECTORY and not walk.at_mount_point:
                walk.enter(name)
                continue
            elif walk.needs_directory:
                raise path_error(errno.ENOTDIR, walk.text)
            return name, found
        return None, walk.place.directory.status()

    def _free_name(self, walk: Walk) -> str:
        """The name of an entry that is yet to be made. EEXIST if there is one."""
        name = walk.to_last()
        if name is None or walk.at_mount_point or self._look(walk, name) is not None:
            raise path_error(errno.EEXIST, walk.text)
        _check_writable(walk)
        return name

    def _create(self, walk: Walk, name: str, mode: OpenMode, permissions: int) -> OpenFile:
        if OpenMode.CREATE not in mode:
            raise path_error(errno.ENOENT, walk.text)
        _check_writable(walk)
        return self._open_regular(walk, name, mode, permissions)

    def _open_file(
        self, walk: Walk, name: str, kind: FileKind, mode: OpenMode, permissions: int
    ) -> OpenFile:
        if OpenMode.CREATE in mode and OpenMode.EXCLUSIVE in mode:
            raise path_error(errno.EEXIST, walk.text)
        if OpenMode.DIRECTORY in mode or walk.needs_directory:
            raise path_error(errno.ENOTDIR, walk.text)
        if OpenMode.PATH in mode:
            return self._opened(walk.place.directory.hold(name, self._open.discard))
        if kind is not FileKind.FILE:
            raise path_error(errno.EACCES, walk.text)
        if mode & _CHANGES:
            _check_writable(walk)
        return self._open_regular(walk, name, mode, permissions)

    def _open_regular(self, walk: Walk, name: str, mode: OpenMode, permissions: int) -> OpenFile:
        if not walk.place.writable:
            mode &= ~OpenMode.CREATE  # it was there a moment ago; were it not, nothing is made
        how = OpenRequest(walk.text, mode, permissions, walk.place.writable, self._open.discard)
        return self._opened(walk.place.directory.open(name, how))

    def _open_directory(self, walk: Walk, mode: OpenMode) -> OpenFile:
        if OpenMode.CREATE in mode:
            exclusive = OpenMode.EXCLUSIVE in mode
            raise path_error(errno.EEXIST if exclusive else errno.EISDIR, walk.text)
        if mode & _CHANGES:
            raise path_error(errno.EISDIR, walk.text)
        here = walk.place
        held = here.directory.held_again(readable=OpenMode.PATH not in mode)
        place = Place(held, here.node, here.mount, here.names)
        return self._opened(Directory(walk.text, place, mode, self._open.discard))

    def _opened(self, file: OpenFile) -> OpenFile:
        self._open.add(file)
        return file


def _look_below(path: PathAt, follow: bool) -> FileStatus | None:
    """The status of one name in an open directory, which is what whoever walks a tree asks of each
    entry; None where it takes a walk to tell: mounts, links that are followed, and all errors."""
    name, directory = str(path), path.directory
    if "/" in name or name in ("", ".", "..") or not isinstance(directory, Directory):
        return None
    place = directory.place
    if place.child(name) is not None:
        return None
    try:
        found = place.directory.look(name)
    except (OSError, ValueError):
        return None
    return None if follow and found.kind is FileKind.SYMBOLIC_LINK else found


def _check_writable(walk: Walk) -> None:
    """EROFS below a read-only mount, and for the directories of the mount table alone."""
    if not walk.place.writable:
        raise path_error(errno.EROFS, walk.text)


def _no_name_to_remove(walk: Walk, name: str | None, directory: bool) -> int:
    """Why what has no name of its own here cannot be removed: rmdir(2), unlink(2)."""
    if not directory:
        return errno.EISDIR if name is None else errno.EBUSY
    return {".": errno.EINVAL, "..": errno.ENOTEMPTY}.get(walk.last, errno.EBUSY)


def _holds_link(walk: Walk, mode: OpenMode) -> bool:
    """O_PATH with O_NOFOLLOW: a link is held itself."""
    wanted = OpenMode.PATH | OpenMode.NO_FOLLOW
    return mode & wanted == wanted and not walk.needs_directory


def _check_link(walk: Walk, mode: OpenMode) -> None:
    if OpenMode.CREATE in mode and OpenMode.EXCLUSIVE in mode:
        raise path_error(errno.EEXIST, walk.text)
    if OpenMode.NO_FOLLOW in mode and not walk.needs_directory:
        directory = OpenMode.DIRECTORY in mode
        raise path_error(errno.ENOTDIR if directory else errno.ELOOP, walk.text)
