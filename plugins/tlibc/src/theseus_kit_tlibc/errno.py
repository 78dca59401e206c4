"""errno.h: where each task keeps its errno, and the texts of error numbers.

The numbers themselves are Linux's for x86-64, spelt by Python's ``errno`` module.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import PlatformError
from theseus_kit_tlibc.declare import RESULT, Header, c_function

if TYPE_CHECKING:
    from theseus_kit.task import Task
    from theseus_kit_tlibc.library import Library

_ERANGE = 34


class Errno(Header):
    header: ClassVar[str] = "errno.h"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._locations: dict[Task, int] = {}

    def location(self, task: Task) -> int:
        """The address of a task's errno, made at its first use."""
        address = self._locations.get(task)
        if address is None:
            address = self._locations[task] = self.library.heap.allocate(16)
            self.library.memory.write(address, bytes(16))
        return address

    def set(self, task: Task, value: int) -> None:
        self.library.memory.write_u32(self.location(task), value)

    def forget(self, task: Task) -> None:
        """Free what a task that ended had."""
        self.library.heap.free(self._locations.pop(task, 0))

    @c_function("int *__errno_location(void)")
    def errno_location(self) -> int:
        return self.location(self.library.task)

    @c_function("char *strerror(int errnum)")
    def strerror(self, errnum: int) -> int:
        return self.library.constant(error_text(errnum) + b"\0")

    @c_function("int __xpg_strerror_r(int errnum, char *buf, size_t buflen)", on_error=RESULT)
    def xpg_strerror_r(self, errnum: int, buf: int, buflen: int) -> int:
        """strerror_r as POSIX has it: the text is cut, and ERANGE says so."""
        text = error_text(errnum)
        if buflen:
            self.library.memory.write(buf, text[: buflen - 1] + b"\0")
        if len(text) >= buflen:
            raise PlatformError(f"strerror_r: {buflen} bytes are too few", _ERANGE)
        return 0


def error_text(number: int) -> bytes:
    """What strerror(3) says of an error number."""
    return os.strerror(number).encode()
