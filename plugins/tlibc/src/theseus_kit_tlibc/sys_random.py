"""sys/random.h and sys/auxv.h: random bytes, and what the kernel tells a program at its start."""

from __future__ import annotations

import errno
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.memory import PAGE_SIZE
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function

if TYPE_CHECKING:
    from random import Random

_KNOWN_FLAGS = 7  # GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE
_MOST_AT_ONCE = (1 << 25) - 1  # 33554431: random(4) "Usage"

AT_PAGESZ, AT_CLKTCK, AT_SECURE, AT_RANDOM = 6, 17, 23, 25


class SysRandom(Header):
    header: ClassVar[str] = "sys/random.h"

    @cached_property
    def _generator(self) -> Random:
        from random import Random

        return Random(self.library.options.seed)

    def random_bytes(self, count: int) -> bytes:
        """The platform's randomness, unless the C library's own seed is set."""
        if self.library.options.seed is None:
            return self.library.services.random_bytes(count)
        return self._generator.randbytes(count)

    @c_function(
        "ssize_t getrandom(void *buf, size_t buflen, unsigned int flags)",
        system_call=318,
        on_error=MINUS_ONE,
    )
    def getrandom(self, buf: int, buflen: int, flags: int) -> int:
        if flags & ~_KNOWN_FLAGS:
            raise InvalidParameterError(f"getrandom flags {flags:#x}")
        count = min(buflen, _MOST_AT_ONCE)
        self.library.memory.write(buf, self.random_bytes(count))
        return count

    @c_function("int getentropy(void *buffer, size_t length)", on_error=MINUS_ONE)
    def getentropy(self, buffer: int, length: int) -> int:
        if length > 256:
            raise PlatformError(f"getentropy of {length} bytes", errno.EIO)
        self.library.memory.write(buffer, self.random_bytes(length))
        return 0


class SysAuxv(Header):
    header: ClassVar[str] = "sys/auxv.h"

    @c_function("unsigned long getauxval(unsigned long type)")
    def getauxval(self, kind: int) -> int:
        """Entries this platform has; 0 with ENOENT for the others, as getauxval(3) says."""
        values = {AT_PAGESZ: PAGE_SIZE, AT_CLKTCK: 100, AT_SECURE: 0}
        if kind in values:
            return values[kind]
        self.library.hooks.errno_set(task=self.library.task, value=errno.ENOENT)
        return 0
