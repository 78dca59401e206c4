"""What the cross-package tests share: assembled platforms, one for each machine and module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from theseus_kit import Platform, assemble
from theseus_kit.machine import machine_names

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="session", params=machine_names())
def machine(request: pytest.FixtureRequest) -> str:
    """Every test that asks for a machine runs on each there is."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def platform(machine: str) -> Iterator[Platform]:
    """A booted platform of the bundled plugins, shared by a module's tests."""
    with assemble(machine=machine) as assembled:
        assembled.boot()
        yield assembled


@pytest.fixture
def examples() -> Path:
    return EXAMPLES
