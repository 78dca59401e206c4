"""What crosses the path hooks: paths, open files, mounts."""

from __future__ import annotations

from enum import Enum, Flag, auto
from pathlib import Path as HostPath
from typing import NamedTuple, Protocol


class PlatformPath(Protocol):
    """A path as the platform's path provider understands it: pure text, no look-ups.

    ``str()`` of it is its text; two paths are equal as the provider's rules say.
    """

    @property
    def is_absolute(self) -> bool: ...
    @property
    def parent(self) -> PlatformPath | None: ...
    @property
    def file_name(self) -> str | None: ...
    @property
    def components(self) -> tuple[str, ...]: ...
    def join(self, other: str) -> PlatformPath: ...
    def __str__(self) -> str: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...


class OpenMode(Flag):
    """How a file is opened; READ alone if nothing else is said."""

    READ = auto()
    WRITE = auto()
    CREATE = auto()
    """Create the file if it does not exist."""
    EXCLUSIVE = auto()
    """With CREATE: an error if it exists."""
    TRUNCATE = auto()
    APPEND = auto()
    DIRECTORY = auto()
    """An error unless it is a directory."""
    NO_FOLLOW = auto()
    """An error if the last component is a symbolic link."""


class FileKind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMBOLIC_LINK = "symbolic link"
    OTHER = "other"


class FileStatus(NamedTuple):
    """What is known of a file; times in nanoseconds since the epoch, size in bytes."""

    kind: FileKind
    size: int
    inode: int = 0
    device: int = 0
    links: int = 1
    permissions: int = 0o644
    accessed: int = 0
    modified: int = 0
    changed: int = 0


class DirectoryEntry(NamedTuple):
    name: str
    kind: FileKind
    inode: int = 0


class Mount(NamedTuple):
    """A host file or directory made visible at ``target``, an absolute platform path."""

    source: HostPath
    target: str
    writable: bool = False


class OpenFile(Protocol):
    """An open file of the namespace. Errors are :class:`~theseus_kit.errors.PlatformError`.

    Offsets and sizes are bytes. Every method may be called until :meth:`close`.
    """

    @property
    def descriptor(self) -> int | None:
        """The host file descriptor behind it, None where there is none (in-memory files)."""
        ...

    def read(self, size: int = -1) -> bytes: ...
    def write(self, data: bytes) -> int: ...
    def read_at(self, size: int, offset: int) -> bytes: ...
    def write_at(self, data: bytes, offset: int) -> int: ...
    def seek(self, offset: int, whence: int = 0) -> int: ...
    def truncate(self, size: int) -> None: ...
    def synchronize(self) -> None: ...
    def status(self) -> FileStatus: ...
    def close(self) -> None: ...
