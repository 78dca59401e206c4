"""What std's Path asks of a file system, asked of a platform's.

A path is text and belongs to no platform, so each look-up takes the hooks of the one it is meant
for: ``path.exists(platform.hooks)``. Relative paths start at the namespace's root. Errors are
:class:`~theseus_kit.errors.PlatformError`, and where std answers false for them, so is it here.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import DirectoryEntry, FileKind, FileStatus
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit_path.std_path import Path


class DirEntry(NamedTuple):
    """One entry of a directory that was read: what ``std::fs::DirEntry`` tells."""

    directory: Path
    entry: DirectoryEntry

    def path(self) -> Path:
        return self.directory.join(self.entry.name)

    def file_name(self) -> str:
        return self.entry.name

    def file_type(self) -> FileKind:
        """Of the entry itself: a link is a link."""
        return self.entry.kind

    def metadata(self, hooks: HookRelay) -> FileStatus:
        """Of the entry itself: a link is a link."""
        return self.path().symlink_metadata(hooks)


class LookUps:
    """The look-ups of a path, by the hooks of a platform."""

    __slots__ = ()

    def metadata(self, hooks: HookRelay) -> FileStatus:
        """What is there, links followed."""
        return _status(hooks, self, follow=True)

    def symlink_metadata(self, hooks: HookRelay) -> FileStatus:
        """What is there, a link itself."""
        return _status(hooks, self, follow=False)

    def canonicalize(self, hooks: HookRelay) -> Path:
        """The absolute path without ``.``, ``..`` and links of what is there."""
        from theseus_kit_path.std_path import Path

        return Path(str(hooks.path_resolve(path=self, follow=True)))

    def read_link(self, hooks: HookRelay) -> Path:
        """The path that a link holds. EINVAL for what is none."""
        from theseus_kit_path.std_path import Path

        return Path(hooks.path_read_link(path=self))

    def read_dir(self, hooks: HookRelay) -> Iterator[DirEntry]:
        """The entries of a directory, sorted by name; errors come before the first."""
        from theseus_kit_path.std_path import Path

        directory = Path(str(self))
        return iter([DirEntry(directory, entry) for entry in hooks.path_list(path=self)])

    def try_exists(self, hooks: HookRelay) -> bool:
        """Whether something is there. Raises PlatformError where that cannot be told."""
        try:
            self.metadata(hooks)
        except PlatformError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def exists(self, hooks: HookRelay) -> bool:
        """Whether something is there; False where that cannot be told."""
        return _kind(hooks, self, follow=True) is not None

    def is_file(self, hooks: HookRelay) -> bool:
        return _kind(hooks, self, follow=True) is FileKind.FILE

    def is_dir(self, hooks: HookRelay) -> bool:
        return _kind(hooks, self, follow=True) is FileKind.DIRECTORY

    def is_symlink(self, hooks: HookRelay) -> bool:
        return _kind(hooks, self, follow=False) is FileKind.SYMBOLIC_LINK


def _status(hooks: HookRelay, path: LookUps, follow: bool) -> FileStatus:
    status: FileStatus = hooks.path_status(path=path, follow=follow)
    return status


def _kind(hooks: HookRelay, path: LookUps, follow: bool) -> FileKind | None:
    try:
        return _status(hooks, path, follow).kind
    except PlatformError:
        return None
