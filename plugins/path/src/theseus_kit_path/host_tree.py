"""Directories of the host, each reached by a descriptor.

Every call names one component in the directory of a descriptor and refuses links (O_NOFOLLOW,
AT_SYMLINK_NOFOLLOW), so there is no moment between looking and going at which somebody could swap
a directory for a link. The host's kernel never follows one, and nothing is done by way of ``..``:
it is only looked up there where a directory is that was moved.

Set-user-ID, set-group-ID and sticky bits never reach the host: a file made by a guest must not
lend the rights of the host user who runs it.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from theseus_kit.values.paths import (
    DirectoryEntry,
    FileKind,
    FileStatus,
    OpenFile,
    OpenMode,
    StatusChange,
)
from theseus_kit_path.files import HeldFile, HostFile
from theseus_kit_path.host_errors import os_error
from theseus_kit_path.host_status import change_times, status_of

if TYPE_CHECKING:
    from theseus_kit_path.trees import OnClose, OpenRequest, TreeDirectory

_O_PATH: int = getattr(os, "O_PATH", os.O_RDONLY)
"""Asks for search permission only; hosts without it (macOS) ask for read permission as well."""

_WALK = _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOLD = _O_PATH | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ALWAYS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""O_NONBLOCK: should a FIFO take the file's place after the look, opening it must not hang."""

_PERMISSIONS = 0o777


class HostDirectory:
    """A host directory. Owns ``descriptor``."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> HostDirectory:
        """Open a directory by the host's own path, which must not end in a link."""
        return cls(os.open(path, _WALK))

    def status(self) -> FileStatus:
        return status_of(os.fstat(self.descriptor))

    def entries(self) -> list[DirectoryEntry]:
        # Opened anew: a descriptor that was listed before stands at the listing's end.
        descriptor = os.open(".", _LIST, dir_fd=self.descriptor)
        try:
            with os.scandir(descriptor) as scan:
                return [_entry(found) for found in scan]
        finally:
            os.close(descriptor)

    def change(self, change: StatusChange) -> None:
        if change.permissions is not None:
            os.chmod(".", change.permissions & _PERMISSIONS, dir_fd=self.descriptor)
        change_times(".", change, directory=self.descriptor)

    def synchronize(self) -> None:
        descriptor = os.open(".", _LIST, dir_fd=self.descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def held_again(self, readable: bool) -> HostDirectory:
        return HostDirectory(os.open(".", _LIST if readable else _WALK, dir_fd=self.descriptor))

    def close(self) -> None:
        """Give the descriptor back; closing twice is nothing."""
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)

    def look(self, name: str) -> FileStatus:
        return status_of(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False))

    def enter(self, name: str) -> HostDirectory:
        return HostDirectory(os.open(name, _WALK, dir_fd=self.descriptor))

    def names_below(self, root: TreeDirectory) -> tuple[str, ...] | None:
        """By climbing the host's ``..``, which is only read here: nothing is done on the way, and
        what the names lead to is walked as any other path."""
        top = _identity(os.fstat(_same_tree(root).descriptor))
        names: list[str] = []
        descriptor = os.open(".", _WALK, dir_fd=self.descriptor)
        try:
            here = _identity(os.fstat(descriptor))
            while here != top:
                above = os.open("..", _LIST, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = above
                found = _identity(os.fstat(descriptor))
                name = _name_of(descriptor, here) if found != here else None
                if name is None:  # removed, or the host's root
                    return None
                names.append(name)
                here = found
        except OSError:  # a directory on the way that may not be listed
            return None
        finally:
            os.close(descriptor)
        return tuple(reversed(names))

    def read_link(self, name: str) -> str:
        return os.readlink(name, dir_fd=self.descriptor)

    def open(self, name: str, how: OpenRequest) -> OpenFile:
        flags = _open_flags(how.mode) | _ALWAYS
        descriptor = os.open(name, flags, how.permissions & _PERMISSIONS, dir_fd=self.descriptor)
        try:
            kind = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(kind):
                raise os_error(errno.EISDIR if stat.S_ISDIR(kind) else errno.EACCES)
            os.set_blocking(descriptor, True)
        except BaseException:
            os.close(descriptor)
            raise
        return HostFile(descriptor, how)

    def hold(self, name: str, on_close: OnClose) -> OpenFile:
        descriptor = os.open(name, _HOLD, dir_fd=self.descriptor)
        return HeldFile(
            name,
            status=lambda: status_of(os.fstat(descriptor)),
            read_link=lambda: os.readlink("", dir_fd=descriptor),
            release=lambda: os.close(descriptor),
            on_close=on_close,
        )

    def change_entry(self, name: str, change: StatusChange) -> None:
        if change.permissions is not None:
            self._change_permissions(name, change.permissions & _PERMISSIONS)
        change_times(name, change, directory=self.descriptor)

    def _change_permissions(self, name: str, permissions: int) -> None:
        if not hasattr(os, "O_PATH"):
            os.chmod(name, permissions, dir_fd=self.descriptor, follow_symlinks=False)
            return
        # Linux before 6.6 has no fchmodat without following. What is held by O_PATH cannot be
        # swapped any more, and its name below /proc leads to it and nowhere else.
        descriptor = os.open(name, _HOLD, dir_fd=self.descriptor)
        try:
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise os_error(errno.EOPNOTSUPP)
            os.chmod(f"/proc/self/fd/{descriptor}", permissions)  # noqa: PTH101
        finally:
            os.close(descriptor)

    def create_directory(self, name: str, permissions: int) -> None:
        os.mkdir(name, permissions & _PERMISSIONS, dir_fd=self.descriptor)

    def create_link(self, name: str, text: str) -> None:
        os.symlink(text, name, dir_fd=self.descriptor)

    def remove(self, name: str, directory: bool) -> None:
        if directory:
            os.rmdir(name, dir_fd=self.descriptor)
        else:
            os.unlink(name, dir_fd=self.descriptor)

    def link(self, name: str, target: TreeDirectory, target_name: str) -> None:
        os.link(
            name,
            target_name,
            src_dir_fd=self.descriptor,
            dst_dir_fd=_same_tree(target).descriptor,
            follow_symlinks=False,
        )

    def rename(self, name: str, target: TreeDirectory, target_name: str) -> None:
        other = _same_tree(target).descriptor
        os.rename(name, target_name, src_dir_fd=self.descriptor, dst_dir_fd=other)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _name_of(directory: int, identity: tuple[int, int]) -> str | None:
    """The name of a directory in another. The entry of a mount point has the number of what the
    mount hides, so those of another number are looked at too, last."""
    with os.scandir(directory) as scan:
        entries = [entry for entry in scan if entry.is_dir(follow_symlinks=False)]
    for entry in sorted(entries, key=lambda entry: entry.inode() != identity[1]):
        status = os.stat(entry.name, dir_fd=directory, follow_symlinks=False)
        if _identity(status) == identity:
            return entry.name
    return None


def _same_tree(target: TreeDirectory) -> HostDirectory:
    if not isinstance(target, HostDirectory):
        raise os_error(errno.EXDEV)
    return target


def _open_flags(mode: OpenMode) -> int:
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
        try:
            kind = status_of(found.stat(follow_symlinks=False)).kind
        except FileNotFoundError:  # gone meanwhile: the scan only said that it was none of these
            kind = FileKind.OTHER
    return DirectoryEntry(found.name, kind, found.inode())
