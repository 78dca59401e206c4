"""The plugin manager of one platform: pluggy's, told where to look for hook implementations."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import pluggy

from theseus_kit.errors import PluginError, TheseusKitError
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
        self.add_hookcall_monitoring(_nothing_before, _blame)

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


def _nothing_before(name: str, implementations: object, arguments: object) -> None:
    """Monitoring a call's end asks for something to do at its start."""


def _blame(
    outcome: pluggy.Result[Any],
    hook: str,
    implementations: Sequence[pluggy.HookImpl],
    arguments: Mapping[str, object],
) -> None:
    """Turn an error of a plugin's own code into one that names the plugin and the values.

    What the contract speaks of is left alone, and so is what a plugin only passes on: the error of
    a handler it was given to call, of Python's signal handlers, of a host function.
    """
    error = outcome.exception
    if not isinstance(error, Exception) or isinstance(error, TheseusKitError):
        return
    package = _package_that_raised(error.__traceback__)
    for implementation in implementations:
        if package == _package(type(implementation.plugin).__module__):
            problem = f"raised {type(error).__name__}: {error}"
            blame = PluginError(implementation.plugin_name, hook, problem, **arguments)
            blame.__cause__ = error
            outcome.force_exception(blame)
            return


def _package_that_raised(traceback: TracebackType | None) -> str:
    """The package of the innermost frame that is not the standard library's."""
    found = ""
    while traceback is not None:
        package = _package(traceback.tb_frame.f_globals.get("__name__", ""))
        if package not in sys.stdlib_module_names:
            found = package
        traceback = traceback.tb_next
    return found


def _package(module: str) -> str:
    return module.partition(".")[0]
