"""unistd.h and stdio.h: the names of files: links, renaming, removing, access, where one stands.

Each function without ``at`` is the one with it, from the working directory.
"""

from __future__ import annotations

import errno

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import FileKind, OpenMode, PathAt, StatusChange
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.locations import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    PATH_MAX,
    check_flags,
)

F_OK, X_OK, W_OK, R_OK = 0, 1, 2, 4
_AT_EACCESS = 0x200
_RENAME_FLAGS = 7  # NOREPLACE, EXCHANGE, WHITEOUT


class Bodies(DeferredBodies):
    """The functions of unistd.h."""

    def unlink(self, pathname: int) -> int:
        return self.unlinkat(AT_FDCWD, pathname, 0)

    def rmdir(self, pathname: int) -> int:
        return self.unlinkat(AT_FDCWD, pathname, AT_REMOVEDIR)

    def unlinkat(self, dirfd: int, pathname: int, flags: int) -> int:
        check_flags("unlinkat", flags, AT_REMOVEDIR)
        path = self.library.locations.at(dirfd, pathname)
        self.library.hooks.path_remove(path=path, directory=flags & AT_REMOVEDIR != 0)
        return 0

    def remove(self, pathname: int) -> int:
        """stdio.h: unlink, or rmdir for a directory."""
        try:
            return self.unlink(pathname)
        except PlatformError as error:
            if error.errno != errno.EISDIR:
                raise
        return self.rmdir(pathname)

    def rename(self, oldpath: int, newpath: int) -> int:
        return self.renameat(AT_FDCWD, oldpath, AT_FDCWD, newpath)

    def renameat(self, olddirfd: int, oldpath: int, newdirfd: int, newpath: int) -> int:
        source = self.library.locations.at(olddirfd, oldpath)
        target = self.library.locations.at(newdirfd, newpath)
        self.library.hooks.path_rename(source=source, target=target)
        return 0

    def renameat2(
        self, olddirfd: int, oldpath: int, newdirfd: int, newpath: int, flags: int
    ) -> int:
        """Flags are EINVAL, as on a file system that has none of them: the hook replaces."""
        if flags:
            raise InvalidParameterError(f"renameat2: flags {flags:#x}")
        return self.renameat(olddirfd, oldpath, newdirfd, newpath)

    def link(self, oldpath: int, newpath: int) -> int:
        return self.linkat(AT_FDCWD, oldpath, AT_FDCWD, newpath, 0)

    def linkat(self, olddirfd: int, oldpath: int, newdirfd: int, newpath: int, flags: int) -> int:
        """AT_EMPTY_PATH needs a privilege (CAP_DAC_READ_SEARCH) that no guest has: ENOENT."""
        check_flags("linkat", flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)
        locations = self.library.locations
        self.library.hooks.path_link(
            source=locations.at(olddirfd, oldpath),
            target=locations.at(newdirfd, newpath),
            follow=flags & AT_SYMLINK_FOLLOW != 0,
        )
        return 0

    def symlink(self, target: int, linkpath: int) -> int:
        return self.symlinkat(target, AT_FDCWD, linkpath)

    def symlinkat(self, target: int, newdirfd: int, linkpath: int) -> int:
        text = self.library.locations.text(target)
        if not text:
            raise PlatformError("a link to nothing", errno.ENOENT)
        path = self.library.locations.at(newdirfd, linkpath)
        self.library.hooks.path_create_link(path=path, text=text)
        return 0

    def readlink(self, pathname: int, buf: int, bufsiz: int) -> int:
        return self.readlinkat(AT_FDCWD, pathname, buf, bufsiz)

    def readlinkat(self, dirfd: int, pathname: int, buf: int, bufsiz: int) -> int:
        """The text without a final zero, cut to the buffer."""
        size = (bufsiz & 0xFFFFFFFF ^ 0x80000000) - 0x80000000  # the system call's is an int
        if size <= 0:
            raise InvalidParameterError(f"readlink into {size} bytes")
        locations, hooks = self.library.locations, self.library.hooks
        name = locations.text(pathname)
        if name or dirfd == AT_FDCWD:
            path = locations.of_text(dirfd, name)
        else:  # the link itself that O_PATH and O_NOFOLLOW opened
            path = PathAt(self.library.files.open_file(dirfd), hooks.path_parse(text=""))
        text: str = hooks.path_read_link(path=path)
        data = text.encode("utf-8", "surrogateescape")[:size]
        self.library.memory.write(buf, data)
        return len(data)

    def truncate(self, path: int, length: int) -> int:
        if length < 0:
            raise InvalidParameterError(f"truncate to {length}")
        location = self.library.locations.here(path)
        hooks = self.library.hooks
        kind = hooks.path_status(path=location, follow=True).kind
        if kind not in (FileKind.FILE, FileKind.DIRECTORY):
            raise InvalidParameterError("truncate of what is no file")
        file = hooks.path_open(path=location, mode=OpenMode.WRITE, permissions=0)
        try:
            file.truncate(length)
        finally:
            file.close()
        return 0

    def access(self, pathname: int, mode: int) -> int:
        return self.faccessat(AT_FDCWD, pathname, mode, 0)

    def faccessat(self, dirfd: int, pathname: int, mode: int, flags: int) -> int:
        """The platform's one user may what the mount and the host let it: that is asked."""
        check_flags("faccessat", flags, _AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
        if mode & ~(R_OK | W_OK | X_OK):
            raise InvalidParameterError(f"access mode {mode}")
        library = self.library
        status = library.locations.status(dirfd, pathname, flags)
        if mode == F_OK or (flags & AT_EMPTY_PATH and not library.locations.text(pathname)):
            return 0
        path = library.locations.at(dirfd, pathname)
        follow = not flags & AT_SYMLINK_NOFOLLOW
        if status.kind is not FileKind.DIRECTORY and mode & X_OK and not status.permissions & 0o111:
            raise PlatformError("not executable", errno.EACCES)
        if mode & W_OK:  # a change of nothing: only the read-only mount refuses it
            library.hooks.path_change(path=path, change=StatusChange(), follow=follow)
        wanted = OpenMode(0)
        if mode & R_OK and status.kind in (FileKind.FILE, FileKind.DIRECTORY):
            wanted |= OpenMode.READ
        if mode & W_OK and status.kind is FileKind.FILE:
            wanted |= OpenMode.WRITE
        if wanted:
            library.hooks.path_open(path=path, mode=wanted, permissions=0).close()
        return 0

    def raw_faccessat(self, dirfd: int, pathname: int, mode: int) -> int:
        """The system call has no flags: faccessat2 (439) has."""
        return self.faccessat(dirfd, pathname, mode, 0)

    def raw_faccessat2(self, dirfd: int, pathname: int, mode: int, flags: int) -> int:
        return self.faccessat(dirfd, pathname, mode, flags)

    def chdir(self, path: int) -> int:
        self.library.locations.change(self.library.locations.here(path))
        return 0

    def fchdir(self, fd: int) -> int:
        file = self.library.files.open_file(fd)
        here = PathAt(file, self.library.hooks.path_parse(text="."))
        self.library.locations.change(here)
        return 0

    def getcwd(self, buf: int, size: int) -> int:
        """Into new memory where ``buf`` is null, as glibc does it."""
        if buf and not size:
            raise InvalidParameterError("getcwd into nothing")
        text = self._working_directory()
        if size and size < len(text):
            raise PlatformError("getcwd: the buffer is too small", errno.ERANGE)
        address = buf or self.library.heap.allocate(size or len(text))
        self.library.memory.write(address, text)
        return address

    def raw_getcwd(self, buf: int, size: int) -> int:
        """The system call tells the length, its final zero included."""
        text = self._working_directory()
        if size < len(text):
            raise PlatformError("getcwd: the buffer is too small", errno.ERANGE)
        self.library.memory.write(buf, text)
        return len(text)

    def _working_directory(self) -> bytes:
        text = self.library.locations.working_directory().encode("utf-8", "surrogateescape")
        if len(text) >= PATH_MAX:
            raise PlatformError("the working directory's path", errno.ENAMETOOLONG)
        return text + b"\0"
