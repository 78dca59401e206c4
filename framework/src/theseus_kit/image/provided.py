"""The symbols that plugins provide to images, and stand-ins for those that nobody does.

Nothing is made before it is asked for: a library imports many functions it never calls, and most
of what plugins offer no image ever names. A function becomes an address by the export function
the namespace was given; a variable becomes guest memory in an arena.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from theseus_kit.errors import MissingSymbolError
from theseus_kit.values.linkage import CFunction, CObject
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AtAddress,
    MapRequest,
    Protection,
    page_ceil,
)
from theseus_kit.values.record import NamedTuple
from theseus_kit.values.tls import TlsTemplate

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine

_ARENA_SIZE = 64 << 10


class Provided(NamedTuple):
    """A C symbol and the plugin it comes from."""

    plugin: str
    symbol: CFunction | CObject


class ProvidedSymbols:
    """What plugins provide, by name; of equal names the first one counts."""

    def __init__(
        self, machine: Machine, hooks: HookRelay, export_function: Callable[[CFunction], int]
    ) -> None:
        self._machine = machine
        self._export_function = export_function
        self._arena = Arena(machine, hooks)
        self._hooks = hooks
        self._symbols: dict[str, Provided] = {}
        self._addresses: dict[str, int] = {}
        self._modules: dict[str, int] = {}
        self._stubs: dict[tuple[str, str], int] = {}

    def provide(self, plugin: str, symbol: CFunction | CObject) -> bool:
        """Offer a symbol. False if an earlier one has the name, which then stays."""
        return self._symbols.setdefault(symbol.name, offer := Provided(plugin, symbol)) is offer

    def get(self, name: str) -> Provided | None:
        """What is provided under a name."""
        return self._symbols.get(name)

    def names(self) -> Iterable[str]:
        """Every name under which something is provided."""
        return self._symbols

    def address(self, name: str) -> int | None:
        """The guest address of what is provided under a name, made at its first use.

        None if nothing is, and for thread-local variables, which have an address in each task.
        """
        address = self._addresses.get(name)
        if address is None:
            provided = self._symbols.get(name)
            if provided is None:
                return None
            symbol = provided.symbol
            if isinstance(symbol, CFunction):
                address = self._export_function(symbol)
            elif symbol.thread_local:
                return None
            else:
                address = self._arena.place(symbol.initial, symbol.alignment)
                if symbol.placed is not None:
                    symbol.placed(address)
            self._addresses[name] = address
        return address

    def thread_local(self, name: str) -> int | None:
        """The TLS module of a provided thread-local variable, made at its first use."""
        module = self._modules.get(name)
        if module is None:
            provided = self._symbols.get(name)
            if provided is None or not isinstance(provided.symbol, CObject):
                return None
            symbol = provided.symbol
            if not symbol.thread_local:
                return None
            template = TlsTemplate(
                provided.plugin,
                self._arena.place(symbol.initial, symbol.alignment),
                len(symbol.initial),
                symbol.alignment,
                symbol.initial,
                static=True,
            )
            module = self._modules[name] = self._hooks.tls_add_module(template=template)
        return module

    def zero_words(self) -> int:
        """The address of zero words: an empty argv, an empty environment."""
        address = self._addresses.get("")
        if address is None:
            address = self._addresses[""] = self._arena.place(bytes(16), 16)
        return address

    def missing_function(self, name: str, image: str) -> int:
        """A stub whose call raises MissingSymbolError."""
        key = (name, image)
        if key not in self._stubs:
            self._stubs[key] = self._machine.export(
                partial(_call_missing, name, image), 0, name=f"missing {name}"
            )
        return self._stubs[key]

    def missing_variable(self, name: str, image: str) -> int:
        """A page nobody can touch, under a label that names what is missing."""
        key = (name, image)
        if key not in self._stubs:
            request = MapRequest(
                PAGE_SIZE, Protection.NONE, label=f"variable {name}, which {image} misses"
            )
            self._stubs[key] = self._hooks.memory_map(request=request).base
        return self._stubs[key]


class Arena:
    """Writable guest memory for small objects that live as long as the platform.

    ┌───────┬─────────────────────────┬───────┐
    │ guard │ object, object, … free  │ guard │   another one is mapped when it is full
    └───────┴─────────────────────────┴───────┘
    """

    def __init__(self, machine: Machine, hooks: HookRelay) -> None:
        self._machine = machine
        self._hooks = hooks
        self._next = 0
        self._end = 0

    def place(self, initial: bytes, alignment: int) -> int:
        """Copy bytes to aligned memory of their own and return its address."""
        address = self._next + alignment - 1 & -alignment
        if address + len(initial) > self._end:
            self._map(len(initial) + alignment)
            address = self._next + alignment - 1 & -alignment
        self._next = address + max(1, len(initial))
        self._machine.memory.write(address, initial)
        return address

    def _map(self, size: int) -> None:
        size = max(_ARENA_SIZE, page_ceil(size))
        whole = self._hooks.memory_map(
            request=MapRequest(size + 2 * PAGE_SIZE, Protection.NONE, label="guard of C variables")
        )
        self._hooks.memory_map(
            request=MapRequest(
                size,
                Protection.READ_WRITE,
                AtAddress(whole.base + PAGE_SIZE, replace=True),
                label="C variables",
            )
        )
        self._next = whole.base + PAGE_SIZE
        self._end = self._next + size


def _call_missing(name: str, image: str) -> int:
    raise MissingSymbolError(name, image)
