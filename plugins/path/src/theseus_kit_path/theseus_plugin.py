"""The provider ``path-theseus``: Theseus's paths over the namespace that ``path`` has."""

from __future__ import annotations

from theseus_kit.capabilities import Capability
from theseus_kit.hookspecs import Group
from theseus_kit.plugin import PluginDescription
from theseus_kit.values.paths import PlatformPath
from theseus_kit_path.provider import Options, PathProvider
from theseus_kit_path.theseus_path import TheseusPath


class TheseusPathPlugin(PathProvider):
    """Theseus's paths over the same mounts."""

    description = PluginDescription(
        name="path-theseus",
        version="0.1.0",
        summary="Theseus's paths (equal by text, UTF-8 only) over the same mounts as path",
        provides=frozenset({Group.PATH_HANDLING}),
        options=Options,
        lacks=frozenset({Capability.NON_UTF8_NAMES}),
    )

    def _path(self, text: str) -> PlatformPath:
        return TheseusPath(text)
