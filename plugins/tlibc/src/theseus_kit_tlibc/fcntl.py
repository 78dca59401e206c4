"""fcntl.h: opening files, and what fcntl(2) does to descriptors and descriptions.

Locks are kept in :mod:`.locks`, what files are told to be is :mod:`.sys_stat`'s.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import Bounds, FileKind, OpenMode
from theseus_kit_tlibc.declare import MINUS_ONE, RESULT, Header, c_function, system_call
from theseus_kit_tlibc.files import (
    O_APPEND,
    O_LARGEFILE,
    O_NONBLOCK,
    O_PATH,
    O_WRONLY,
)
from theseus_kit_tlibc.locations import AT_FDCWD, PERMISSIONS

if TYPE_CHECKING:
    from theseus_kit.values.paths import Location

O_ACCMODE, O_RDONLY = 0o3, 0
O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC = 0o100, 0o200, 0o400, 0o1000
O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC = 0o200000, 0o400000, 0o2000000
O_ASYNC, O_DIRECT, O_NOATIME, O_SYNC = 0o20000, 0o40000, 0o1000000, 0o4010000
O_TMPFILE = 0o20000000
_KNOWN = (
    O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_ASYNC
    | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE
)  # fmt: skip
_WITH_PATH = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
_AT_OPENING = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC
"""Flags that the description does not keep."""
_CHANGEABLE = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK
_NOTHING = OpenMode(0)
_MODES = {
    O_CREAT: OpenMode.CREATE,
    O_EXCL: OpenMode.EXCLUSIVE,
    O_TRUNC: OpenMode.TRUNCATE,
    O_APPEND: OpenMode.APPEND,
    O_DIRECTORY: OpenMode.DIRECTORY,
    O_NOFOLLOW: OpenMode.NO_FOLLOW,
    O_PATH: OpenMode.PATH,
}
_ACCESS = (
    OpenMode.READ,
    OpenMode.WRITE,
    OpenMode.READ | OpenMode.WRITE,
    OpenMode.READ | OpenMode.WRITE,  # 3: no access but ioctl(2)'s, after a check for both
)

# struct open_how of openat2(2): flags, mode, resolve
_OPEN_HOW = Struct("<QQQ")
_PAGE = 4096
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 0x02, 0x04
RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_CACHED = 0x08, 0x10, 0x20
_RESOLVE = (
    RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED
)

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL = range(5)
F_GETLK, F_SETLK, F_SETLKW, F_SETOWN, F_GETOWN = range(5, 10)
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS = 1030, 1032, 1033, 1034
FD_CLOEXEC = 1
_LOCK_COMMANDS = (F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW)

FALLOC_FL_KEEP_SIZE = 1
_ADVICE = range(6)


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
        "int creat(const char *pathname, mode_t mode)",
        system_call=85,
        aliases=("creat64",),
        on_error=MINUS_ONE,
    )
    def creat(self, pathname: int, mode: int) -> int:
        return self.openat(AT_FDCWD, pathname, O_CREAT | O_WRONLY | O_TRUNC, mode)

    @c_function(
        "int openat(int dirfd, const char *pathname, int flags, mode_t mode)",
        system_call=257,
        aliases=("openat64",),
        on_error=MINUS_ONE,
    )
    def openat(self, dirfd: int, pathname: int, flags: int, mode: int) -> int:
        flags &= _KNOWN  # open(2) ignores what it does not know
        if flags & O_PATH:
            flags &= _WITH_PATH
        else:
            flags |= O_LARGEFILE
        _check_combination(flags)
        path = self.library.locations.at(dirfd, pathname)
        return self.open_at(path, flags, mode)

    @c_function("int __open_2(const char *pathname, int flags)", on_error=MINUS_ONE)
    def open_2(self, pathname: int, flags: int) -> int:
        return self.openat(AT_FDCWD, pathname, flags, 0)

    @system_call(
        437, "long openat2(int dirfd, const char *pathname, struct open_how *how, size_t size)"
    )
    def openat2(self, dirfd: int, pathname: int, how: int, size: int) -> int:
        """Unlike open(2) it refuses what it does not know. RESOLVE_NO_XDEV is not known here.

        There are no magic links, so RESOLVE_NO_MAGICLINKS is always so. Raises EINVAL, E2BIG,
        EAGAIN (for RESOLVE_CACHED, which may always fail), and as open(2).
        """
        memory = self.library.memory
        if size < _OPEN_HOW.size:
            raise InvalidParameterError(f"openat2 with {size} bytes of open_how")
        if size > _PAGE or any(memory.read(how, size)[_OPEN_HOW.size :]):
            raise PlatformError("openat2: more than is known", errno.E2BIG)
        flags, mode, resolve = _OPEN_HOW.unpack(memory.read(how, _OPEN_HOW.size))
        bounded = resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)
        if (
            flags & ~_KNOWN
            or resolve & ~_RESOLVE
            or bounded == RESOLVE_BENEATH | RESOLVE_IN_ROOT
            or mode & ~PERMISSIONS
            or (mode and not flags & (O_CREAT | O_TMPFILE))
            or (flags & O_PATH and flags & ~_WITH_PATH)
        ):
            raise InvalidParameterError(f"openat2: {flags=:#o} {mode=:#o} {resolve=:#x}")
        _check_combination(flags)
        if resolve & RESOLVE_CACHED:
            raise PlatformError("openat2: nothing is cached", errno.EAGAIN)
        bounds = {RESOLVE_BENEATH: Bounds.BENEATH, RESOLVE_IN_ROOT: Bounds.ROOT}.get(
            bounded, Bounds.NAMESPACE
        )
        path = self.library.locations.at(dirfd, pathname, bounds)
        extra = OpenMode.NO_LINKS if resolve & RESOLVE_NO_SYMLINKS else _NOTHING
        return self.open_at(path, flags, mode, extra)

    def open_at(self, path: Location, flags: int, mode: int, extra: OpenMode = _NOTHING) -> int:
        """Open what is at a path and give it a descriptor; the half all open functions share."""
        files = self.library.files
        if flags & O_TMPFILE:
            raise PlatformError("O_TMPFILE: not in this file system", errno.EOPNOTSUPP)
        files.check_room()  # first, as Linux does it: EMFILE must not leave a file behind
        wanted = extra if flags & O_PATH else extra | _ACCESS[flags & O_ACCMODE]
        for bit, part in _MODES.items():
            if flags & bit:
                wanted |= part
        file = self.library.hooks.path_open(
            path=path, mode=wanted, permissions=self.library.locations.permissions(mode)
        )
        return files.add(file, flags & ~_AT_OPENING, close_on_exec=flags & O_CLOEXEC != 0)

    @c_function(
        "int fcntl(int fd, int cmd, unsigned long arg)",
        system_call=72,
        aliases=("fcntl64",),
        on_error=MINUS_ONE,
        blocks=True,
    )
    def fcntl(self, fd: int, cmd: int, arg: int) -> int:
        """``arg`` is C's optional argument. Raises EINVAL for a command that is not known."""
        files = self.library.files
        description = files.description(fd)
        if cmd in (F_DUPFD, F_DUPFD_CLOEXEC):
            lowest = (arg & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
            return files.duplicate(fd, lowest, close_on_exec=cmd == F_DUPFD_CLOEXEC)
        if cmd == F_GETFD:
            return FD_CLOEXEC if files.closes_on_exec(fd) else 0
        if cmd == F_SETFD:
            files.set_close_on_exec(fd, arg & FD_CLOEXEC != 0)
            return 0
        if cmd == F_GETFL:
            return description.flags
        if description.flags & O_PATH:
            raise PlatformError(f"descriptor {fd} only holds a file", errno.EBADF)
        if cmd == F_SETFL:
            append = arg & O_APPEND != 0
            if append != (description.flags & O_APPEND != 0):
                description.file.set_append(append)
            kept = description.flags & ~_CHANGEABLE
            files.set_flags(description, kept | arg & _CHANGEABLE)
            return 0
        if cmd in _LOCK_COMMANDS:
            return self.library.locks.command(description, cmd, arg)
        if cmd == F_GETOWN:
            return 0
        raise InvalidParameterError(f"fcntl command {cmd}")

    @c_function("int posix_fallocate(int fd, off_t offset, off_t len)", on_error=RESULT,
                aliases=("posix_fallocate64",))  # fmt: skip
    def posix_fallocate(self, fd: int, offset: int, length: int) -> int:
        return self._allocate(fd, offset, length)

    @c_function(
        "int fallocate(int fd, int mode, off_t offset, off_t len)",
        system_call=285,
        aliases=("fallocate64",),
        on_error=MINUS_ONE,
    )
    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> int:
        """Of the modes that fallocate(2) has, the plain one: the others are EOPNOTSUPP."""
        if mode:
            self.library.files.usable(fd)
            raise PlatformError(f"fallocate mode {mode:#x}", errno.EOPNOTSUPP)
        return self._allocate(fd, offset, length)

    def _allocate(self, fd: int, offset: int, length: int) -> int:
        file = self.library.files.usable(fd)
        if offset < 0 or length <= 0:
            raise InvalidParameterError(f"fallocate of {length} bytes at {offset}")
        if OpenMode.WRITE not in file.mode:
            raise PlatformError(f"descriptor {fd} is not writable", errno.EBADF)
        if offset + length >= 1 << 63:
            raise PlatformError("fallocate: larger than a file can be", errno.EFBIG)
        file.allocate(offset, length)
        return 0

    @c_function("int posix_fadvise(int fd, off_t offset, off_t len, int advice)",
                on_error=RESULT, aliases=("posix_fadvise64",))  # fmt: skip
    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> int:
        """Advice is heard, and changes nothing that a guest could see."""
        file = self.library.files.usable(fd)
        if file.status().kind is FileKind.PIPE:
            raise PlatformError("a pipe takes no advice", errno.ESPIPE)
        if advice not in _ADVICE or length < 0:
            raise InvalidParameterError(f"fadvise {advice} of {length} bytes")
        return 0

    @system_call(221, "int fadvise64(int fd, off_t offset, off_t len, int advice)")
    def fadvise64(self, fd: int, offset: int, length: int, advice: int) -> int:
        return self.posix_fadvise(fd, offset, length, advice)


def _check_combination(flags: int) -> None:
    """What open(2) refuses whatever the path is. Raises EINVAL."""
    unfit = O_CREAT if flags & O_DIRECTORY else O_TMPFILE
    if flags & unfit or (flags & O_TMPFILE and flags & O_ACCMODE == O_RDONLY):
        raise InvalidParameterError(f"open: flags {flags:#o}")
