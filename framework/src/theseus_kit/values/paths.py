"""What crosses the path hooks: paths, open files, mounts, what is known of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, Flag, auto
from pathlib import Path as HostPath
from typing import Protocol

from theseus_kit.values.record import NamedTuple


class PlatformPath(Protocol):
    """A path as the platform's path provider understands it: pure text, no look-ups.

    ``str()`` of it is its text; two paths are equal as the provider's rules say.
    """

    def is_absolute(self) -> bool: ...
    def parent(self) -> PlatformPath | None: ...
    def file_name(self) -> str | None: ...
    def components(self) -> Iterable[object]:
        """The parts from the first to the last; ``str()`` of each is its text, ``/`` the root's."""
        ...

    def join(self, other: str) -> PlatformPath: ...
    def __str__(self) -> str: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...


class Bounds(Enum):
    """How far a path that starts at an open directory may lead (openat2(2), ``how.resolve``)."""

    NAMESPACE = "namespace"
    """Anywhere in the namespace: ``..`` climbs, an absolute path or link starts at the root."""
    BENEATH = "beneath"
    """Never above the directory: EXDEV for what would leave it (RESOLVE_BENEATH)."""
    ROOT = "root"
    """The directory is taken for the root: ``..`` stays there (RESOLVE_IN_ROOT)."""


class PathAt(NamedTuple):
    """A path that starts at an open directory where it is relative, as ``openat(2)`` has it.

    ``directory`` is what ``path_open`` returned. The path stays right when the directory is
    renamed. An empty path names nothing (ENOENT): ask the open file itself. The one exception is
    ``path_read_link`` from a link that is held (PATH with NO_FOLLOW): its own text.
    """

    directory: OpenFile
    path: PlatformPath
    bounds: Bounds = Bounds.NAMESPACE

    def __str__(self) -> str:
        return str(self.path)


Location = PlatformPath | PathAt
"""Where a look-up goes: from the namespace's root, or from an open directory."""


class OpenMode(Flag):
    """How a file is opened. At least one of READ, WRITE and PATH."""

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
    NO_LINKS = auto()
    """An error (ELOOP) if any component is a symbolic link (RESOLVE_NO_SYMLINKS)."""
    PATH = auto()
    """Hold what is there without opening it, whatever its kind (O_PATH): its status can be asked
    and a directory can start paths, everything else is EBADF. With NO_FOLLOW a link itself."""


class FileKind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMBOLIC_LINK = "symbolic link"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    PIPE = "pipe"
    SOCKET = "socket"
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
    created: int | None = None
    """None where the file system does not tell."""
    blocks: int | None = None
    """What it takes on its medium, in units of 512 bytes; None where nobody knows."""


class StatusChange(NamedTuple):
    """What to change of a file's status; None leaves a field as it is.

    Times are nanoseconds since the epoch: "now" is the asker's to know, who has the clock.
    """

    permissions: int | None = None
    accessed: int | None = None
    modified: int | None = None


class DirectoryEntry(NamedTuple):
    name: str
    kind: FileKind
    inode: int = 0


class Mount(NamedTuple):
    """A host file or directory made visible at ``target``, an absolute platform path."""

    source: HostPath
    target: str
    writable: bool = False


class MemoryMount(NamedTuple):
    """A new, empty, writable tree of files in memory at ``target``, an absolute platform path.

    ``limit`` bounds what all of its files, names and links take together, in bytes: ENOSPC above.
    The tree ends with its mount, and with the last of its files that is open then.
    """

    target: str
    limit: int = 64 << 20


class OpenFile(Protocol):
    """An open file or directory of the namespace.

    Errors are :class:`~theseus_kit.errors.PlatformError`: the errno of the system call that asks
    the same, EBADF for what the open mode does not allow and after :meth:`close`, EISDIR for the
    bytes of a directory, ENOTDIR for the entries of a file. Offsets and sizes are bytes.
    """

    @property
    def descriptor(self) -> int | None:
        """The host file descriptor behind it, None where there is none to be used directly."""
        ...

    @property
    def mode(self) -> OpenMode:
        """READ, WRITE, APPEND and PATH as they are now."""
        ...

    def read(self, size: int = -1) -> bytes: ...
    def write(self, data: bytes | memoryview) -> int: ...
    def read_at(self, size: int, offset: int) -> bytes: ...
    def write_at(self, data: bytes | memoryview, offset: int) -> int: ...
    def seek(self, offset: int, whence: int = 0) -> int: ...
    def truncate(self, size: int) -> None: ...
    def allocate(self, offset: int, size: int) -> None:
        """Make sure that writing there will find room; the file grows to hold the range."""
        ...

    def synchronize(self) -> None: ...
    def set_append(self, append: bool) -> None:
        """Have every write go to the file's end, or no longer (fcntl(2), F_SETFL, O_APPEND)."""
        ...

    def entries(self) -> Sequence[DirectoryEntry]:
        """The directory's entries as they are now, sorted, without ``.`` and ``..``."""
        ...

    def status(self) -> FileStatus: ...
    def change(self, change: StatusChange) -> None: ...
    def close(self) -> None: ...
