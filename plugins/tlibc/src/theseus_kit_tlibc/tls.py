"""Thread-local storage: the provider of the group, ELF TLS variant II for x86-64.

One area per task::

    low addresses                                              high addresses
    ┌──────────────┬───────────┬───────────┬────────────────┬────────────────┐
    │ room for     │ block of  │ block of  │ thread control │ dynamic thread │
    │ later images │ module 2  │ module 1  │ block (TCB)    │ vector (DTV)   │
    └──────────────┴───────────┴───────────┴────────────────┴────────────────┘
                                           ^ FS base = thread pointer
    A static module's block starts at FS base + its (negative) static offset, so that initial- and
    local-exec code reaches it as fs:[offset]. The room below is for static modules that are added
    while tasks exist: their blocks are then initialised in every task.

    TCB   fs:0x00  the FS base itself: ``mov rax, fs:0`` is how code learns the address
          fs:0x08  the DTV: how many modules it has room for, then the block of each, or 0
          fs:0x10  the same (pthread_self)
          fs:0x28  stack protector's canary, its lowest byte zero
          fs:0x30  pointer guard

Modules that are not static have their block on the heap, made at the first ``__tls_get_addr``.
Source: Drepper, "ELF Handling For Thread-Local Storage", 3.4.6 and 4.3.
"""

from __future__ import annotations

import errno
from itertools import count
from typing import TYPE_CHECKING

from theseus_kit.errors import (
    InvalidParameterError,
    NotRegisteredError,
    OutOfMemoryError,
    PlatformError,
)
from theseus_kit.values.memory import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit.task import Task
    from theseus_kit.values.tls import TlsTemplate
    from theseus_kit_tlibc.library import Library

STATIC_AREA = 16 * PAGE_SIZE
"""Bytes for the blocks of all static modules together, whole pages: so the thread pointer has the
alignment of a page. glibc's default is far smaller."""
TCB_SIZE = 256
DTV_MODULES = 255
AREA_SIZE = STATIC_AREA + TCB_SIZE + (1 + DTV_MODULES) * 8
SELF, DTV, SELF_AGAIN, CANARY, POINTER_GUARD = 0x00, 0x08, 0x10, 0x28, 0x30
KEYS_MAX = 1024
"""PTHREAD_KEYS_MAX."""
DESTRUCTOR_ITERATIONS = 4
"""PTHREAD_DESTRUCTOR_ITERATIONS: how often a key's destructor may set its key again."""


class _Area:
    """What one task has."""

    def __init__(self, base: int, thread_pointer: int) -> None:
        self.base = base
        self.thread_pointer = thread_pointer
        self.vector = thread_pointer + TCB_SIZE
        self.blocks: dict[int, int] = {}
        self.allocated: dict[int, int] = {}
        self.values: dict[int, int] = {}
        self.destructors: list[tuple[int, int]] = []


class TlsAreas:
    """Every task's thread-local storage on one platform."""

    def __init__(self, library: Library, random_bytes: Callable[[int], bytes]) -> None:
        self._library = library
        self._random_bytes = random_bytes
        self._areas: dict[Task, _Area] = {}
        self._modules: dict[int, TlsTemplate] = {}
        self._numbers = count(1)
        self._static_offsets: dict[int, int] = {}
        self._static_used = 0
        self._keys: dict[int, int] = {}

    def add_module(self, template: TlsTemplate) -> int:
        module = next(self._numbers)
        if template.static:
            # The block's start has the template's alignment, and the thread pointer a page's.
            used = -(-(self._static_used + template.size) // template.alignment)
            used *= template.alignment
            if used > STATIC_AREA or template.alignment > PAGE_SIZE:
                raise OutOfMemoryError(
                    f"{template.image}: no room for {template.size} bytes of static TLS"
                )
            self._static_used = used
            self._static_offsets[module] = -used
        self._modules[module] = template
        if template.static:
            for area in self._areas.values():
                self._place_static(area, module)
        return module

    def remove_module(self, module: int) -> None:
        if self._modules.pop(module, None) is None:
            raise NotRegisteredError(f"no TLS module {module}")
        for area in self._areas.values():
            area.blocks.pop(module, None)
            self._set_vector(area, module, 0)
            self._library.heap.free(area.allocated.pop(module, 0))
        # A static module's room is not given again: images of equal offsets might be live.
        self._static_offsets.pop(module, None)

    def static_offset(self, module: int) -> int:
        offset = self._static_offsets.get(module)
        if offset is None:
            raise InvalidParameterError(f"TLS module {module} has no static offset")
        return offset

    def create_area(self, task: Task) -> int:
        """Map a task's area and return its FS base."""
        base = self._library.map_pages(AREA_SIZE, f"thread-local storage of {task.name}")
        area = _Area(base, base + STATIC_AREA)
        self._areas[task] = area
        memory = self._library.memory
        memory.write_u64(area.thread_pointer + SELF, area.thread_pointer)
        memory.write_u64(area.thread_pointer + DTV, area.vector)
        memory.write_u64(area.vector, DTV_MODULES)
        memory.write_u64(area.thread_pointer + SELF_AGAIN, area.thread_pointer)
        # A zero byte at its low end stops string functions from copying it (glibc: dl-osinfo.h).
        memory.write(area.thread_pointer + CANARY, b"\0" + self._random_bytes(7))
        memory.write(area.thread_pointer + POINTER_GUARD, self._random_bytes(8))
        for module in self._static_offsets:
            self._place_static(area, module)
        return area.thread_pointer

    def _place_static(self, area: _Area, module: int) -> None:
        block = area.thread_pointer + self._static_offsets[module]
        area.blocks[module] = block
        self._library.memory.write(block, self._modules[module].initial)
        self._set_vector(area, module, block)

    def _set_vector(self, area: _Area, module: int, block: int) -> None:
        if module <= DTV_MODULES:
            self._library.memory.write_u64(area.vector + module * 8, block)

    def destroy_area(self, task: Task) -> None:
        area = self._areas.pop(task, None)
        if area is None:
            return
        for block in area.allocated.values():
            self._library.heap.free(block)
        self._library.unmap_pages(area.base, AREA_SIZE)

    def address(self, task: Task, module: int, offset: int) -> int:
        area = self._area(task)
        block = area.blocks.get(module)
        if block is None:
            block = self._make_block(area, module)
        return block + offset

    def _make_block(self, area: _Area, module: int) -> int:
        template = self._modules.get(module)
        if template is None:
            raise NotRegisteredError(f"no TLS module {module}")
        block = self._library.heap.allocate_aligned(max(template.alignment, 16), template.size)
        area.allocated[module] = area.blocks[module] = block
        self._library.memory.write(block, template.initial.ljust(template.size, b"\0"))
        self._set_vector(area, module, block)
        return block

    def key_create(self, destructor: int) -> int:
        if len(self._keys) >= KEYS_MAX:
            raise PlatformError(f"all {KEYS_MAX} keys are taken", errno.EAGAIN)
        key = next(key for key in range(KEYS_MAX) if key not in self._keys)
        self._keys[key] = destructor
        return key

    def key_delete(self, key: int) -> None:
        self._check_key(key)
        del self._keys[key]
        # A later key of the same number starts with no value in any task.
        for area in self._areas.values():
            area.values.pop(key, None)

    def key_get(self, task: Task, key: int) -> int:
        return self._area(task).values.get(key, 0)

    def key_set(self, task: Task, key: int, value: int) -> None:
        self._check_key(key)
        self._area(task).values[key] = value

    def add_destructor(self, task: Task, function: int, argument: int) -> None:
        self._area(task).destructors.append((function, argument))

    def run_destructors(self, task: Task) -> None:
        """Run thread_local destructors, last registered first, then keys' as POSIX says.

        Theseus runs its own in registration order; C++ ([basic.start.term]) and Rust's standard
        library rely on the reverse, and these functions are theirs.
        """
        area = self._area(task)
        call = self._library.machine.call
        while area.destructors:
            function, argument = area.destructors.pop()
            call(function, (argument,))
        for _ in range(DESTRUCTOR_ITERATIONS):
            pending = [key for key in sorted(area.values) if self._destructor(area, key)]
            if not pending:
                return
            for key in pending:
                destructor = self._destructor(area, key)  # another one may have deleted the key
                if destructor:
                    value, area.values[key] = area.values[key], 0
                    call(destructor, (value,))

    def _destructor(self, area: _Area, key: int) -> int:
        """What has to run for an area's value of a key, 0 if nothing."""
        return self._keys.get(key, 0) if area.values.get(key) else 0

    def _area(self, task: Task) -> _Area:
        area = self._areas.get(task)
        if area is None:
            raise InvalidParameterError(f"task {task.name!r} has no thread-local storage")
        return area

    def _check_key(self, key: int) -> None:
        if key not in self._keys:
            raise InvalidParameterError(f"no key {key}")
