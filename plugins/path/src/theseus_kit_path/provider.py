"""What both providers share: the look-up hooks, over one platform's file namespace.

What a path is differs between them and is each one's own (``plugin.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path as HostPath
from typing import Any

from theseus_kit.hookspecs import hookimpl
from theseus_kit.plugin import Plugin, Services, option
from theseus_kit.values.paths import (
    DirectoryEntry,
    FileStatus,
    Location,
    MemoryMount,
    Mount,
    OpenFile,
    OpenMode,
    PlatformPath,
    StatusChange,
)
from theseus_kit_path.namespace import Namespace

_STEP = 1000


class Timestamps(Enum):
    """Where files in memory have their times from."""

    HOST = "host"
    COUNTED = "counted"


@dataclass(eq=False, repr=False)
class Options:
    """What a user may set of paths."""

    timestamps: Timestamps = option(
        Timestamps.HOST,
        help="times of files in memory: the host's clock, or counted, a microsecond a change from"
        " the epoch on, so that two runs agree",
    )


class PathProvider(Plugin):
    """The look-up hooks. A provider adds what a path is: path_parse and the conversions."""

    def __init__(self, services: Services, options: Any) -> None:
        super().__init__(services, options)
        self._namespace = Namespace(_clock(options.timestamps))

    def _path(self, text: str) -> PlatformPath:
        raise NotImplementedError

    @hookimpl
    def path_parse(self, text: str) -> PlatformPath:
        return self._path(text)

    @hookimpl
    def path_from_host(self, path: HostPath) -> PlatformPath:
        return self._path(str(path))

    @hookimpl
    def path_to_host(self, path: PlatformPath) -> HostPath:
        return HostPath(str(path))

    @hookimpl
    def path_mount(self, mount: Mount | MemoryMount) -> None:
        self._namespace.mount(mount)

    @hookimpl
    def path_unmount(self, target: str) -> None:
        self._namespace.unmount(target)

    @hookimpl
    def path_resolve(self, path: Location, follow: bool) -> PlatformPath:
        return self._path(self._namespace.resolve(path, follow))

    @hookimpl
    def path_open(self, path: Location, mode: OpenMode, permissions: int) -> OpenFile:
        return self._namespace.open(path, mode, permissions)

    @hookimpl
    def path_status(self, path: Location, follow: bool) -> FileStatus:
        return self._namespace.status(path, follow)

    @hookimpl
    def path_change(self, path: Location, change: StatusChange, follow: bool) -> None:
        self._namespace.change(path, change, follow)

    @hookimpl
    def path_list(self, path: Location) -> Sequence[DirectoryEntry]:
        return self._namespace.list(path)

    @hookimpl
    def path_create_directory(self, path: Location, permissions: int) -> None:
        self._namespace.create_directory(path, permissions)

    @hookimpl
    def path_create_link(self, path: Location, text: str) -> None:
        self._namespace.create_link(path, text)

    @hookimpl
    def path_read_link(self, path: Location) -> str:
        return self._namespace.read_link(path)

    @hookimpl
    def path_link(self, source: Location, target: Location, follow: bool) -> None:
        self._namespace.link(source, target, follow)

    @hookimpl
    def path_rename(self, source: Location, target: Location) -> None:
        self._namespace.rename(source, target)

    @hookimpl
    def path_remove(self, path: Location, directory: bool) -> None:
        self._namespace.remove(path, directory)

    @hookimpl
    def platform_closed(self) -> None:
        self._namespace.close()


def _clock(timestamps: Timestamps) -> Callable[[], int]:
    if timestamps is Timestamps.HOST:
        import time

        return time.time_ns
    from itertools import count

    return count(step=_STEP).__next__
