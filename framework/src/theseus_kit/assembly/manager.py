"""The plugin manager of one platform: pluggy's, told where to look for hook implementations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

import pluggy

from theseus_kit.assembly.hooks import DirectCall, Hooks, direct_call
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
        super().add_hookcall_monitoring(_nothing_before, _blame)
        self._watchers = 0
        self._hooks = Hooks(self)

    @property
    def hooks(self) -> pluggy.HookRelay:
        """How a platform calls its hooks: as by ``hook``, and faster."""
        return cast("pluggy.HookRelay", self._hooks)

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Add a plugin, as pluggy does; from now on its hooks are called."""
        registered = super().register(plugin, name)
        self._hooks.forget()
        return registered

    def unregister(self, plugin: object | None = None, name: str | None = None) -> Any:
        """Take a plugin out, as pluggy does; its hooks are called no more."""
        removed = super().unregister(plugin, name)
        self._hooks.forget()
        return removed

    def add_hookcall_monitoring(
        self,
        before: Callable[[str, Sequence[pluggy.HookImpl], Mapping[str, Any]], None],
        after: Callable[
            [pluggy.Result[Any], str, Sequence[pluggy.HookImpl], Mapping[str, Any]], None
        ],
    ) -> Callable[[], None]:
        """Watch all calls, as pluggy does, until what is returned is called."""
        stop = super().add_hookcall_monitoring(before, after)
        self._watch(1)

        def stop_watching() -> None:
            stop()
            self._watch(-1)

        return stop_watching

    def _watch(self, more: int) -> None:
        self._watchers += more
        self._hooks.forget()

    def direct_call(
        self, caller: pluggy.HookCaller, settle: Callable[[DirectCall], object]
    ) -> DirectCall | None:
        """Return what a call of a hook comes down to, None if pluggy must see to it."""
        return None if self._watchers else direct_call(caller, _blame_directly, settle)

    def is_wrapped(self, hook: str) -> bool:
        """Whether any plugin wraps a hook, so that every call of it must go through the hook."""
        caller: pluggy.HookCaller = getattr(self.hook, hook)
        return any(
            implementation.wrapper or implementation.hookwrapper
            for implementation in caller.get_hookimpls()
        )

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
    """Have the caller of a hook get an error that names the plugin and the values."""
    error = outcome.exception
    if isinstance(error, Exception):
        blame = _blamed(error, hook, implementations, arguments)
        if blame is not None:
            outcome.force_exception(blame)


def _blame_directly(
    error: Exception, hook: str, implementation: pluggy.HookImpl, arguments: Mapping[str, object]
) -> None:
    blame = _blamed(error, hook, (implementation,), arguments)
    if blame is not None:
        raise blame


def _blamed(
    error: Exception,
    hook: str,
    implementations: Sequence[pluggy.HookImpl],
    arguments: Mapping[str, object],
) -> PluginError | None:
    """Return what an error of a plugin's own code becomes, None for any other.

    What the contract speaks of is left alone, and so is what a plugin only passes on: the error of
    a handler it was given to call, of Python's signal handlers, of a host function.
    """
    if isinstance(error, TheseusKitError):
        return None
    package = _package_that_raised(error.__traceback__)
    for implementation in implementations:
        if package == _package(type(implementation.plugin).__module__):
            problem = f"raised {type(error).__name__}: {error}"
            blame = PluginError(implementation.plugin_name, hook, problem, **arguments)
            blame.__cause__ = error
            return blame
    return None


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
