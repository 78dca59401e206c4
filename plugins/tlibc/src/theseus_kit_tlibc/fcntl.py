"""fcntl.h and sys/stat.h: opening files and asking what they are, through the path hooks."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.values.paths import FileKind, FileStatus, OpenMode, PathAt
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function

if TYPE_CHECKING:
    from theseus_kit.values.paths import Location

O_ACCMODE, O_RDONLY, O_WRONLY, O_RDWR = 3, 0, 1, 2
AT_FDCWD = -100
_MODES = {
    0o100: OpenMode.CREATE,
    0o200: OpenMode.EXCLUSIVE,
    0o1000: OpenMode.TRUNCATE,
    0o2000: OpenMode.APPEND,
    0o200000: OpenMode.DIRECTORY,
    0o400000: OpenMode.NO_FOLLOW,
    0o10000000: OpenMode.PATH,
}
_KINDS = {
    FileKind.FILE: 0o100000,
    FileKind.DIRECTORY: 0o040000,
    FileKind.SYMBOLIC_LINK: 0o120000,
    FileKind.OTHER: 0o020000,
}
_BLOCK = 4096
# struct stat of x86-64: dev ino nlink | mode uid gid pad | rdev size blksize blocks | 3 timespecs
_STAT = Struct("<QQQIIIIQqqq6q24x")
_NANOSECONDS = 1_000_000_000


class Fcntl(Header):
    header: ClassVar[str] = "fcntl.h"

    @c_function(
        "int open(const char *pathname, int flags, mode_t mode)",
        system_call=2,
        aliases=("open64",),
        on_error=MINUS_ONE,
    )
    def open(self, pathname: int, flags: int, mode: int) -> int:
        """``mode`` is C's optional argument; it counts only where a file is created."""
        return self.openat(AT_FDCWD, pathname, flags, mode)

    @c_function(
        "int openat(int dirfd, const char *pathname, int flags, mode_t mode)",
        system_call=257,
        aliases=("openat64",),
        on_error=MINUS_ONE,
    )
    def openat(self, dirfd: int, pathname: int, flags: int, mode: int) -> int:
        access = flags & O_ACCMODE
        wanted = OpenMode.READ if access in (O_RDONLY, O_RDWR) else OpenMode(0)
        if access in (O_WRONLY, O_RDWR):
            wanted |= OpenMode.WRITE
        for bit, extra in _MODES.items():
            if flags & bit:
                wanted |= extra
        path = self._location(dirfd, pathname)
        file = self.library.hooks.path_open(path=path, mode=wanted, permissions=mode & 0o7777)
        return self.library.files.add(file)

    @c_function(
        "int fstat(int fd, struct stat *statbuf)",
        system_call=5,
        aliases=("fstat64",),
        on_error=MINUS_ONE,
    )
    def fstat(self, fd: int, statbuf: int) -> int:
        self.library.memory.write(statbuf, packed(self.library.files.open_file(fd).status()))
        return 0

    @c_function(
        "int stat(const char *pathname, struct stat *statbuf)",
        system_call=4,
        aliases=("stat64",),
        on_error=MINUS_ONE,
    )
    def stat(self, pathname: int, statbuf: int) -> int:
        return self._stat(pathname, statbuf, follow=True)

    @c_function(
        "int lstat(const char *pathname, struct stat *statbuf)",
        system_call=6,
        aliases=("lstat64",),
        on_error=MINUS_ONE,
    )
    def lstat(self, pathname: int, statbuf: int) -> int:
        return self._stat(pathname, statbuf, follow=False)

    @c_function("int mkdir(const char *pathname, mode_t mode)", system_call=83, on_error=MINUS_ONE)
    def mkdir(self, pathname: int, mode: int) -> int:
        path = self.library.path(pathname)
        self.library.hooks.path_create_directory(path=path, permissions=mode & 0o7777)
        return 0

    @c_function(
        "int rename(const char *oldpath, const char *newpath)", system_call=82, on_error=MINUS_ONE
    )
    def rename(self, oldpath: int, newpath: int) -> int:
        source, target = self.library.path(oldpath), self.library.path(newpath)
        self.library.hooks.path_rename(source=source, target=target)
        return 0

    @c_function("int __fxstat64(int ver, int fd, struct stat *statbuf)", on_error=MINUS_ONE)
    def fxstat64(self, ver: int, fd: int, statbuf: int) -> int:
        return self.fstat(fd, statbuf)

    @c_function(
        "int __xstat64(int ver, const char *pathname, struct stat *statbuf)", on_error=MINUS_ONE
    )
    def xstat64(self, ver: int, pathname: int, statbuf: int) -> int:
        return self.stat(pathname, statbuf)

    @c_function(
        "int __lxstat64(int ver, const char *pathname, struct stat *statbuf)", on_error=MINUS_ONE
    )
    def lxstat64(self, ver: int, pathname: int, statbuf: int) -> int:
        return self.lstat(pathname, statbuf)

    def _location(self, dirfd: int, pathname: int) -> Location:
        """Where a path of the *at functions goes: a relative one starts at an open directory."""
        path = self.library.path(pathname)
        if dirfd == AT_FDCWD or self.library.memory.read(pathname, 1) == b"/":
            return path
        text = self.library.memory.read_string(pathname).decode("utf-8", "surrogateescape")
        directory = self.library.files.open_file(dirfd)
        return PathAt(directory, self.library.hooks.path_parse(text=text))

    def _stat(self, pathname: int, statbuf: int, follow: bool) -> int:
        path = self.library.path(pathname)
        status = self.library.hooks.path_status(path=path, follow=follow)
        self.library.memory.write(statbuf, packed(status))
        return 0


def packed(status: FileStatus) -> bytes:
    """A file's status as x86-64 Linux's struct stat."""
    return _STAT.pack(
        status.device,
        status.inode,
        status.links,
        _KINDS[status.kind] | status.permissions & 0o7777,
        *(0, 0, 0, 0),
        status.size,
        _BLOCK,
        -(-status.size // 512),
        *divmod(status.accessed, _NANOSECONDS),
        *divmod(status.modified, _NANOSECONDS),
        *divmod(status.changed, _NANOSECONDS),
    )
