"""What the cross-package tests share: assembled platforms, one for each machine and module."""

from __future__ import annotations

import ctypes
import os
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


@pytest.fixture
def bound_by_modes() -> Iterator[None]:
    """What the test starts may read and write what files' modes say, even where root runs it.

    By capabilities(7), "The securebits flags": with SECBIT_NOROOT root's children have the
    capabilities of any user, none.
    """
    if os.geteuid() != 0:
        yield
        return
    set_securebits, noroot = 28, 1 << 0
    control = ctypes.CDLL(None, use_errno=True).prctl
    if control(set_securebits, noroot, 0, 0, 0):
        pytest.skip(f"root reads everything: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        control(set_securebits, 0, 0, 0, 0)
