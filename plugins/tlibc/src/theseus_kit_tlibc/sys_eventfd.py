"""sys/eventfd.h: a counter as an open file, by which tasks wake each other. Source: eventfd(2)."""

from __future__ import annotations

import errno
from typing import ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit_tlibc.anonymous import AnonymousFile
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function, system_call
from theseus_kit_tlibc.files import O_NONBLOCK, O_RDWR
from theseus_kit_tlibc.readiness import POLLERR, POLLIN, POLLOUT, Readiness

EFD_SEMAPHORE, EFD_CLOEXEC, EFD_NONBLOCK = 1, 0o2000000, 0o4000
_WORD = 8
_NO_VALUE = (1 << 64) - 1
_LARGEST = _NO_VALUE - 1


class EventFile(AnonymousFile):
    """The counter."""

    def __init__(self, value: int, is_semaphore: bool) -> None:
        self.waiters = Readiness("eventfd")
        self._value = value
        self._is_semaphore = is_semaphore

    def readiness(self) -> int:
        events = POLLIN if self._value else 0
        if self._value < _LARGEST:
            events |= POLLOUT
        return events if self._value <= _LARGEST else events | POLLERR

    def read(self, size: int = -1) -> bytes:
        if 0 <= size < _WORD:
            raise InvalidParameterError(f"reading {size} bytes of an eventfd")
        if not self._value:
            raise PlatformError("the eventfd is 0", errno.EAGAIN)
        taken = 1 if self._is_semaphore else self._value
        self._value -= taken
        self.waiters.grow()
        return taken.to_bytes(_WORD, "little")

    def write(self, data: bytes | memoryview) -> int:
        value = int.from_bytes(bytes(data[:_WORD]), "little")
        if len(data) < _WORD or value == _NO_VALUE:
            raise InvalidParameterError("an eventfd takes eight bytes, less than 2^64 - 1")
        if value > _LARGEST - self._value:
            raise PlatformError("the eventfd would overflow", errno.EAGAIN)
        self._value += value
        self.waiters.grow()
        return _WORD


class SysEventfd(Header):
    header: ClassVar[str] = "sys/eventfd.h"

    @c_function("int eventfd(unsigned int initval, int flags)", system_call=290, on_error=MINUS_ONE)
    def eventfd(self, initval: int, flags: int) -> int:
        if flags & ~(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK):
            raise InvalidParameterError(f"eventfd flags {flags:#x}")
        return self.library.files.add(
            EventFile(initval, bool(flags & EFD_SEMAPHORE)),
            O_RDWR | flags & O_NONBLOCK,
            close_on_exec=bool(flags & EFD_CLOEXEC),
        )

    @system_call(284, "long eventfd_without_flags(unsigned int initval)")
    def eventfd_without_flags(self, initval: int) -> int:
        return self.eventfd(initval, 0)

    @c_function("int eventfd_read(int fd, eventfd_t *value)", on_error=MINUS_ONE, blocks=True)
    def eventfd_read(self, fd: int, value: int) -> int:
        library = self.library
        buffer = library.memory.window(value, _WORD, writable=True)
        count = library.transfers.read(library.files.description(fd), [buffer])
        return 0 if count == _WORD else -1

    @c_function("int eventfd_write(int fd, uint64_t value)", on_error=MINUS_ONE, blocks=True)
    def eventfd_write(self, fd: int, value: int) -> int:
        library = self.library
        data = memoryview(value.to_bytes(_WORD, "little"))
        count = library.transfers.write(library.files.description(fd), [data])
        return 0 if count == _WORD else -1
