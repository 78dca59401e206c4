"""A native machine with a stack, and programs that run in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from theseus_kit.machine.native import NativeMachine, NativeOptions
from theseus_kit.values.memory import AddressRange, Protection

STACK_SIZE = 1 << 16


def make_ready(**options: object) -> NativeMachine:
    """A machine that calls can be made on; data may be put at its stack's start."""
    machine = NativeMachine(NativeOptions(territory_gib=64, **options))  # type: ignore[arg-type]
    start = machine.memory.territory.start
    machine.memory.map(start, STACK_SIZE, Protection.READ_WRITE)
    machine.select_thread(machine.create_thread(AddressRange.of_size(start, STACK_SIZE)))
    return machine


@pytest.fixture
def ready_machine() -> Callable[..., NativeMachine]:
    return make_ready


@pytest.fixture
def native() -> Iterator[NativeMachine]:
    with make_ready() as machine:
        yield machine


PRELUDE = """
import sys
sys.path.insert(0, PLACE)
from conftest import make_ready
machine = make_ready()
code = lambda text: machine.place_code(bytes.fromhex(text))
load = code("488b07 c3")  # mov rax, [rdi]; ret
"""

Run = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def run() -> Run:
    """Run a program that has a ``machine``, ``code(hexadecimal)`` and ``load``."""

    def run(program: str) -> subprocess.CompletedProcess[str]:
        prelude = PRELUDE.replace("PLACE", repr(str(Path(__file__).parent)))
        return subprocess.run(
            [sys.executable, "-c", prelude + program], capture_output=True, text=True, timeout=60
        )

    return run
