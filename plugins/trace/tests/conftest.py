"""Traced platforms, and what their traces say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import BUNDLED, Platform, assemble
from theseus_kit.machine import machine_names


@pytest.fixture(params=machine_names())
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Traced:
    """A platform whose trace goes to a file."""

    def __init__(self, platform: Platform, file: Path) -> None:
        self.platform = platform
        self.file = file

    def call(self, name: str, *arguments: int) -> int:
        """Call a C function as a guest does."""
        address = self.platform.namespace.resolve(name)
        assert address is not None
        return self.platform.machine.call(address, arguments)

    def place(self, data: bytes) -> int:
        """Put bytes into guest memory; return their address."""
        address = self.platform.machine.call(
            self.platform.namespace.resolve("aligned_alloc") or 0, (4096, 4096)
        )
        self.platform.machine.memory.write(address, data)
        return address

    def text(self) -> str:
        return self.file.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The calls of a trace in JSON lines."""
        return [json.loads(line) for line in self.text().splitlines()]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["name"] == name]


@pytest.fixture
def traced(tmp_path: Path) -> Any:
    """Assemble platforms with a trace; they are closed at the end."""
    opened: list[Platform] = []

    def make(machine: str = "emulated", *more: Any, **options: object) -> Traced:
        file = tmp_path / f"trace{len(opened)}"
        platform = assemble(
            ["trace", *more, *BUNDLED], machine, {"trace": {"file": file, **options}}
        )
        opened.append(platform)
        return Traced(platform, file)

    yield make
    for platform in opened:
        platform.close()


TracedMaker = Callable[..., Traced]
