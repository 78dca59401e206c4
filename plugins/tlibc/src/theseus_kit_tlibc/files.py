"""The descriptor table: which open file a guest's small integer stands for.

As POSIX has it in three layers, of which the outer two are here::

    descriptor 3 ──┐ (close-on-exec)
                   ├─→ Description: status flags, position in ─→ OpenFile: the path provider's,
    descriptor 7 ──┘   a directory, how many descriptors        a stream, a pipe …

0, 1 and 2 are the host's standard streams (:mod:`.streams`); the rest comes from the path hooks and
from whoever else adds open files. What files are and how they are opened is not known here.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import TYPE_CHECKING

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.paths import FileKind, OpenMode
from theseus_kit_tlibc.readiness import is_waitable, waits_on_host
from theseus_kit_tlibc.streams import standard_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from theseus_kit.values.paths import DirectoryEntry, OpenFile

OPEN_MAX = 1024
"""Descriptors a guest may have at once unless told: Linux's default RLIMIT_NOFILE."""

O_WRONLY, O_RDWR, O_APPEND, O_NONBLOCK = 0o1, 0o2, 0o2000, 0o4000
O_DSYNC, O_LARGEFILE, O_PATH = 0o10000, 0o100000, 0o10000000
_STANDARD_ERROR = 2
_REMEMBERED = 2048


class Waiting(Enum):
    """What reading and writing an open file may wait for."""

    NEVER = "never"
    ON_HOST = "whoever has the other end, on the host"
    ON_TASKS = "another task"


class Description:
    """An open file description: what descriptors share that were made of each other by dup(2)."""

    __slots__ = (
        "_is_directory",
        "file",
        "flags",
        "host",
        "listing",
        "never_waits",
        "position",
        "references",
        "said",
        "waiting",
    )  # fmt: skip

    def __init__(self, file: OpenFile, flags: int) -> None:
        self.file = file
        self.flags = flags
        """Access mode and status flags, as F_GETFL tells them."""
        descriptor = file.descriptor
        self.host = -1 if descriptor is None else descriptor
        """The host descriptor to be used directly, -1 if there is none."""
        self.waiting = Waiting.NEVER
        if is_waitable(file):
            self.waiting = Waiting.ON_TASKS
        elif descriptor is not None and waits_on_host(file) is not None:
            self.waiting = Waiting.ON_HOST
        self.never_waits = self.waiting is Waiting.ON_HOST
        """The host can be asked for what needs no waiting, as far as is known."""
        self.references = 0
        self.position = 0
        """The next entry of a directory to be told, counted from 0."""
        self.listing: Sequence[DirectoryEntry] | None = None
        """The directory as it was when its reading began."""
        self._is_directory: bool | None = None
        self.said = False
        """What is written is kept as the guest's last words."""

    @property
    def is_directory(self) -> bool:
        if self._is_directory is None:
            self._is_directory = self.host < 0 and self.file.status().kind is FileKind.DIRECTORY
        return self._is_directory

    def release(self) -> None:
        """One descriptor less; the last one closes the file."""
        self.references -= 1
        if self.references == 0:
            self.host = -1
            self.listing = None
            self.file.close()


class Files:
    """One platform's open descriptors. Numbers are the lowest free ones, as POSIX has it.

    Every method that takes a descriptor raises PlatformError (EBADF) where it is not open.
    """

    def __init__(self, limit: int = OPEN_MAX) -> None:
        self.limit = limit
        """Descriptors are less than this (getrlimit(2), RLIMIT_NOFILE)."""
        self.descriptions: dict[int, Description] = {}
        """For hot paths; to be changed here only."""
        self._closed_on_exec: set[int] = set()
        self._lowest = 0
        """No number below is free."""
        self.changed: Callable[[int], None] = lambda number: None
        """Told of a descriptor that was opened, closed, or whose description changed."""
        self.closing: Callable[[Description], None] = lambda description: None
        """Told of a description each time that a descriptor of it is closed, before it is."""
        self.last_words = b""
        """The end of what the guest wrote to its standard error: why it aborts."""
        for number, stream in standard_streams().items():
            description = Description(stream, stream.host_flags)
            description.said = number == _STANDARD_ERROR
            self._put(number, description, close_on_exec=False)

    def description(self, descriptor: int) -> Description:
        found = self.descriptions.get(descriptor)
        if found is None:
            raise PlatformError(f"descriptor {descriptor} is not open", errno.EBADF)
        return found

    def open_file(self, descriptor: int) -> OpenFile:
        return self.description(descriptor).file

    def usable(self, descriptor: int) -> OpenFile:
        """An open file for more than starting paths and telling its status: EBADF for O_PATH."""
        return self.usable_description(descriptor).file

    def usable_description(self, descriptor: int) -> Description:
        description = self.description(descriptor)
        if description.flags & O_PATH:
            raise PlatformError(f"descriptor {descriptor} only holds a file", errno.EBADF)
        return description

    def check_room(self, lowest: int = 0) -> int:
        """The number the next file gets, ``lowest`` or more. Raises PlatformError (EMFILE)."""
        number = max(self._lowest, lowest)
        while number in self.descriptions:
            number += 1
        if lowest <= self._lowest:
            self._lowest = number
        if number >= self.limit:
            raise PlatformError(f"{len(self.descriptions)} files are open", errno.EMFILE)
        return number

    def add(self, file: OpenFile, flags: int | None = None, *, close_on_exec: bool = False) -> int:
        """Give a file a descriptor; EMFILE, upon which the file is closed.

        ``flags`` are its access mode and status flags; those of its mode if left out.
        """
        try:
            number = self.check_room()
        except PlatformError:
            file.close()
            raise
        flags = flags_of(file.mode) if flags is None else flags
        self._put(number, Description(file, flags), close_on_exec)
        return number

    def duplicate(self, descriptor: int, lowest: int = 0, *, close_on_exec: bool = False) -> int:
        """A second descriptor for the same description (fcntl(2), F_DUPFD); EINVAL, EMFILE."""
        description = self.description(descriptor)
        if not 0 <= lowest < self.limit:
            raise InvalidParameterError(f"no descriptor can be {lowest} or more")
        number = self.check_room(lowest)
        self._put(number, description, close_on_exec)
        return number

    def duplicate_to(self, descriptor: int, number: int, *, close_on_exec: bool = False) -> int:
        """Make ``number`` stand for the same description, closing what it stood for (dup2(2))."""
        description = self.description(descriptor)
        if not 0 <= number < self.limit:
            raise PlatformError(f"no descriptor can be {number}", errno.EBADF)
        if number != descriptor:
            replaced = self.descriptions.get(number)
            self._put(number, description, close_on_exec)
            if replaced is not None:
                self._release(replaced)
        return number

    def closes_on_exec(self, descriptor: int) -> bool:
        self.description(descriptor)
        return descriptor in self._closed_on_exec

    def set_close_on_exec(self, descriptor: int, close: bool) -> None:
        self.description(descriptor)
        (self._closed_on_exec.add if close else self._closed_on_exec.discard)(descriptor)

    def close(self, descriptor: int) -> None:
        description = self.description(descriptor)
        del self.descriptions[descriptor]
        self._closed_on_exec.discard(descriptor)
        self._lowest = min(self._lowest, descriptor)
        self.changed(descriptor)
        self._release(description)

    def close_range(self, first: int, last: int) -> None:
        """Close all descriptors from ``first`` to ``last``, both included."""
        for descriptor in [number for number in self.descriptions if first <= number <= last]:
            self.close(descriptor)

    def set_flags(self, description: Description, flags: int) -> None:
        """Give a description other flags (fcntl(2), F_SETFL)."""
        description.flags = flags
        self.tell_change(description)

    def tell_change(self, description: Description) -> None:
        for number, other in list(self.descriptions.items()):
            if other is description:
                self.changed(number)

    def remember(self, data: bytes) -> None:
        """Keep what the guest writes to its standard error."""
        self.last_words = (self.last_words + data)[-_REMEMBERED:]

    def close_all(self) -> None:
        """Close what the guest left open; nobody has to be told any more."""
        self.closing = lambda description: None
        self.changed = lambda number: None
        self.close_range(0, self.limit)

    def _release(self, description: Description) -> None:
        if description.host < 0:
            self.closing(description)
        description.release()

    def _put(self, number: int, description: Description, close_on_exec: bool) -> None:
        self.descriptions[number] = description
        description.references += 1
        (self._closed_on_exec.add if close_on_exec else self._closed_on_exec.discard)(number)
        self.changed(number)


def flags_of(mode: OpenMode) -> int:
    """The flags of open(2) that an open file's mode stands for."""
    if OpenMode.PATH in mode:
        return O_PATH
    flags = O_APPEND if OpenMode.APPEND in mode else 0
    if OpenMode.WRITE in mode:
        flags |= O_RDWR if OpenMode.READ in mode else O_WRONLY
    return flags
