"""From a list of plugins to a platform."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from theseus_kit.assembly.catalogue import Catalogue, closest
from theseus_kit.assembly.check import check_abilities, check_plugins
from theseus_kit.assembly.manager import PlatformPluginManager
from theseus_kit.assembly.options import make_options
from theseus_kit.assembly.report import AssemblyReport, Provider
from theseus_kit.errors import AssemblyError, PluginError, TheseusKitError
from theseus_kit.hookspecs import Group
from theseus_kit.machine import create_machine, machine_names, machine_options
from theseus_kit.platform import Platform
from theseus_kit.plugin import Plugin
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine

BUNDLED = ("region", "signals", "backtrace", "path", "tlibc")
"""The plugins of a platform when nobody says otherwise, by entry point."""
TASKS = "tasks"
"""Whose options :class:`TaskOptions` are, beside the plugins' and the machine's."""


def assemble(
    plugins: Iterable[str | type[Plugin]] = BUNDLED,
    machine: str = "emulated",
    options: Mapping[str, Mapping[str, object]] | None = None,
    deterministic: int | None = None,
    own_thread: bool = False,
) -> Platform:
    """Assemble a platform; use it as a context manager, or close it.

    ``plugins`` are names of installed plugins, or plugin classes. Where several answer or wrap a
    hook, the first of the list comes first (a wrapper: outermost). ``options`` are by plugin
    name, or machine name, or ``tasks`` (:class:`TaskOptions`), and then by option name; text is
    converted to the option's type.

    With ``deterministic``, a seed, two runs make the same system calls in the same order, as long
    as what they read from outside is the same: the clock is virtual and jumps where all tasks
    wait, randomness comes from the seed, and tasks switch only where they wait or yield. A task
    that waits for another in a loop of its own, without yielding, waits for ever then.

    With ``own_thread`` all calls of the wasmtime API are made on a thread of the platform's own,
    one after the other, whichever threads they come from. A call costs several times as much.

    Raises AssemblyError, before anything runs, for: a plugin that is unknown or broken, a group
    with no provider or two, a misspelt hook or argument, an unknown option or a value of the wrong
    type, an ability the machine lacks.

    ::

        with assemble(["region", "signals", "backtrace", "path", "tlibc"]) as platform:
            image = platform.load("/lib/x86_64-linux-gnu/libz.so.1")
            print(image.call("zlibCompileFlags"))
    """
    by_owner = dict(options or {})
    # First of all: what a machine prepares by itself goes on while plugins are imported.
    cpu = _create_machine(machine, by_owner.pop(machine, {}))
    try:
        choice = choose(plugins, machine, by_owner)
        check_abilities(choice.plugins, machine, cpu.abilities)
        versions = {
            plugin.description.name: plugin.description.version for plugin in choice.plugins
        }
        report = AssemblyReport(
            machine=cpu.name,
            machine_details=cpu.details,
            providers=tuple(
                Provider(group.value, name, versions[name])
                for group, name in choice.providers.items()
            ),
            others=tuple(
                (plugin.description.name, plugin.description.version)
                for plugin in choice.plugins
                if not plugin.description.provides
            ),
        )
        manager = PlatformPluginManager()
        platform = Platform(cpu, manager, report, choice.task_options, deterministic, own_thread)
        _build(platform, manager, choice)
        cpu.idle()
        return platform
    except BaseException:
        cpu.close()
        raise


class Choice(NamedTuple):
    """What is assembled, checked: nothing of it has been made yet."""

    plugins: list[type[Plugin]]
    providers: dict[Group, str]
    options: Mapping[str, Any]
    """An object of its options class for each plugin, by name."""
    task_options: Mapping[str, Any]


def choose(
    plugins: Iterable[str | type[Plugin]],
    machine: str,
    options: Mapping[str, Mapping[str, object]],
) -> Choice:
    """Check all of a choice that can be checked without a machine, and make its options.

    ``machine`` is named in messages. Raises AssemblyError as :func:`assemble` does, but for
    what concerns the machine alone.
    """
    catalogue = Catalogue()
    chosen = [_plugin(plugin, catalogue) for plugin in plugins]
    providers = check_plugins(chosen, catalogue)
    by_owner = dict(options)
    made = {
        plugin.description.name: make_options(
            f"plugin {plugin.description.name!r}",
            plugin.description.options,
            by_owner.pop(plugin.description.name, {}),
        )
        for plugin in chosen
    }
    task_options = _task_options(by_owner.pop(TASKS, {}))
    if by_owner:
        stranger = next(iter(by_owner))
        known = [*made, machine, TASKS]
        raise AssemblyError(
            f"options for {stranger!r}, which is not in the assembly{closest(stranger, known)}"
        )
    return Choice(chosen, providers, made, task_options)


def _create_machine(name: str, values: Mapping[str, object]) -> Machine:
    if name not in machine_names():
        raise AssemblyError(f"no machine is named {name!r}{closest(name, machine_names())}")
    settings = make_options(f"machine {name!r}", machine_options(name), values)
    return create_machine(name, vars(settings))


def _plugin(plugin: str | type[Plugin], catalogue: Catalogue) -> type[Plugin]:
    if isinstance(plugin, str):
        return catalogue.plugin(plugin)
    if isinstance(plugin, type) and issubclass(plugin, Plugin):
        return plugin
    raise AssemblyError(f"{plugin!r} is neither the name of a plugin nor a Plugin class")


def _task_options(values: Mapping[str, object]) -> Mapping[str, Any]:
    """The options of tasks, checked."""
    if not values:
        return {}
    from theseus_kit.task.options import TaskOptions

    options: TaskOptions = make_options(TASKS, TaskOptions, values)
    return vars(options)


def _build(platform: Platform, manager: PlatformPluginManager, choice: Choice) -> Platform:
    # pluggy calls the plugin registered last first: the list's order is the reverse of that.
    for plugin in reversed(choice.plugins):
        name = plugin.description.name
        try:
            made = plugin(platform.services, choice.options[name])
        except TheseusKitError:
            raise
        except Exception as error:
            problem = f"raised {type(error).__name__}: {error}"
            raise PluginError(name, "__init__", problem) from error
        manager.register(made, name=name)
    platform.start()
    return platform
