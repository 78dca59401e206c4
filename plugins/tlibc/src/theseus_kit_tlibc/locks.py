"""Locks on files: fcntl(2)'s on ranges, of the process and of descriptions, and flock(2)'s.

Files of the host are locked on the host, so other programs take part. Files in memory belong to
this platform alone, and so do their locks, kept here: those of the process never stand in its own
way, those of descriptions do.
"""

from __future__ import annotations

import errno
import os
from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import OpenMode
from theseus_kit.values.record import NamedTuple
from theseus_kit_tlibc.streams import as_platform_error

if TYPE_CHECKING:
    from theseus_kit_tlibc.files import Description
    from theseus_kit_tlibc.library import Library

# struct flock of x86-64: short l_type, short l_whence, off_t l_start, off_t l_len, pid_t l_pid
_FLOCK = Struct("<hh4xqqi4x")
F_RDLCK, F_WRLCK, F_UNLCK = 0, 1, 2
_GET, _SET, _SET_WAIT = (5, 36), (6, 37), (7, 38)
_OF_DESCRIPTIONS = 36
LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8
_END = (1 << 63) - 1
_RETRY = 1_000_000
"""Nanoseconds between two tries for a lock that another program holds: the host tells nobody."""


class _Lock(NamedTuple):
    owner: Description | None
    """None is the process."""
    start: int
    end: int
    exclusive: bool

    def conflicts(self, other: _Lock) -> bool:
        return (
            self.owner is not other.owner
            and (self.exclusive or other.exclusive)
            and self.start < other.end
            and other.start < self.end
        )


class Locks:
    """The locks of one platform. Every method raises PlatformError, as its system call."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._ranges: dict[tuple[int, int], list[_Lock]] = {}
        self._whole: dict[tuple[int, int], list[_Lock]] = {}

    def command(self, description: Description, command: int, address: int) -> int:
        """One of fcntl(2)'s six lock commands; ``address`` is its struct flock's."""
        memory = self._library.memory
        raw = memory.read(address, _FLOCK.size)
        if command >= _OF_DESCRIPTIONS and _FLOCK.unpack(raw)[4] != 0:
            raise InvalidParameterError("l_pid must be 0 for a description's lock")
        waits = command in _SET_WAIT
        once = command - 1 if waits else command
        while True:
            try:
                if description.host >= 0:
                    answer = self._on_host(description.host, once, raw)
                else:
                    answer = self._here(description, once, raw)
                break
            except PlatformError as error:
                if not waits or error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            self._library.sleep(_RETRY)
        if command in _GET:
            memory.write(address, answer)
        return 0

    def flock(self, description: Description, operation: int) -> int:
        """flock(2)."""
        kind = operation & ~LOCK_NB
        if kind not in (LOCK_SH, LOCK_EX, LOCK_UN):
            raise InvalidParameterError(f"flock operation {operation}")
        while True:
            try:
                if description.host >= 0:
                    self._flock_host(description.host, kind)
                else:
                    wanted = _Lock(description, 0, _END, kind == LOCK_EX)
                    self._set(self._whole, description, wanted, unlock=kind == LOCK_UN)
                return 0
            except PlatformError as error:
                if operation & LOCK_NB or error.errno != errno.EAGAIN:
                    raise
            self._library.sleep(_RETRY)

    def forget(self, description: Description) -> None:
        """A descriptor is being closed: the process loses its locks on the file (fcntl(2)), and
        with the last descriptor the description loses its own."""
        if not self._ranges and not self._whole:
            return
        owners = (None, description) if description.references == 1 else (None,)
        key = _key(description)
        for table in (self._ranges, self._whole):
            kept = [lock for lock in table.pop(key, ()) if lock.owner not in owners]
            if kept:
                table[key] = kept

    def _on_host(self, host: int, command: int, raw: bytes) -> bytes:
        from fcntl import fcntl

        try:
            return fcntl(host, command, raw)
        except OSError as error:
            raise as_platform_error(error) from error

    def _flock_host(self, host: int, kind: int) -> None:
        from fcntl import flock

        try:
            flock(host, kind | LOCK_NB)
        except OSError as error:
            raise as_platform_error(error) from error

    def _here(self, description: Description, command: int, raw: bytes) -> bytes:
        kind, whence, start, length, _ = _FLOCK.unpack(raw)
        wanted = self._range(description, command, kind, whence, start, length)
        if command in _GET:
            if kind == F_UNLCK:
                raise InvalidParameterError("F_GETLK of F_UNLCK")
            for lock in self._ranges.get(_key(description), ()):
                if lock.conflicts(wanted):
                    size = 0 if lock.end == _END else lock.end - lock.start
                    found = F_WRLCK if lock.exclusive else F_RDLCK
                    return _FLOCK.pack(found, os.SEEK_SET, lock.start, size, -1)
            return _FLOCK.pack(F_UNLCK, *_FLOCK.unpack(raw)[1:])
        needed = {F_RDLCK: OpenMode.READ, F_WRLCK: OpenMode.WRITE}.get(kind, OpenMode(0))
        if needed not in description.file.mode:
            raise PlatformError("the file is not open for this kind of lock", errno.EBADF)
        self._set(self._ranges, description, wanted, unlock=kind == F_UNLCK)
        return raw

    def _range(
        self, description: Description, command: int, kind: int, whence: int, start: int, size: int
    ) -> _Lock:
        file = description.file
        if whence not in (0, 1, 2) or kind not in (F_RDLCK, F_WRLCK, F_UNLCK):
            raise InvalidParameterError(f"lock type {kind}, whence {whence}")
        if whence:
            start += file.seek(0, os.SEEK_CUR) if whence == os.SEEK_CUR else file.status().size
        end = start + size if size else _END
        start, end = min(start, end), max(start, end)
        if start < 0:
            raise InvalidParameterError(f"a lock from {start}")
        owner = description if command >= _OF_DESCRIPTIONS else None
        return _Lock(owner, start, end, kind == F_WRLCK)

    def _set(
        self,
        table: dict[tuple[int, int], list[_Lock]],
        description: Description,
        wanted: _Lock,
        *,
        unlock: bool,
    ) -> None:
        """Put a lock in place of what its owner has in the range. Raises EAGAIN."""
        locks = table.get(_key(description), [])
        if not unlock and any(lock.conflicts(wanted) for lock in locks):
            raise PlatformError("somebody else holds a lock there", errno.EAGAIN)
        kept: list[_Lock] = []
        for lock in locks:
            if lock.owner is not wanted.owner:
                kept.append(lock)
                continue
            if lock.start < wanted.start:
                kept.append(lock._replace(end=min(lock.end, wanted.start)))
            if lock.end > wanted.end:
                kept.append(lock._replace(start=max(lock.start, wanted.end)))
        table[_key(description)] = kept if unlock else [*kept, wanted]


def _key(description: Description) -> tuple[int, int]:
    status = description.file.status()
    return status.device, status.inode
