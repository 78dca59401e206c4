"""The provider ``path``: POSIX paths over the namespace."""

from __future__ import annotations

from theseus_kit.hookspecs import Group
from theseus_kit.plugin import PluginDescription
from theseus_kit.values.paths import PlatformPath
from theseus_kit_path.provider import Options, PathProvider
from theseus_kit_path.std_path import Path


class PathPlugin(PathProvider):
    """POSIX paths, as Rust's std::path reads them, over mounts of host files and of memory."""

    description = PluginDescription(
        name="path",
        version="0.1.0",
        summary="POSIX paths over mounts of host files and directories, and of trees in memory",
        provides=frozenset({Group.PATH_HANDLING}),
        options=Options,
    )

    def _path(self, text: str) -> PlatformPath:
        return Path(text)
