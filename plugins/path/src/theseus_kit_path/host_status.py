"""The host's stat as the platform's, and the platform's changes of it as the host's."""

from __future__ import annotations

import os
import stat

from theseus_kit.values.paths import FileKind, FileStatus, StatusChange

_KINDS = {
    stat.S_IFREG: FileKind.FILE,
    stat.S_IFDIR: FileKind.DIRECTORY,
    stat.S_IFLNK: FileKind.SYMBOLIC_LINK,
    stat.S_IFCHR: FileKind.CHARACTER_DEVICE,
    stat.S_IFBLK: FileKind.BLOCK_DEVICE,
    stat.S_IFIFO: FileKind.PIPE,
    stat.S_IFSOCK: FileKind.SOCKET,
}


def status_of(result: os.stat_result) -> FileStatus:
    """The host's stat as the platform's."""
    return FileStatus(
        _KINDS.get(stat.S_IFMT(result.st_mode), FileKind.OTHER),
        result.st_size,
        result.st_ino,
        result.st_dev,
        result.st_nlink,
        stat.S_IMODE(result.st_mode),
        result.st_atime_ns,
        result.st_mtime_ns,
        result.st_ctime_ns,
        None,
        result.st_blocks,
    )


def change_times(file: str | int, change: StatusChange, directory: int | None = None) -> None:
    """Set times of a name in a directory, without following a link, or of a descriptor.

    A time that is to stay is set to what it was: Python's utime cannot leave one out.
    """
    if change.accessed is None and change.modified is None:
        return
    accessed, modified = change.accessed, change.modified
    follow = directory is None
    if accessed is None or modified is None:
        now = os.stat(file, dir_fd=directory, follow_symlinks=follow)
        accessed = now.st_atime_ns if accessed is None else accessed
        modified = now.st_mtime_ns if modified is None else modified
    os.utime(file, ns=(accessed, modified), dir_fd=directory, follow_symlinks=follow)
