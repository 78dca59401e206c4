"""The provider ``tls-theseus``: thread-local storage as Theseus lays it out, without a heap.

Every module has one offset from the thread pointer, the same in all tasks, from the moment it is
added::

    low addresses                                                    high addresses
    ┌──────┬──────────┬──────────┬──────────────────────┬──────────┬──────────┬──────┐
    │ room │ static 2 │ static 1 │ thread control block │ dynamic 1│ dynamic 2│ room │
    └──────┴──────────┴──────────┴──────────────────────┴──────────┴──────────┴──────┘
                                 ^ FS base

What differs from ``tlibc``: a variable's address is one addition, and nothing is allocated after
a task's start; the room is bounded (option ``room``), and what a removed module had is not given
again; destructors run in the order of registration, as Theseus runs them, which C++ and Rust's
standard library do not expect. Theseus's own control block is the self pointer alone; the words
that Linux's code expects behind it are there too.
Source: Theseus, ``kernel/no_std/src/tls_initializer``, ``thread_local_macro``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from theseus_kit.capabilities import Capability
from theseus_kit.errors import (
    AssemblyError,
    InvalidParameterError,
    NotRegisteredError,
    OutOfMemoryError,
)
from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.plugin import Plugin, PluginDescription, Services, option
from theseus_kit.values.memory import PAGE_SIZE, MapRequest, page_ceil

if TYPE_CHECKING:
    from theseus_kit.task import Task
    from theseus_kit.values.tls import TlsTemplate

SELF, SELF_AGAIN, CANARY, CONTROL_BLOCK_SIZE = 0x00, 0x10, 0x28, 0x40
DESTRUCTOR_ITERATIONS = 4
"""PTHREAD_DESTRUCTOR_ITERATIONS: how often a key's destructor may set its key again."""


@dataclass(frozen=True)
class TheseusTlsOptions:
    """What can be set of the plugin."""

    room: int = option(
        16 << 20,
        help="bytes a task has for static variables, and as many for the others; only pages that "
        "are touched cost anything",
    )


class _Area:
    """What one task has."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer
        self.values: dict[int, int] = {}
        self.destructors: list[tuple[int, int]] = []


class TheseusTlsPlugin(Plugin):
    """Thread-local storage with one fixed offset for each module, and no heap."""

    description = PluginDescription(
        name="tls-theseus",
        version="0.1.0",
        summary="thread-local storage as Theseus lays it out: fixed offsets, no heap",
        provides=frozenset({Group.THREAD_LOCAL_STORAGE}),
        options=TheseusTlsOptions,
        lacks=frozenset({Capability.MODULE_REMOVAL, Capability.DESTRUCTORS_LAST_FIRST}),
    )

    def __init__(self, services: Services, options: TheseusTlsOptions) -> None:
        super().__init__(services, options)
        if options.room < PAGE_SIZE:
            raise AssemblyError(f"plugin 'tls-theseus': option room must be {PAGE_SIZE} or more")
        self._room = page_ceil(options.room)
        self._memory = services.machine.memory
        self._numbers = count(1)
        self._modules: dict[int, TlsTemplate] = {}
        self._offsets: dict[int, int] = {}
        self._below, self._above = 0, CONTROL_BLOCK_SIZE
        self._areas: dict[Task, _Area] = {}
        self._keys: dict[int, int] = {}

    @hookimpl
    def tls_add_module(self, template: TlsTemplate) -> int:
        step = template.alignment
        below, above = self._below, self._above
        if template.static:
            below = -(-(below + template.size) // step) * step
            offset = -below
        else:
            offset = -(-above // step) * step
            above = offset + template.size
        if below > self._room or above > self._room or step > PAGE_SIZE:
            raise OutOfMemoryError(f"{template.image}: no room for {template.size} bytes of TLS")
        self._below, self._above = below, above
        module = next(self._numbers)
        self._modules[module], self._offsets[module] = template, offset
        for area in self._areas.values():
            self._memory.write(area.pointer + offset, template.initial)
        return module

    @hookimpl
    def tls_remove_module(self, module: int) -> None:
        if self._modules.pop(module, None) is None:
            raise NotRegisteredError(f"no TLS module {module}")
        del self._offsets[module]

    @hookimpl
    def tls_static_offset(self, module: int) -> int:
        template = self._modules.get(module)
        if template is None or not template.static:
            raise InvalidParameterError(f"TLS module {module} has no static offset")
        return self._offsets[module]

    @hookimpl
    def tls_create_area(self, task: Task) -> int:
        request = MapRequest(2 * self._room, label=f"thread-local storage of {task.name}")
        pointer: int = self.services.hooks.memory_map(request=request).base + self._room
        self._areas[task] = _Area(pointer)
        for slot in (SELF, SELF_AGAIN):
            self._memory.write_u64(pointer + slot, pointer)
        # A zero byte at its low end stops string functions from copying it.
        self._memory.write(pointer + CANARY, b"\0" + self.services.random_bytes(7))
        for module, template in self._modules.items():
            self._memory.write(pointer + self._offsets[module], template.initial)
        return pointer

    @hookimpl
    def tls_destroy_area(self, task: Task) -> None:
        area = self._areas.pop(task, None)
        if area is not None:
            base = area.pointer - self._room
            self.services.hooks.memory_unmap(address=base, size=2 * self._room)

    @hookimpl
    def tls_address(self, task: Task, module: int, offset: int) -> int:
        if module not in self._offsets:
            raise NotRegisteredError(f"no TLS module {module}")
        return self._area(task).pointer + self._offsets[module] + offset

    @hookimpl
    def tls_key_create(self, destructor: int) -> int:
        key = next(self._numbers)
        self._keys[key] = destructor
        return key

    @hookimpl
    def tls_key_delete(self, key: int) -> None:
        self._check_key(key)
        del self._keys[key]
        for area in self._areas.values():
            area.values.pop(key, None)

    @hookimpl
    def tls_key_get(self, task: Task, key: int) -> int:
        return self._area(task).values.get(key, 0)

    @hookimpl
    def tls_key_set(self, task: Task, key: int, value: int) -> None:
        self._check_key(key)
        self._area(task).values[key] = value

    @hookimpl
    def tls_add_destructor(self, task: Task, function: int, argument: int) -> None:
        self._area(task).destructors.append((function, argument))

    @hookimpl
    def tls_run_destructors(self, task: Task) -> None:
        area, call = self._area(task), self.services.machine.call
        while area.destructors:
            function, argument = area.destructors.pop(0)
            call(function, (argument,))
        for _ in range(DESTRUCTOR_ITERATIONS):
            for key, value in list(area.values.items()):
                destructor = self._keys.get(key, 0)
                if value and destructor:
                    area.values[key] = 0
                    call(destructor, (value,))

    def _area(self, task: Task) -> _Area:
        area = self._areas.get(task)
        if area is None:
            raise InvalidParameterError(f"task {task.name!r} has no thread-local storage")
        return area

    def _check_key(self, key: int) -> None:
        if key not in self._keys:
            raise InvalidParameterError(f"no key {key}")
