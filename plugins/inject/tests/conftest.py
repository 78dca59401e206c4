"""Platforms whose calls are made to fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from theseus_kit import BUNDLED, Platform, assemble
from theseus_kit.machine import machine_names

# mov eax, 9 (mmap); mov r10, rcx; syscall; ret
MMAP = bytes.fromhex("b809000000 4989ca 0f05 c3")
MASK = (1 << 64) - 1


@pytest.fixture(params=machine_names())
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Guest:
    """Calls a platform's C functions and system calls, as guest code does."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.inject: Any = platform.plugin("inject")
        self._mmap: int | None = None

    def call(self, name: str, *arguments: int) -> int:
        address = self.platform.namespace.resolve(name)
        assert address is not None
        return self.platform.machine.call(address, arguments)

    def mmap(self) -> int:
        """Map a page by the system call; its result, negative where it is an error."""
        machine = self.platform.machine
        if self._mmap is None:
            self._mmap = machine.place_code(MMAP)
        result = machine.call(self._mmap, (0, 4096, 3, 0x22, MASK, 0))
        return result - (1 << 64) if result >> 63 else result

    @property
    def errno(self) -> int:
        return self.platform.machine.memory.read_u32(self.call("__errno_location"))


@pytest.fixture
def guest() -> Iterator[Any]:
    """Assemble platforms with ``inject``; they are closed at the end."""
    opened: list[Platform] = []

    def make(rules: str = "", machine: str = "emulated", **options: object) -> Guest:
        given = {"inject": {"rules": rules, **options}}
        opened.append(assemble(["inject", *BUNDLED], machine, given))
        return Guest(opened[-1])

    yield make
    for platform in opened:
        platform.close()
