"""Platforms with tasks, and guest code for them to run."""

from collections.abc import Callable, Iterator

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names
from theseus_kit.platform import Platform
from theseus_kit.values.linkage import CFunction
from theseus_kit.values.memory import MapRequest, Protection


@pytest.fixture(params=machine_names())
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class World:
    """A platform, and what the tests of tasks do on it."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.tasks = platform.tasks
        self.memory = platform.machine.memory
        self.page: int = platform.hooks.memory_map(
            request=MapRequest(4096, Protection.READ_WRITE)
        ).base

    def code(self, hexadecimal: str) -> Callable[..., int]:
        """Place machine code; each test has its assembly beside the bytes."""
        address = self.platform.machine.place_code(bytes.fromhex(hexadecimal))
        return lambda *arguments: self.platform.machine.call(address, arguments)

    def through_guest(self, body: Callable[[], object]) -> Callable[[], int]:
        """What has guest code call a Python function that may wait."""
        address = self.platform.export(
            CFunction("long body(void)", lambda: body() or 0, blocks=True)
        )
        # push rbx; call rdi; inc rax; pop rbx; ret
        call = self.code("53 ffd7 48ffc0 5b c3")
        return lambda: call(address)


@pytest.fixture
def world(machine: str) -> Iterator[World]:
    with assemble(machine=machine) as platform:
        yield World(platform)
