"""Files in memory: the inodes of a tree, what they take of its limit, and open files."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import count
from typing import TYPE_CHECKING, Any

from theseus_kit.values.paths import DirectoryEntry, FileKind, FileStatus, OpenMode, StatusChange
from theseus_kit_path.files import KEPT_MODES
from theseus_kit_path.host_errors import as_platform_error, host_errors, os_error, path_error

if TYPE_CHECKING:
    from theseus_kit_path.trees import OpenRequest

ENTRY_COST = 256
"""Bytes of the limit that a directory entry takes beside its name, about what Python takes for
it: so that empty files are bounded too."""

_PAGE, _BLOCK = 4096, 512
_LONGEST_FILE = (1 << 63) - 1
_SEEK_DATA, _SEEK_HOLE = 3, 4


class Store:
    """What all inodes of a tree share."""

    def __init__(
        self, device: int, limit: int, now: Callable[[], int], lock: AbstractContextManager[Any]
    ) -> None:
        self.device = device
        self.now = now
        self.lock = lock
        self.numbers = count(1)
        self._room = limit

    @property
    def room(self) -> int:
        """Bytes that are left."""
        return self._room

    def charge(self, size: int) -> None:
        """Take bytes of the limit. Raises OSError (ENOSPC)."""
        if size > self._room:
            raise os_error(errno.ENOSPC)
        self._room -= size

    def release(self, size: int) -> None:
        self._room += size


class Inode:
    """A file, directory or link of a tree; the tree's lock is held by who calls."""

    __slots__ = (
        "accessed",
        "changed",
        "children",
        "created",
        "data",
        "kind",
        "links",
        "modified",
        "number",
        "opens",
        "parent",
        "permissions",
        "store",
        "text",
    )

    def __init__(self, store: Store, kind: FileKind, permissions: int) -> None:
        self.store = store
        self.kind = kind
        self.permissions = permissions
        self.number = next(store.numbers)
        self.links = 2 if kind is FileKind.DIRECTORY else 0
        self.opens = 0
        self.data = bytearray()
        self.text = ""
        self.children: dict[str, Inode] = {}
        self.parent: Inode | None = None
        self.created = self.accessed = self.modified = self.changed = store.now()

    def status(self) -> FileStatus:
        size = len(self.data)
        if self.kind is FileKind.SYMBOLIC_LINK:
            size = len(os.fsencode(self.text))
        return FileStatus(
            self.kind,
            size,
            self.number,
            self.store.device,
            self.links,
            self.permissions,
            self.accessed,
            self.modified,
            self.changed,
            self.created,
            -(-len(self.data) // _PAGE) * (_PAGE // _BLOCK),
        )

    def change(self, change: StatusChange) -> None:
        if change.permissions is not None:
            self.permissions = change.permissions & 0o7777
        if change.accessed is not None:
            self.accessed = change.accessed
        if change.modified is not None:
            self.modified = change.modified
        self.changed = self.store.now()

    def touch(self) -> None:
        self.modified = self.changed = self.store.now()

    # A directory's entries.

    def attach(self, name: str, inode: Inode) -> None:
        """Give an inode a name here. Raises OSError (ENOSPC)."""
        self.store.charge(ENTRY_COST + len(os.fsencode(name)))
        self._put(name, inode)
        if inode.kind is not FileKind.DIRECTORY:
            inode.links += 1
        inode.changed = self.modified

    def detach(self, name: str) -> None:
        """Take a name away, and with the last one what it named, once it is not open either."""
        inode = self._take(name)
        self.store.release(ENTRY_COST + len(os.fsencode(name)))
        inode.links -= 2 if inode.kind is FileKind.DIRECTORY else 1
        inode.changed = self.modified
        inode.free_if_forgotten()

    def move(self, name: str, target: Inode, target_name: str) -> None:
        """Give an entry another name, here or in ``target``."""
        inode = self._take(name)
        target._put(target_name, inode)
        inode.changed = target.modified
        self.store.release(len(os.fsencode(name)) - len(os.fsencode(target_name)))

    def is_within(self, directory: Inode) -> bool:
        inode: Inode | None = self
        while inode is not None and inode is not directory:
            inode = inode.parent
        return inode is directory

    def _put(self, name: str, inode: Inode) -> None:
        self.children[name] = inode
        if inode.kind is FileKind.DIRECTORY:
            self.links += 1
            inode.parent = self
        self.touch()

    def _take(self, name: str) -> Inode:
        inode = self.children.pop(name)
        if inode.kind is FileKind.DIRECTORY:
            self.links -= 1
            inode.parent = None
        self.touch()
        return inode

    # A file's bytes.

    def resize(self, size: int) -> None:
        """Cut, or add zeros. Raises OSError (ENOSPC)."""
        grows = size - len(self.data)
        if grows > 0:
            self.store.charge(grows)
            self._add_zeros(grows)
        elif grows < 0:
            del self.data[size:]
            self.store.release(-grows)
        self.touch()

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Write what fits below the limit. Raises OSError (ENOSPC) if that is nothing."""
        if not data:
            return 0
        size = len(self.data)
        if offset > _LONGEST_FILE - len(data):
            raise os_error(errno.EFBIG)
        grows = max(0, offset + len(data) - size)
        if grows > self.store.room:
            fits = size + self.store.room - offset
            if fits <= 0:
                raise os_error(errno.ENOSPC)
            data = data[:fits]
            grows = max(0, offset + fits - size)
        self.store.charge(grows)
        if offset > size:
            self._add_zeros(offset - size)
        self.data[offset : offset + len(data)] = data
        self.touch()
        return len(data)

    def _add_zeros(self, size: int) -> None:
        try:
            self.data.extend(bytes(size))
        except MemoryError:
            self.store.release(size)
            raise os_error(errno.ENOSPC) from None

    def free_if_forgotten(self) -> None:
        if self.links <= 0 and self.opens == 0:
            self.store.release(len(self.data) + len(os.fsencode(self.text)))
            self.data = bytearray()
            self.text = ""


class MemoryFile:
    """An open file in memory. Raises PlatformError: EBADF after :meth:`close`."""

    descriptor: int | None = None

    def __init__(self, inode: Inode, how: OpenRequest) -> None:
        self._inode: Inode | None = inode
        self._lock = inode.store.lock
        self._text = how.text
        self._position = 0
        self._on_close = how.on_close
        self.mode = how.mode & KEPT_MODES
        inode.opens += 1

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes from the file's position; all that is left if negative."""
        with self._lock:
            data = self._for(OpenMode.READ).data
            start = self._position
            piece = bytes(memoryview(data)[start : None if size < 0 else start + size])
            self._position += len(piece)
            return piece

    def read_at(self, size: int, offset: int) -> bytes:
        """Read up to ``size`` bytes at ``offset``; the file's position stays."""
        with self._lock:
            start = self._offset(offset)
            data = self._for(OpenMode.READ).data
            return bytes(memoryview(data)[start : start + max(size, 0)])

    def write(self, data: bytes | memoryview) -> int:
        """Write at the file's position, or at its end; what does not fit the limit is left."""
        with self._lock:
            inode = self._for(OpenMode.WRITE)
            if OpenMode.APPEND in self.mode and data:
                self._position = len(inode.data)
            written = self._write(inode, data, self._position)
            self._position += written
            return written

    def write_at(self, data: bytes | memoryview, offset: int) -> int:
        """Write at ``offset``, or at the end of a file that is appended to, as Linux does it
        (pwrite(2), BUGS); the file's position stays."""
        with self._lock:
            offset = self._offset(offset)
            inode = self._for(OpenMode.WRITE)
            if OpenMode.APPEND in self.mode:
                offset = len(inode.data)
            return self._write(inode, data, offset)

    def seek(self, offset: int, whence: int = 0) -> int:
        """As lseek(2), SEEK_DATA and SEEK_HOLE included: a file is all data."""
        with self._lock:
            size = len(self._usable().data)
            if whence in (_SEEK_DATA, _SEEK_HOLE):
                if not 0 <= offset < size:
                    raise path_error(errno.ENXIO, self._text)
                self._position = offset if whence == _SEEK_DATA else size
                return self._position
            bases = (0, self._position, size)
            if not 0 <= whence < len(bases):
                raise path_error(errno.EINVAL, self._text)
            self._position = self._offset(bases[whence] + offset)
            return self._position

    def truncate(self, size: int) -> None:
        with self._lock, host_errors(self._text):
            inode = self._usable()
            if OpenMode.WRITE not in self.mode:  # ftruncate(2): EINVAL, not EBADF
                raise os_error(errno.EINVAL)
            inode.resize(self._offset(size))

    def allocate(self, offset: int, size: int) -> None:
        with self._lock, host_errors(self._text):
            end = self._offset(offset) + size
            if size <= 0:
                raise os_error(errno.EINVAL)
            inode = self._for(OpenMode.WRITE)
            if end > _LONGEST_FILE:
                raise os_error(errno.EFBIG)
            if end > len(inode.data):
                inode.resize(end)

    def synchronize(self) -> None:
        self._usable()

    def set_append(self, append: bool) -> None:
        self._usable()
        self.mode = self.mode | OpenMode.APPEND if append else self.mode & ~OpenMode.APPEND

    def entries(self) -> Sequence[DirectoryEntry]:
        raise path_error(errno.ENOTDIR, self._text)

    def status(self) -> FileStatus:
        with self._lock:
            return self._usable().status()

    def change(self, change: StatusChange) -> None:
        with self._lock:
            self._usable().change(change)

    def close(self) -> None:
        """Let go of the file; closing twice is nothing."""
        with self._lock:
            if self._inode is not None:
                inode, self._inode = self._inode, None
                inode.opens -= 1
                inode.free_if_forgotten()
                self._on_close(self)

    def _write(self, inode: Inode, data: bytes | memoryview, offset: int) -> int:
        try:
            return inode.write(data, offset)
        except OSError as error:
            raise as_platform_error(error, self._text) from error

    def _usable(self) -> Inode:
        if self._inode is None:
            raise path_error(errno.EBADF, self._text)
        return self._inode

    def _for(self, mode: OpenMode) -> Inode:
        if mode not in self.mode:
            raise path_error(errno.EBADF, self._text)
        return self._usable()

    def _offset(self, offset: int) -> int:
        if not 0 <= offset <= _LONGEST_FILE:
            raise path_error(errno.EINVAL, self._text)
        return offset
