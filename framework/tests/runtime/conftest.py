"""Real machines with functions in machine code, each beside its assembly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from theseus_kit.machine import create_machine, machine_names
from theseus_kit.machine.protocol import Machine
from theseus_kit.runtime.callbacks import FunctionTypes
from theseus_kit.runtime.library import CALLS_BEFORE, GuestLibrary
from theseus_kit.values.memory import AddressRange, AtAddress, MapRequest, Protection, page_ceil

FUNCTIONS = {
    "first_argument": ("mov rax, rdi; ret", "4889f8 c3"),
    "eighth_argument": ("mov rax, qword ptr [rsp + 0x10]; ret", "488b442410 c3"),
    "increment": ("add dword ptr [rdi], 1; ret", "830701 c3"),
    "counter_delete": ("add dword ptr [rdi], 1; ret", "830701 c3"),
    "first_byte": ("movzx eax, byte ptr [rdi]; ret", "0fb607 c3"),
    "last_byte": ("movzx eax, byte ptr [rdi + rsi - 1]; ret", "0fb64437ff c3"),
    "byte_behind_pointer": (
        "mov rax, qword ptr [rdi]; movzx eax, byte ptr [rax]; ret",
        "488b07 0fb600 c3",
    ),
    "byte_behind_second_pointer": (
        "mov rax, qword ptr [rdi + 8]; movzx eax, byte ptr [rax]; ret",
        "488b4708 0fb600 c3",
    ),
    "last_of_vector": (
        "mov rcx, qword ptr [rdi]; mov rax, qword ptr [rdi + 8]; "
        "movzx eax, byte ptr [rax + rcx - 1]; ret",
        "488b0f 488b4708 0fb64408ff c3",
    ),
    "double_behind_pointer": (
        "mov rax, qword ptr [rdi]; shl dword ptr [rax], 1; ret",
        "488b07 d120 c3",
    ),
    "load": ("mov rax, qword ptr [rdi]; ret", "488b07 c3"),
    "store": ("mov qword ptr [rdi], rsi; ret", "488937 c3"),
    "call_with": ("mov rax, rdi; mov rdi, rsi; jmp rax", "4889f8 4889f7 ffe0"),
}
"""Name: what it does, and its code."""


class Mapper:
    """The one memory hook that calls need, over the bare machine: addresses only ever go up."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._next = machine.memory.territory.start
        self.unmapped: list[AddressRange] = []

    def memory_map(self, request: MapRequest) -> Any:
        size = page_ceil(request.size)
        if isinstance(request.placement, AtAddress):
            base = request.placement.address
        else:
            base, self._next = self._next, self._next + size
        self._machine.memory.map(base, size, request.protection)
        return SimpleNamespace(base=base, size=size)

    def memory_unmap(self, address: int, size: int) -> None:
        self._machine.memory.unmap(address, size)
        self.unmapped.append(AddressRange.of_size(address, size))


class Bench:
    """A machine, a library of the functions above, and C function types for it."""

    def __init__(self, machine: Machine, calls_before: int) -> None:
        self.machine = machine
        self.functions = FUNCTIONS
        self.mapper = Mapper(machine)
        stack = self.mapper.memory_map(MapRequest(1 << 20, Protection.READ_WRITE))
        machine.select_thread(machine.create_thread(AddressRange.of_size(stack.base, stack.size)))
        self.addresses = {
            name: machine.place_code(bytes.fromhex(code), name)
            for name, (_, code) in FUNCTIONS.items()
        }
        hooks: Any = self.mapper
        resolve = self.addresses.__getitem__
        self.library = GuestLibrary(machine, hooks, "libtest.so", resolve, calls_before)
        self.types = FunctionTypes(self.library)

    def function(self, name: str, restype: Any, *argtypes: Any) -> Callable[..., Any]:
        function = getattr(self.library, name)
        function.restype, function.argtypes = restype, argtypes
        return function  # type: ignore[no-any-return]

    def guest_bytes(self, content: bytes) -> int:
        """Put bytes into guest memory; return their address."""
        page = self.mapper.memory_map(MapRequest(len(content), Protection.READ_WRITE))
        self.machine.memory.write(page.base, content)
        address: int = page.base
        return address


@pytest.fixture(params=machine_names())
def machine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=(CALLS_BEFORE, 0), ids=("any signature", "code of its own"))
def bench(machine_name: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Functions are called as they are at first, or as they are once they were called often."""
    machine = create_machine(machine_name)
    try:
        yield Bench(machine, request.param)
    finally:
        machine.close()
