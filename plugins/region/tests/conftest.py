"""A machine with the memory-mapping hooks alone, which is all that these tests need."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import pluggy
import pytest

from theseus_kit.hookspecs import GROUPS, PROJECT, Open
from theseus_kit.machine import create_machine
from theseus_kit.machine.protocol import Machine, Memory
from theseus_kit.plugin import Services
from theseus_kit.task import Tasks
from theseus_kit.values.memory import PAGE_SIZE, AtAddress, MapRequest, Protection, Region
from theseus_kit_region import RegionOperations, RegionOptions, RegionPlugin

if TYPE_CHECKING:
    from theseus_kit.image import Namespace


class MappedMachine:
    """A machine, its memory, the hooks over it, and region-rs's operations over the hooks."""

    def __init__(
        self,
        machine: Machine,
        options: RegionOptions,
        provider: type[RegionPlugin] = RegionPlugin,
    ) -> None:
        manager = pluggy.PluginManager(PROJECT)
        for specification in (*GROUPS.values(), Open):
            manager.add_hookspecs(specification)
        # The plugin uses the machine only: no image is loaded, so there is no namespace.
        services = Services(machine, manager.hook, Tasks(machine), cast("Namespace", None))
        self.plugin = provider(services, options)
        manager.register(self.plugin)
        self.machine = machine
        self.memory: Memory = machine.memory
        self.hooks = manager.hook
        self.operations = RegionOperations(manager.hook)

    def regions(self) -> list[Region]:
        """Everything that is mapped."""
        return list(self.hooks.memory_query_range(address=0, size=(1 << 64) - 1))

    def map_pages(self, protections: list[Protection]) -> int:
        """Map pages side by side, one of each protection; return the first one's address."""
        size = len(protections) * PAGE_SIZE
        base: int = self.hooks.memory_map(request=MapRequest(size, Protection.NONE)).base
        for index, protection in enumerate(protections):
            place = AtAddress(base + index * PAGE_SIZE, replace=True)
            self.hooks.memory_map(request=MapRequest(PAGE_SIZE, protection, place))
        return base

    def map_mixed(self) -> int:
        """Map a read-write page, a hole, and a read-only page; return the first one's address."""
        base = self.map_pages([Protection.READ_WRITE, Protection.NONE, Protection.READ])
        self.hooks.memory_unmap(address=base + PAGE_SIZE, size=PAGE_SIZE)
        return base


@pytest.fixture
def make_mapped() -> Iterator[Callable[..., MappedMachine]]:
    with ExitStack() as stack:

        def make(**options: int) -> MappedMachine:
            machine = create_machine("emulated", {})
            stack.callback(machine.close)
            return MappedMachine(machine, RegionOptions(**options))

        yield make


@pytest.fixture
def mapped(make_mapped: Callable[..., MappedMachine]) -> MappedMachine:
    return make_mapped()


@pytest.fixture
def mapped_machine() -> type[MappedMachine]:
    """For tests of another provider or machine."""
    return MappedMachine
