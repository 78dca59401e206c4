"""stdio.h: printing, formatted, to streams, descriptors and new memory.

What conversions mean is :mod:`.stdio`'s. The ``_chk`` variants are what fortified programs call;
their flag asks for a check of ``%n``, which is refused anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.stdio import formatted
from theseus_kit_tlibc.variadic import CallArguments, ListArguments

if TYPE_CHECKING:
    from theseus_kit_tlibc.deferred import Deferred
    from theseus_kit_tlibc.variadic import Arguments

_STANDARD_OUTPUT = 1


class Bodies(DeferredBodies):
    """The functions of stdio.h."""

    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred)
        self._files = deferred.stdio

    def printf(self, template: int) -> int:
        return self._print(self._files.standard(_STANDARD_OUTPUT), template, self._call(1))

    def fprintf(self, stream: int, template: int) -> int:
        return self._print(stream, template, self._call(2))

    def vprintf(self, template: int, arguments: int) -> int:
        return self.vfprintf(self._files.standard(_STANDARD_OUTPUT), template, arguments)

    def vfprintf(self, stream: int, template: int, arguments: int) -> int:
        return self._print(stream, template, ListArguments(self.library.memory, arguments))

    def dprintf(self, fd: int, template: int) -> int:
        return self._write(fd, template, self._call(2))

    def vdprintf(self, fd: int, template: int, arguments: int) -> int:
        return self._write(fd, template, ListArguments(self.library.memory, arguments))

    def asprintf(self, strp: int, template: int) -> int:
        return self._allocate(strp, template, self._call(2))

    def vasprintf(self, strp: int, template: int, arguments: int) -> int:
        return self._allocate(strp, template, ListArguments(self.library.memory, arguments))

    def printf_chk(self, flag: int, template: int) -> int:
        return self._print(self._files.standard(_STANDARD_OUTPUT), template, self._call(2))

    def fprintf_chk(self, stream: int, flag: int, template: int) -> int:
        return self._print(stream, template, self._call(3))

    def vprintf_chk(self, flag: int, template: int, arguments: int) -> int:
        return self.vprintf(template, arguments)

    def vfprintf_chk(self, stream: int, flag: int, template: int, arguments: int) -> int:
        return self.vfprintf(stream, template, arguments)

    def dprintf_chk(self, fd: int, flag: int, template: int) -> int:
        return self._write(fd, template, self._call(3))

    def asprintf_chk(self, strp: int, flag: int, template: int) -> int:
        return self._allocate(strp, template, self._call(3))

    def _call(self, named: int) -> CallArguments:
        return CallArguments(self.library.machine, named)

    def _text(self, template: int, arguments: Arguments) -> bytes:
        read_string = self.library.memory.read_string
        return formatted(read_string(template), arguments, read_string)

    def _print(self, stream: int, template: int, arguments: Arguments) -> int:
        text = self._text(template, arguments)
        self._files.write_text(stream, text)
        return len(text)

    def _write(self, fd: int, template: int, arguments: Arguments) -> int:
        library = self.library
        text = self._text(template, arguments)
        description = library.files.usable_description(fd)
        rest = memoryview(text)
        while rest:
            rest = rest[library.transfers.write(description, [rest]) :]
        return len(text)

    def _allocate(self, strp: int, template: int, arguments: Arguments) -> int:
        text = self._text(template, arguments)
        address = self.library.heap.allocate(len(text) + 1)
        self.library.memory.write(address, text + b"\0")
        self.library.memory.write_u64(strp, address)
        return len(text)
