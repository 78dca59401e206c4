"""What the headers of the C library share: memory, heap, options, and the other plugins' hooks."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit.plugin import option
from theseus_kit.values.memory import MapRequest, Protection
from theseus_kit_tlibc.direct import DirectDescriptors
from theseus_kit_tlibc.files import OPEN_MAX, Files
from theseus_kit_tlibc.heap import Heap
from theseus_kit_tlibc.locations import Locations
from theseus_kit_tlibc.locks import Locks
from theseus_kit_tlibc.transfer import Transfers

if TYPE_CHECKING:
    from collections.abc import Callable

    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine, Memory
    from theseus_kit.plugin import Services
    from theseus_kit.task import Task
    from theseus_kit.values.paths import Location


@dataclass(eq=False, repr=False)
class Options:
    """What a user may set of the C library."""

    environment: str = option(
        "",
        help="the guest's environment, comma-separated: NAME=VALUE sets, NAME passes the host's "
        "on, * all of the host's",
    )
    directory: str = option("/", help="the guest's working directory, an absolute path")
    seed: int | None = option(
        None, help="seed of the C library's randomness alone; without one the platform's"
    )
    processors: int = option(1, help="how many processors the guest is told it has")
    max_open_files: int = option(
        OPEN_MAX, help="how many descriptors the guest may have open: EMFILE beyond"
    )


class Library:
    """One platform's C library state. Nothing here may ask a hook before a task exists."""

    def __init__(self, services: Services, options: Options) -> None:
        self.services = services
        self.options = options
        self.machine: Machine = services.machine
        self.memory: Memory = services.machine.memory
        self.files = Files(options.max_open_files)
        self.locations = Locations(self)
        self.locks = Locks(self)
        self.files.closing = self.locks.forget
        self.transfers = Transfers(self)
        self.direct = DirectDescriptors(self)
        self.at_exit: list[Callable[[], None]] = []
        """What exit() does after the guest's own functions."""
        self._constants: dict[bytes, int] = {}

    @property
    def hooks(self) -> HookRelay:
        return self.services.hooks

    @property
    def task(self) -> Task:
        """The task whose call is being served."""
        return self.services.tasks.current

    @cached_property
    def heap(self) -> Heap:
        return Heap(self.memory, self.map_pages, self.unmap_pages)

    @cached_property
    def environment(self) -> dict[bytes, bytes]:
        """The variables the guest may see."""
        import os

        chosen: dict[bytes, bytes] = {}
        for entry in filter(None, self.options.environment.split(",")):
            name, sets, value = entry.strip().partition("=")
            if name == "*" and not sets:
                chosen.update(os.environb)
            elif sets:
                chosen[os.fsencode(name)] = os.fsencode(value)
            elif name in os.environ:
                chosen[os.fsencode(name)] = os.fsencode(os.environ[name])
        return chosen

    def provided(self, name: str) -> int:
        """The address of one of this library's own functions, for machine code to jump to."""
        address = self.services.namespace.resolve(name)
        if address is None:
            raise PlatformError(f"{name} is not provided", errno.ENOENT)
        return address

    def constant(self, data: bytes) -> int:
        """The guest address of bytes that never change; the same bytes have one address."""
        address = self._constants.get(data)
        if address is None:
            address = self._constants[data] = self.heap.allocate(len(data))
            self.memory.write(address, data)
        return address

    def path(self, pathname: int) -> Location:
        """What a C string names, from the working directory where it is relative."""
        return self.locations.here(pathname)

    def now(self) -> int:
        """Nanoseconds since the epoch, by the platform's clock."""
        return self.services.clock.realtime_ns()

    def sleep(self, nanoseconds: int) -> None:
        """Let other tasks run for a while; for functions that are declared as blocking."""
        self.services.tasks.sleep(nanoseconds)

    def map_pages(self, size: int, label: str) -> int:
        """Map zeroed, writable pages of the library's own. Raises OutOfMemoryError."""
        base: int = self.hooks.memory_map(
            request=MapRequest(size, Protection.READ_WRITE, label=label)
        ).base
        return base

    def unmap_pages(self, address: int, size: int) -> None:
        self.hooks.memory_unmap(address=address, size=size)
