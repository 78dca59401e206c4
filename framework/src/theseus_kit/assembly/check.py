"""What can be wrong with a choice of plugins, found before anything of them runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from theseus_kit.assembly.catalogue import Catalogue, closest
from theseus_kit.errors import AssemblyError
from theseus_kit.hookspecs import GROUPS, Group, Open
from theseus_kit.machine.protocol import Ability
from theseus_kit.marks import OPTIONAL, PROJECT
from theseus_kit.plugin import Plugin, PluginDescription


def hooks_of(specification: type) -> dict[str, Callable[..., Any]]:
    """Return the hooks that a class of hookspecs declares, by name."""
    return {
        name: member
        for name, member in vars(specification).items()
        if hasattr(member, f"{PROJECT}_spec")
    }


def implementations_of(plugin: type[Plugin]) -> dict[str, tuple[Callable[..., Any], bool]]:
    """Return a plugin's hook implementations by hook name, and whether each is a wrapper."""
    found: dict[str, tuple[Callable[..., Any], bool]] = {}
    for base in reversed(plugin.__mro__):
        for name, member in vars(base).items():
            marks = getattr(member, f"{PROJECT}_impl", None)
            if marks is not None:
                is_wrapper = bool(marks.get("wrapper") or marks.get("hookwrapper"))
                found[marks.get("specname") or name] = (member, is_wrapper)
    return found


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's parameters; inspect.signature takes 20 times as long."""
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def check_plugins(plugins: Sequence[type[Plugin]], catalogue: Catalogue) -> dict[Group, str]:
    """Check a choice of plugins against the contract; return who provides each group.

    Raises AssemblyError that names the plugin, the hook and the remedy.
    """
    for plugin in plugins:
        _check_description(plugin)
    names = [plugin.description.name for plugin in plugins]
    for name in names:
        if names.count(name) > 1:
            raise AssemblyError(f"plugin {name!r} is listed twice: remove one of the two")
    for plugin in plugins:
        _check_signatures(plugin)
    return dict(_providers(plugins, catalogue))


def check_abilities(
    plugins: Sequence[type[Plugin]], machine: str, abilities: frozenset[Ability]
) -> None:
    """Raise AssemblyError if a plugin needs what the machine cannot do."""
    for plugin in plugins:
        missing = plugin.description.needs - abilities
        if missing:
            shown = ", ".join(sorted(ability.value for ability in missing))
            raise AssemblyError(
                f"plugin {plugin.description.name!r} needs {shown}, which the machine "
                f"{machine!r} lacks: choose another machine or another plugin"
            )


def _providers(
    plugins: Sequence[type[Plugin]], catalogue: Catalogue
) -> Iterator[tuple[Group, str]]:
    for group, specification in GROUPS.items():
        providers = [plugin for plugin in plugins if group in plugin.description.provides]
        if not providers:
            candidates = catalogue.providers_of(group)
            remedy = f"add one of {', '.join(candidates)}" if candidates else "install one"
            raise AssemblyError(f"no plugin of the assembly provides {group.value}: {remedy}")
        if len(providers) > 1:
            both = " and ".join(repr(plugin.description.name) for plugin in providers)
            raise AssemblyError(f"{both} provide {group.value} both: choose one of them")
        _check_complete(providers[0], group, specification)
        yield group, providers[0].description.name


def _check_description(plugin: type[Plugin]) -> None:
    description = getattr(plugin, "description", None)
    if not isinstance(description, PluginDescription):
        raise AssemblyError(
            f"{plugin.__qualname__} has no `description = PluginDescription(name=…, version=…)`"
        )
    for group in description.provides:
        if group not in GROUPS:
            raise AssemblyError(
                f"plugin {description.name!r} says it provides {group!r}: name members of Group, "
                "as in provides=frozenset({Group.MEMORY_MAPPING})"
            )


def _check_complete(plugin: type[Plugin], group: Group, specification: type) -> None:
    implemented = implementations_of(plugin)
    for name, hook in hooks_of(specification).items():
        answers = name in implemented and not implemented[name][1]
        if not answers and not hasattr(hook, OPTIONAL):
            raise AssemblyError(
                f"plugin {plugin.description.name!r} says it provides {group.value} but does not "
                f"implement the hook {name}"
            )


def _check_signatures(plugin: type[Plugin]) -> None:
    groups = {name: group for group, spec in GROUPS.items() for name in hooks_of(spec)}
    specifications = {
        name: hook for spec in (*GROUPS.values(), Open) for name, hook in hooks_of(spec).items()
    }
    own = plugin.description.name
    for name, (function, is_wrapper) in implementations_of(plugin).items():
        if name not in specifications:
            raise AssemblyError(
                f"plugin {own!r} implements {name}, which is no hook{closest(name, specifications)}"
            )
        known = parameters_of(specifications[name])
        for parameter in parameters_of(function)[1:]:
            if parameter not in known:
                raise AssemblyError(
                    f"plugin {own!r}, hook {name}: it has no argument {parameter!r}"
                    f"{closest(parameter, known[1:])}"
                )
        group = groups.get(name)
        if group is not None and not is_wrapper and group not in plugin.description.provides:
            raise AssemblyError(
                f"plugin {own!r} implements {name} but does not say it provides {group.value}: "
                f"add Group.{group.name} to its description, or make it a wrapper"
            )
