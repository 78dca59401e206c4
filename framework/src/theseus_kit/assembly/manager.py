"""The plugin manager of one platform: pluggy's, told where to look for hook implementations."""

from __future__ import annotations

import pluggy

from theseus_kit.hookspecs import GROUPS, PROJECT, Open

_IMPLEMENTATION = f"{PROJECT}_impl"
_SPECIFICATION = f"{PROJECT}_spec"


class PlatformPluginManager(pluggy.PluginManager):
    """Knows the contract from the start.

    Plugins are instances of classes, so their hooks are plain functions of the class: asking just
    for those, instead of for every attribute there may be, halves the time plugins take to
    register, which every start of the command line waits for.
    """

    def __init__(self) -> None:
        super().__init__(PROJECT)
        for specification in (*GROUPS.values(), Open):
            self.add_hookspecs(specification)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """Return the marks of a hook implementation, None for any other attribute."""
        marks: pluggy.HookimplOpts | None = getattr(
            getattr(type(plugin), name, None), _IMPLEMENTATION, None
        )
        return marks

    def parse_hookspec_opts(self, module_or_class: object, name: str) -> pluggy.HookspecOpts | None:
        """Return the marks of a hook specification, None for any other attribute."""
        marks: pluggy.HookspecOpts | None = getattr(
            getattr(module_or_class, name, None), _SPECIFICATION, None
        )
        return marks
