"""The plugins installed in this environment, found by entry point.

A plugin that cannot be imported is listed as broken with the reason, and hinders no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from theseus_kit.assembly.entry_points import EntryPoint, entry_points
from theseus_kit.errors import AssemblyError
from theseus_kit.hookspecs import PROJECT, Group
from theseus_kit.plugin import Plugin, PluginDescription


class Installed:
    """An entry point of the group ``theseus_kit``; its plugin is imported when first asked for."""

    def __init__(self, entry_point: EntryPoint) -> None:
        self.entry_point = entry_point

    @property
    def name(self) -> str:
        return self.entry_point.name

    @property
    def distribution(self) -> str:
        """The distribution that brought it, with its version."""
        return self.entry_point.distribution

    @cached_property
    def _loaded(self) -> tuple[type[Plugin] | None, str | None]:
        try:
            loaded = self.entry_point.load()
        except Exception as error:  # noqa: BLE001 - whatever a stranger's import raises is its reason
            return None, f"{type(error).__name__}: {error}"
        if not (isinstance(loaded, type) and issubclass(loaded, Plugin)):
            return None, f"{self.entry_point.value} is not a subclass of theseus_kit.Plugin"
        if not isinstance(getattr(loaded, "description", None), PluginDescription):
            return None, f"{self.entry_point.value} has no `description = PluginDescription(...)`"
        return loaded, None

    @property
    def plugin(self) -> type[Plugin] | None:
        """The plugin's class, None if it is broken."""
        return self._loaded[0]

    @property
    def problem(self) -> str | None:
        """Why it is broken, None if it is not."""
        return self._loaded[1]

    @property
    def description(self) -> PluginDescription | None:
        return None if self.plugin is None else self.plugin.description


class Catalogue:
    """What is installed, by name."""

    def __init__(self) -> None:
        self._installed = {entry.name: Installed(entry) for entry in entry_points(PROJECT)}

    def __iter__(self) -> Iterator[Installed]:
        return iter(sorted(self._installed.values(), key=lambda installed: installed.name))

    def plugin(self, name: str) -> type[Plugin]:
        """Return a plugin's class by its entry point's name.

        Raises AssemblyError for one that is not installed, or broken.
        """
        installed = self._installed.get(name)
        if installed is None:
            raise AssemblyError(
                f"no plugin named {name!r} is installed{closest(name, self._installed)}"
            )
        if installed.plugin is None:
            raise AssemblyError(
                f"plugin {name!r} of {installed.distribution} is broken: {installed.problem}"
            )
        return installed.plugin

    def providers_of(self, group: Group) -> list[str]:
        """Return the names of the installed plugins that provide a group."""
        return [
            installed.name
            for installed in self
            if installed.description is not None and group in installed.description.provides
        ]


def closest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, or list what there is; starts with ``: ``."""
    import difflib  # only what is misspelt needs it

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f": did you mean {near[0]!r}?"
    return f": there is {', '.join(names)}" if names else ": there is none"
