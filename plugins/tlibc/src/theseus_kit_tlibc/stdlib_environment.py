"""stdlib.h: changing the environment."""

from __future__ import annotations

from theseus_kit.errors import InvalidParameterError
from theseus_kit_tlibc.deferred import DeferredBodies


class Bodies(DeferredBodies):
    def setenv(self, name: int, value: int, overwrite: int) -> int:
        memory = self.library.memory
        key = _checked(memory.read_string(name) if name else b"")
        if overwrite or key not in self.library.environment:
            self.deferred.stdlib.set_variable(key, memory.read_string(value))
        return 0

    def unsetenv(self, name: int) -> int:
        key = _checked(self.library.memory.read_string(name) if name else b"")
        self.deferred.stdlib.set_variable(key, None)
        return 0

    def putenv(self, string: int) -> int:
        """The value is copied; POSIX would have the caller's bytes become the environment's."""
        key, sets, value = self.library.memory.read_string(string).partition(b"=")
        self.deferred.stdlib.set_variable(key, value if sets else None)
        return 0

    def clearenv(self) -> int:
        for key in list(self.library.environment):
            self.deferred.stdlib.set_variable(key, None)
        return 0


def _checked(name: bytes) -> bytes:
    if not name or b"=" in name:
        raise InvalidParameterError(f"{name!r} names no variable")
    return name
