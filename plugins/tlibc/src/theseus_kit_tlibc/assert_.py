"""assert.h, and the stack protector's complaint: a program that found itself wrong."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import Panicked
from theseus_kit_tlibc.declare import Header, c_function


class Assert(Header):
    header: ClassVar[str] = "assert.h"

    @c_function(
        "void __assert_fail(const char *assertion, const char *file, unsigned int line, "
        "const char *function)",
        reenters=True,  # for the destructors that a kill may run
    )
    def assert_fail(self, assertion: int, file: int, line: int, function: int) -> NoReturn:
        said, where, what = (
            self.library.memory.read_string(address).decode(errors="replace") if address else "?"
            for address in (assertion, file, function)
        )
        raise GuestKilled(Panicked(f"{where}:{line}: {what}: assertion {said!r} failed"))

    @c_function("void __stack_chk_fail(void)", reenters=True)
    def stack_chk_fail(self) -> NoReturn:
        raise GuestKilled(Panicked("stack smashing detected"))
