"""sys/stat.h: what files are told to be, their permissions and times, and making directories.

The layouts are those of x86-64 Linux: ``struct stat`` (144 bytes) and ``struct statx`` (256).
"""

from __future__ import annotations

import errno
from struct import Struct

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import FileKind, FileStatus, StatusChange
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.locations import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_SYMLINK_NOFOLLOW,
    PERMISSIONS,
    check_flags,
)

_TYPES = {
    FileKind.FILE: 0o100000,
    FileKind.DIRECTORY: 0o040000,
    FileKind.SYMBOLIC_LINK: 0o120000,
    FileKind.CHARACTER_DEVICE: 0o020000,
    FileKind.BLOCK_DEVICE: 0o060000,
    FileKind.PIPE: 0o010000,
    FileKind.SOCKET: 0o140000,
    FileKind.OTHER: 0,
}
_S_IFMT = 0o170000
BLOCK_SIZE = 4096
# struct stat: dev ino nlink | mode uid gid pad | rdev size blksize blocks | 3 timespecs
_STAT = Struct("<QQQIIIIQqqq6q24x")
# struct statx: mask blksize attributes | nlink uid gid mode pad | ino size blocks attributes_mask |
# 4 times of seconds, nanoseconds, pad | rdev and dev as major and minor | mnt_id …
_STATX = Struct("<IIQIIIH2xQQQQqI4xqI4xqI4xqI4xIIII112x")
_BASIC_STATS, _BTIME, _RESERVED = 0x7FF, 0x800, 0x80000000
_SYNC_TYPE = 0x6000
_STATX_FLAGS = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW | _SYNC_TYPE
_STAT_FLAGS = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW

_TIMES = Struct("<qqqq")
_MICRO = 1_000_000
_NANO = 1_000_000_000
UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE


class Bodies(DeferredBodies):
    """The functions of sys/stat.h and sys/sysmacros.h."""

    def stat(self, pathname: int, statbuf: int) -> int:
        return self.fstatat(AT_FDCWD, pathname, statbuf, 0)

    def lstat(self, pathname: int, statbuf: int) -> int:
        return self.fstatat(AT_FDCWD, pathname, statbuf, AT_SYMLINK_NOFOLLOW)

    def fstat(self, fd: int, statbuf: int) -> int:
        self.library.memory.write(statbuf, packed(self.library.files.open_file(fd).status()))
        return 0

    def fstatat(self, dirfd: int, pathname: int, statbuf: int, flags: int) -> int:
        check_flags("fstatat", flags, _STAT_FLAGS)
        status = self.library.locations.status(dirfd, pathname, flags)
        self.library.memory.write(statbuf, packed(status))
        return 0

    def statx(self, dirfd: int, pathname: int, flags: int, mask: int, statxbuf: int) -> int:
        """All there is, whatever is asked for; the time of birth where it is known."""
        check_flags("statx", flags, _STATX_FLAGS)
        if mask & _RESERVED or flags & _SYNC_TYPE == _SYNC_TYPE:
            raise InvalidParameterError(f"statx: {flags=:#x} {mask=:#x}")
        status = self.library.locations.status(dirfd, pathname, flags)
        self.library.memory.write(statxbuf, packed_statx(status))
        return 0

    # What programs of glibc before 2.33 call instead, with a version of struct stat in front.

    def fxstat(self, ver: int, fd: int, statbuf: int) -> int:
        return self.fstat(fd, statbuf)

    def xstat(self, ver: int, pathname: int, statbuf: int) -> int:
        return self.stat(pathname, statbuf)

    def lxstat(self, ver: int, pathname: int, statbuf: int) -> int:
        return self.lstat(pathname, statbuf)

    def fxstatat(self, ver: int, dirfd: int, pathname: int, statbuf: int, flags: int) -> int:
        return self.fstatat(dirfd, pathname, statbuf, flags)

    def mkdir(self, pathname: int, mode: int) -> int:
        return self.mkdirat(AT_FDCWD, pathname, mode)

    def mkdirat(self, dirfd: int, pathname: int, mode: int) -> int:
        locations = self.library.locations
        self.library.hooks.path_create_directory(
            path=locations.at(dirfd, pathname), permissions=locations.permissions(mode)
        )
        return 0

    def mknodat(self, dirfd: int, pathname: int, mode: int, dev: int) -> int:
        """A path hook makes files and directories; what else there is a guest may not make."""
        path = self.library.locations.at(dirfd, pathname)
        kind = mode & _S_IFMT
        if kind == _TYPES[FileKind.DIRECTORY]:
            raise PlatformError("mknod of a directory", errno.EPERM)
        if kind not in (0, *_TYPES.values()) or kind == _TYPES[FileKind.SYMBOLIC_LINK]:
            raise InvalidParameterError(f"mknod of type {kind:#o}")
        if kind not in (0, _TYPES[FileKind.FILE]):
            raise PlatformError("mknod of what is no file", errno.EPERM)
        from theseus_kit.values.paths import OpenMode

        mode_of = OpenMode.WRITE | OpenMode.CREATE | OpenMode.EXCLUSIVE
        permissions = self.library.locations.permissions(mode)
        self.library.hooks.path_open(path=path, mode=mode_of, permissions=permissions).close()
        return 0

    def umask(self, mask: int) -> int:
        locations = self.library.locations
        before, locations.umask = locations.umask, mask & 0o777
        return before

    def chmod(self, pathname: int, mode: int) -> int:
        return self.fchmodat(AT_FDCWD, pathname, mode, 0)

    def fchmod(self, fd: int, mode: int) -> int:
        self.library.files.usable(fd).change(StatusChange(permissions=mode & PERMISSIONS))
        return 0

    def fchmodat(self, dirfd: int, pathname: int, mode: int, flags: int) -> int:
        check_flags("fchmodat", flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
        self._change(dirfd, pathname, flags, StatusChange(permissions=mode & PERMISSIONS))
        return 0

    def raw_fchmodat(self, dirfd: int, pathname: int, mode: int) -> int:
        """The system call has no flags: fchmodat2 (452) has."""
        return self.fchmodat(dirfd, pathname, mode, 0)

    def raw_fchmodat2(self, dirfd: int, pathname: int, mode: int, flags: int) -> int:
        return self.fchmodat(dirfd, pathname, mode, flags)

    def futimens(self, fd: int, times: int) -> int:
        change = self._times(times)
        if change != StatusChange():
            self.library.files.usable(fd).change(change)
        else:
            self.library.files.usable(fd)
        return 0

    def utimensat(self, dirfd: int, pathname: int, times: int, flags: int) -> int:
        """The system call takes a null path for the descriptor itself, as futimens uses it."""
        change = self._times(times)
        if not pathname and dirfd != AT_FDCWD:
            if flags:
                raise InvalidParameterError("utimensat: flags without a path")
            return self.futimens(dirfd, times)
        check_flags("utimensat", flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
        if change == StatusChange():  # both UTIME_OMIT: not even the path is looked at
            return 0
        self._change(dirfd, pathname, flags, change)
        return 0

    def utimes(self, filename: int, times: int) -> int:
        change = self._now()
        if times:
            s0, us0, s1, us1 = _TIMES.unpack(self.library.memory.read(times, _TIMES.size))
            if not (0 <= us0 < _MICRO and 0 <= us1 < _MICRO):
                raise InvalidParameterError(f"utimes: {us0} and {us1} microseconds")
            change = StatusChange(None, s0 * _NANO + us0 * 1000, s1 * _NANO + us1 * 1000)
        self._change(AT_FDCWD, filename, 0, change)
        return 0

    def _change(self, dirfd: int, pathname: int, flags: int, change: StatusChange) -> None:
        library = self.library
        text = library.locations.text(pathname)
        if not text and flags & AT_EMPTY_PATH:
            library.locations.itself(dirfd).change(change)
            return
        path = library.locations.of_text(dirfd, text)
        follow = not flags & AT_SYMLINK_NOFOLLOW
        library.hooks.path_change(path=path, change=change, follow=follow)

    def _now(self) -> StatusChange:
        now = self.library.now()
        return StatusChange(None, now, now)

    def _times(self, address: int) -> StatusChange:
        """What two timespecs ask for; null is now. Raises EINVAL, EFAULT."""
        if not address:
            return self._now()
        raw = _TIMES.unpack(self.library.memory.read(address, _TIMES.size))
        return StatusChange(None, self._time(*raw[:2]), self._time(*raw[2:]))

    def _time(self, seconds: int, nanoseconds: int) -> int | None:
        if nanoseconds == UTIME_OMIT:
            return None
        if nanoseconds == UTIME_NOW:
            return self.library.now()
        if not 0 <= nanoseconds < _NANO:
            raise InvalidParameterError(f"{nanoseconds} nanoseconds")
        return seconds * _NANO + nanoseconds

    def gnu_dev_major(self, dev: int) -> int:
        return _major(dev)

    def gnu_dev_minor(self, dev: int) -> int:
        return _minor(dev)

    def gnu_dev_makedev(self, major: int, minor: int) -> int:
        return minor & 0xFF | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


def mode_of(status: FileStatus) -> int:
    """st_mode: the type and the permissions."""
    return _TYPES[status.kind] | status.permissions & PERMISSIONS


def packed(status: FileStatus) -> bytes:
    """A file's status as struct stat."""
    return _STAT.pack(
        status.device,
        status.inode,
        status.links,
        mode_of(status),
        *(0, 0, 0, 0),
        status.size,
        BLOCK_SIZE,
        _blocks(status),
        *divmod(status.accessed, _NANO),
        *divmod(status.modified, _NANO),
        *divmod(status.changed, _NANO),
    )


def packed_statx(status: FileStatus) -> bytes:
    """A file's status as struct statx."""
    # Taken apart at once: walking a tree asks for one of these for every entry.
    kind, size, inode, device, links, permissions, accessed, modified, changed, created, _ = status
    accessed_seconds, accessed_rest = divmod(accessed, _NANO)
    modified_seconds, modified_rest = divmod(modified, _NANO)
    changed_seconds, changed_rest = divmod(changed, _NANO)
    created_seconds, created_rest = (0, 0) if created is None else divmod(created, _NANO)
    return _STATX.pack(
        _BASIC_STATS if created is None else _BASIC_STATS | _BTIME,
        BLOCK_SIZE,
        0,
        links,
        0,
        0,
        _TYPES[kind] | permissions & PERMISSIONS,
        inode,
        size,
        _blocks(status),
        0,
        accessed_seconds,
        accessed_rest,
        created_seconds,
        created_rest,
        changed_seconds,
        changed_rest,
        modified_seconds,
        modified_rest,
        0,
        0,
        _major(device),
        _minor(device),
    )


def _blocks(status: FileStatus) -> int:
    return -(-status.size // 512) if status.blocks is None else status.blocks


def _major(device: int) -> int:
    """The major number of a device, as gnu_dev_major."""
    return device >> 8 & 0xFFF | device >> 32 & 0xFFFFF000


def _minor(device: int) -> int:
    return device & 0xFF | device >> 12 & 0xFFFFFF00
