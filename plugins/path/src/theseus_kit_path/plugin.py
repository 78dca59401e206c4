"""The plugin: the path hooks, over a path's text and one platform's file namespace."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path as HostPath
from typing import Any

from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import Plugin, PluginDescription, Services
from theseus_kit.values.paths import (
    DirectoryEntry,
    FileStatus,
    Mount,
    OpenFile,
    OpenMode,
    PlatformPath,
)
from theseus_kit_path.namespace import Namespace
from theseus_kit_path.posix_path import Path


class PathPlugin(Plugin):
    """POSIX paths over mounts of host files and directories."""

    description = PluginDescription(
        name="path",
        version="0.1.0",
        summary="POSIX paths over mounts of host files and directories",
        provides=frozenset({Group.PATH_HANDLING}),
    )

    def __init__(self, services: Services, options: Any) -> None:
        super().__init__(services, options)
        self._namespace = Namespace()

    @hookimpl
    def path_parse(self, text: str) -> PlatformPath:
        return Path(text)

    @hookimpl
    def path_from_host(self, path: HostPath) -> PlatformPath:
        return Path(os.fspath(path))

    @hookimpl
    def path_to_host(self, path: PlatformPath) -> HostPath:
        return HostPath(str(path))

    @hookimpl
    def path_mount(self, mount: Mount) -> None:
        self._namespace.mount(mount)

    @hookimpl
    def path_unmount(self, target: str) -> None:
        self._namespace.unmount(target)

    @hookimpl
    def path_resolve(self, path: PlatformPath, follow: bool) -> PlatformPath:
        return Path(self._namespace.resolve(str(path), follow))

    @hookimpl
    def path_open(self, path: PlatformPath, mode: OpenMode, permissions: int) -> OpenFile:
        return self._namespace.open(str(path), mode, permissions)

    @hookimpl
    def path_status(self, path: PlatformPath, follow: bool) -> FileStatus:
        return self._namespace.status(str(path), follow)

    @hookimpl
    def path_list(self, path: PlatformPath) -> Sequence[DirectoryEntry]:
        return self._namespace.list(str(path))

    @hookimpl
    def path_create_directory(self, path: PlatformPath, permissions: int) -> None:
        self._namespace.create_directory(str(path), permissions)

    @hookimpl
    def path_rename(self, source: PlatformPath, target: PlatformPath) -> None:
        self._namespace.rename(str(source), str(target))

    @hookimpl
    def path_remove(self, path: PlatformPath) -> None:
        self._namespace.remove(str(path))

    @hookimpl
    def platform_closed(self) -> None:
        self._namespace.close()
