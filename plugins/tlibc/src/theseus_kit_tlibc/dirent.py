"""dirent.h: reading directories, as getdents64(2) and as streams of struct dirent.

A directory is listed once, when its reading begins or begins anew: what comes and goes meanwhile
shows after the next rewind. Positions count entries, ``.`` and ``..`` being the first two.
"""

from __future__ import annotations

import errno
import os
from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import DirectoryEntry, FileKind, OpenMode, PathAt
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.files import O_LARGEFILE
from theseus_kit_tlibc.locations import AT_FDCWD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from theseus_kit_tlibc.deferred import Deferred
    from theseus_kit_tlibc.files import Description

# struct linux_dirent64, which is struct dirent64: d_ino, d_off, d_reclen, d_type, then the name
_ENTRY = Struct("<QqHB")
_NAME = _ENTRY.size
_LARGEST = 280
"""Bytes of an entry whose name has 255: struct dirent64."""
_TYPES = {
    FileKind.PIPE: 1,
    FileKind.CHARACTER_DEVICE: 2,
    FileKind.DIRECTORY: 4,
    FileKind.BLOCK_DEVICE: 6,
    FileKind.FILE: 8,
    FileKind.SYMBOLIC_LINK: 10,
    FileKind.SOCKET: 12,
    FileKind.OTHER: 0,
}
_O_CLOEXEC, _O_DIRECTORY = 0o2000000, 0o200000
_INT_MAX = (1 << 31) - 1


class Bodies(DeferredBodies):
    """The functions of dirent.h."""

    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._streams: dict[int, int] = {}
        """Descriptors by the addresses of their DIRs, each of which holds one entry."""

    def raw_getdents64(self, fd: int, dirp: int, count: int) -> int:
        """Raises ENOTDIR; EINVAL where not even one entry fits; ENOENT for a removed directory."""
        description = self._directory(fd)
        window = self.library.memory.window(dirp, min(count, _INT_MAX), writable=True)
        listing = self._listing(description)
        used = 0
        while description.position < len(listing):
            record = packed_entry(listing[description.position], description.position + 1)
            if used + len(record) > len(window):
                if not used:
                    raise InvalidParameterError(f"getdents64: {count} bytes hold no entry")
                break
            window[used : used + len(record)] = record
            used += len(record)
            description.position += 1
        return used

    def opendir(self, name: int) -> int:
        library = self.library
        library.files.check_room()
        file = library.hooks.path_open(
            path=library.locations.at(AT_FDCWD, name),
            mode=OpenMode.READ | OpenMode.DIRECTORY,
            permissions=0,
        )
        fd = library.files.add(file, O_LARGEFILE | _O_DIRECTORY, close_on_exec=True)
        return self._stream(fd)

    def fdopendir(self, fd: int) -> int:
        self.library.files.usable(fd)
        if not self.library.files.description(fd).is_directory:
            raise PlatformError(f"descriptor {fd} is no directory", errno.ENOTDIR)
        return self._stream(fd)

    def readdir(self, dirp: int) -> int:
        """Null at the end, errno left as it was."""
        description = self._directory(self._of(dirp))
        listing = self._listing(description)
        if description.position >= len(listing):
            return 0
        record = packed_entry(listing[description.position], description.position + 1)
        description.position += 1
        self.library.memory.write(dirp, record)
        return dirp

    def rewinddir(self, dirp: int) -> None:
        seek_directory(self._directory(self._of(dirp)), 0, os.SEEK_SET)

    def telldir(self, dirp: int) -> int:
        return self._directory(self._of(dirp)).position

    def seekdir(self, dirp: int, loc: int) -> None:
        description = self._directory(self._of(dirp))
        if loc == 0:
            seek_directory(description, 0, os.SEEK_SET)
        else:
            description.position = loc

    def dirfd(self, dirp: int) -> int:
        return self._of(dirp)

    def closedir(self, dirp: int) -> int:
        fd = self._of(dirp)
        del self._streams[dirp]
        self.library.heap.free(dirp)
        self.library.files.close(fd)
        return 0

    def _stream(self, fd: int) -> int:
        address = self.library.heap.allocate(_LARGEST)
        self._streams[address] = fd
        return address

    def _of(self, dirp: int) -> int:
        fd = self._streams.get(dirp)
        if fd is None:
            raise PlatformError(f"{dirp:#x} is no open directory stream", errno.EBADF)
        return fd

    def _directory(self, fd: int) -> Description:
        files = self.library.files
        files.usable(fd)
        description = files.description(fd)
        if not description.is_directory:
            raise PlatformError(f"descriptor {fd} is no directory", errno.ENOTDIR)
        return description

    def _listing(self, description: Description) -> Sequence[DirectoryEntry]:
        listing = description.listing
        if listing is None:
            file = description.file
            found = file.entries()
            own = file.status()
            if not own.links:
                raise PlatformError("the directory was removed", errno.ENOENT)
            parse = self.library.hooks.path_parse
            above = self.library.hooks.path_status(path=PathAt(file, parse(text="..")), follow=True)
            listing = description.listing = [
                DirectoryEntry(".", FileKind.DIRECTORY, own.inode),
                DirectoryEntry("..", FileKind.DIRECTORY, above.inode),
                *found,
            ]
        return listing


def seek_directory(description: Description, offset: int, whence: int) -> int:
    """lseek(2) of a directory: to a position that getdents64 told, or to 0 for a new listing."""
    if whence == os.SEEK_CUR:
        offset += description.position
    elif whence != os.SEEK_SET:
        raise InvalidParameterError(f"a directory's lseek from {whence}")
    if offset < 0:
        raise InvalidParameterError(f"a directory's position {offset}")
    if offset == 0:
        description.listing = None
    description.position = offset
    return offset


def packed_entry(entry: DirectoryEntry, next_position: int) -> bytes:
    """An entry as struct linux_dirent64, padded to eight bytes."""
    name = entry.name.encode("utf-8", "surrogateescape")
    size = (_NAME + len(name) + 8) & ~7
    return _ENTRY.pack(entry.inode, next_position, size, _TYPES[entry.kind]) + name.ljust(
        size - _NAME, b"\0"
    )
