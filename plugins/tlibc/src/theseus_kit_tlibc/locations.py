"""Where C's paths start: the working directory, the directories of the *at functions, the umask."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import Bounds, OpenMode, PathAt

if TYPE_CHECKING:
    from theseus_kit.values.paths import FileStatus, Location, OpenFile
    from theseus_kit_tlibc.library import Library

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW = 0x100, 0x200, 0x400
AT_NO_AUTOMOUNT, AT_EMPTY_PATH = 0x800, 0x1000
PATH_MAX = 4096
"""Bytes of a path with its final zero, limits.h."""
PERMISSIONS = 0o7777


class Locations:
    """The working directory and umask of a platform's one process.

    The working directory is a path until it is changed, and then an open directory, which stays
    right when it is renamed.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._directory: OpenFile | None = None
        self.umask = 0o022

    def text(self, pathname: int) -> str:
        """The path a C string holds. Raises EFAULT, ENAMETOOLONG."""
        try:
            text = self._library.memory.read_string(pathname, PATH_MAX)
        except InvalidParameterError as error:
            raise PlatformError("a path of 4096 bytes or more", errno.ENAMETOOLONG) from error
        return text.decode("utf-8", "surrogateescape")

    def at(self, dirfd: int, pathname: int, bounds: Bounds = Bounds.NAMESPACE) -> Location:
        """Where a path leads that starts at an open directory. Raises ENOENT, EBADF, ENOTDIR."""
        return self.of_text(dirfd, self.text(pathname), bounds)

    def of_text(self, dirfd: int, text: str, bounds: Bounds = Bounds.NAMESPACE) -> Location:
        if not text:
            raise PlatformError("an empty path", errno.ENOENT)
        library = self._library
        path: Location
        if bounds is Bounds.NAMESPACE:
            if text[0] == "/":
                path = library.hooks.path_parse(text=text)
                return path
            if dirfd == AT_FDCWD and self._directory is None:
                path = library.hooks.path_parse(text=library.options.directory).join(text)
                return path
        directory = self._working() if dirfd == AT_FDCWD else library.files.open_file(dirfd)
        return PathAt(directory, library.hooks.path_parse(text=text), bounds)

    def here(self, pathname: int) -> Location:
        """Where a path leads from the working directory."""
        return self.at(AT_FDCWD, pathname)

    def status(self, dirfd: int, pathname: int, flags: int) -> FileStatus:
        """What fstatat(2) and statx(2) ask: a path, or with AT_EMPTY_PATH a descriptor itself."""
        text = "" if not pathname and flags & AT_EMPTY_PATH else self.text(pathname)
        if not text and flags & AT_EMPTY_PATH:
            return self.itself(dirfd).status()
        follow = not flags & AT_SYMLINK_NOFOLLOW
        status: FileStatus = self._library.hooks.path_status(
            path=self.of_text(dirfd, text), follow=follow
        )
        return status

    def itself(self, dirfd: int) -> OpenFile:
        """What an empty path with AT_EMPTY_PATH names."""
        return self._working() if dirfd == AT_FDCWD else self._library.files.open_file(dirfd)

    def change(self, location: Location) -> None:
        """Make a directory the working one. Raises as chdir(2)."""
        directory = self._opened(location)
        if self._directory is not None:
            self._directory.close()
        self._directory = directory

    def working_directory(self) -> str:
        """Its absolute path."""
        if self._directory is None:
            return self._library.options.directory
        here = PathAt(self._directory, self._library.hooks.path_parse(text="."))
        return str(self._library.hooks.path_resolve(path=here, follow=True))

    def permissions(self, mode: int) -> int:
        """What a file that is made gets of the permissions asked for (umask(2))."""
        return mode & PERMISSIONS & ~self.umask

    def _working(self) -> OpenFile:
        if self._directory is None:
            path = self._library.hooks.path_parse(text=self._library.options.directory)
            self._directory = self._opened(path)
        return self._directory

    def _opened(self, location: Location) -> OpenFile:
        file: OpenFile = self._library.hooks.path_open(
            path=location, mode=OpenMode.PATH | OpenMode.DIRECTORY, permissions=0
        )
        return file


def check_flags(function: str, flags: int, known: int) -> None:
    """Raises InvalidParameterError for a flag that the function does not have."""
    if flags & ~known:
        raise InvalidParameterError(f"{function}: flags {flags:#x}")
