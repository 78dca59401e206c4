"""A platform, and its C library as a C program sees it."""

from collections.abc import Iterator
from typing import Any

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.platform import Platform
from theseus_kit.values.memory import PAGE_SIZE, AtAddress, MapRequest, Protection

MASK = (1 << 64) - 1


class CLibrary:
    """Calls C functions of a platform by name: ``c.strlen(address)``. Results are unsigned."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.machine = platform.machine
        self.memory = platform.machine.memory

    def __getattr__(self, name: str) -> Any:
        address = self.platform.namespace.resolve(name)
        if address is None:
            raise AttributeError(name)

        def call(*arguments: int) -> int:
            return self.machine.call(address, [argument & MASK for argument in arguments])

        return call

    def __call__(self, name: str, *arguments: int) -> int:
        """Call a function whose name Python would mangle, ``__errno_location``."""
        result: int = getattr(self, name)(*arguments)
        return result

    @property
    def errno(self) -> int:
        return self.memory.read_u32(self("__errno_location"))

    def syscall_(self, number: int, *arguments: int) -> int:
        """A bare system call; the result is signed."""
        if not hasattr(self, "_bare"):
            # mov rax, rdi … mov r9, [rsp+8]; syscall; ret
            code = "4889f8 4889f7 4889d6 4889ca 4d89c2 4d89c8 4c8b4c2408 0f05 c3"
            self._bare = self.machine.place_code(bytes.fromhex(code))
        padded = (number, *arguments, 0, 0, 0, 0, 0, 0)[:7]
        rax = self.machine.call(self._bare, [n & MASK for n in padded])
        return rax - (1 << 64) if rax >> 63 else rax

    def block(self, data: bytes) -> int:
        """Guest memory that holds some bytes, and ends at a page that cannot be touched."""
        pages = (len(data) // PAGE_SIZE + 1) * PAGE_SIZE
        hooks = self.platform.hooks
        base = hooks.memory_map(request=MapRequest(pages + PAGE_SIZE, Protection.NONE)).base
        hooks.memory_map(
            request=MapRequest(pages, Protection.READ_WRITE, AtAddress(base, replace=True))
        )
        address: int = base + pages - len(data)
        self.memory.write(address, data)
        return address

    def string(self, data: bytes) -> int:
        return self.block(data + b"\0")


@pytest.fixture
def platform() -> Iterator[Platform]:
    with assemble() as platform:
        yield platform


@pytest.fixture
def c(platform: Platform) -> CLibrary:
    return CLibrary(platform)


@pytest.fixture(scope="module")
def shared() -> Iterator[CLibrary]:
    """One platform for a whole file: for functions that keep no state."""
    with assemble() as platform:
        yield CLibrary(platform)
