"""assert.h, and the stack protector's complaint: a program that found itself wrong."""

from __future__ import annotations

from typing import NoReturn

from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import Panicked
from theseus_kit_tlibc.deferred import DeferredBodies


class Bodies(DeferredBodies):
    """The functions of assert.h."""

    def assert_fail(self, assertion: int, file: int, line: int, function: int) -> NoReturn:
        said, where, what = (
            self.library.memory.read_string(address).decode(errors="replace") if address else "?"
            for address in (assertion, file, function)
        )
        raise GuestKilled(Panicked(f"{where}:{line}: {what}: assertion {said!r} failed"))

    def stack_chk_fail(self) -> NoReturn:
        raise GuestKilled(Panicked("stack smashing detected"))
