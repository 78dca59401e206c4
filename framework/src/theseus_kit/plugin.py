"""What a plugin is: a class that describes itself and is made once for each platform.

::

    from dataclasses import dataclass
    from theseus_kit import Group, Plugin, PluginDescription, hookimpl, option

    @dataclass(frozen=True)
    class Options:
        slots: int = option(4, help="how many handlers a task may register")

    class MyHandlers(Plugin):
        description = PluginDescription(
            name="my-handlers", version="1.0", summary="handlers that count",
            provides=frozenset({Group.EXCEPTION_REGISTRATION}), options=Options,
        )

        @hookimpl
        def exception_register(self, task, category, handler): ...

and in its package's pyproject.toml ``[project.entry-points.theseus_kit]`` with
``my-handlers = "my_package:MyHandlers"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from theseus_kit.clock import HostClock, host_bytes
from theseus_kit.hookspecs import Group
from theseus_kit.machine.protocol import Ability
from theseus_kit.options import option as option
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pluggy import HookRelay

    from theseus_kit.capabilities import Capability
    from theseus_kit.clock import Clock
    from theseus_kit.image import Namespace
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task import Tasks


@dataclass(eq=False, repr=False)
class NoOptions:
    """The options of a plugin that has none."""


class PluginDescription(NamedTuple):
    """What a plugin says of itself; read without making the plugin."""

    name: str
    version: str
    summary: str = ""
    provides: frozenset[Group] = frozenset()
    """The groups it answers; empty for a wrapper or a plugin with C functions only."""
    needs: frozenset[Ability] = frozenset()
    """What it cannot do without: see :class:`Ability`."""
    options: type[Any] = NoOptions
    """A dataclass whose fields are made by :func:`option`."""
    lacks: frozenset[Capability] = frozenset()
    """What of its groups' contract it does without: see :class:`Capability`."""


class Services(NamedTuple):
    """What a plugin may use of the platform it is part of.

    ``hooks`` asks the other plugins (``services.hooks.memory_map(request=…)``); they can be asked
    from the first ``task_started`` on, not while plugins are being made.
    """

    machine: Machine
    hooks: HookRelay
    tasks: Tasks
    namespace: Namespace
    clock: Clock = HostClock()
    """The time, as everything on the platform has it: nobody asks Python's or the host's."""
    random_bytes: Callable[[int], bytes] = host_bytes
    """Returns that many random bytes: the host's, or those of a deterministic platform's seed."""
    is_wrapped: Callable[[str], bool] = lambda hook: False
    """Whether any plugin wraps a hook: ``services.is_wrapped("memory_protect")``.

    What answers in a hook's place without asking it, as machine code for a system call may, asks
    this first, from the first ``task_started`` on, and does not answer where it is true: the
    wrapper has to see every call, and may refuse it. For the C function or the system call itself
    nothing need be asked: whoever wraps it takes its ``machine_code`` away.
    """


class Plugin:
    """Base of every plugin. One instance belongs to one platform and keeps its state there."""

    description: ClassVar[PluginDescription]

    def __init__(self, services: Services, options: Any) -> None:
        self.services = services
        self.options = options
