"""The machine's own pages, seen from their start: the way out, export stubs, placed code.

::

    +0          r10 ← context; jump to host_call
    +0x1000     export stubs, r-x: 16 bytes each, 65,536 of them, made a page at a time
    +0x101000   placed code, r-x: what place_code() is given

They are guest addresses: a fault in placed code is the guest's.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from theseus_kit.errors import MachineError
from theseus_kit.machine.native import system
from theseus_kit.machine.native.context import EXPORT_LIMIT
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, page_ceil, page_floor

_EXPORTS_OFFSET = PAGE_SIZE
EXPORT_SIZE: Final = 16
_CODE_OFFSET = _EXPORTS_OFFSET + EXPORT_SIZE * EXPORT_LIMIT
_STUBS_PER_PAGE = PAGE_SIZE // EXPORT_SIZE

_EXPORT = Struct("<2sIBi5x")
_WAY_OUT = Struct("<2sQ6sQ")


def export_stub(number: int, address: int, way_out: int) -> bytes:
    """``mov r11d, number`` (41 bb imm32); ``jmp way_out`` (e9 rel32)."""
    return _EXPORT.pack(b"\x41\xbb", number, 0xE9, way_out - (address + 11))


def way_out(context: int, host_call: int) -> bytes:
    """``movabs r10, context`` (49 ba imm64); ``jmp qword ptr [rip]`` (ff 25 0); its target."""
    return _WAY_OUT.pack(b"\x49\xba", context, b"\xff\x25\0\0\0\0", host_call)


class OwnCode:
    """The pages, within ``own``. All of them are writable or executable, never both at once."""

    def __init__(self, own: AddressRange, view: memoryview, context: int, host_call: int) -> None:
        self._start, self._end = own.start, own.end
        self._view = view
        self._exports = own.start + _EXPORTS_OFFSET
        self._ready = 0
        self._next = own.start + _CODE_OFFSET
        self._mapped = self._next
        self._write(own.start, way_out(context, host_call))

    def export_address(self, number: int) -> int:
        """The address of an export's stub."""
        while number >= self._ready:
            page = self._exports + self._ready * EXPORT_SIZE
            numbers = range(self._ready, self._ready + _STUBS_PER_PAGE)
            stubs = [export_stub(n, self._exports + n * EXPORT_SIZE, self._start) for n in numbers]
            self._write(page, b"".join(stubs))
            self._ready += _STUBS_PER_PAGE
        return self._exports + number * EXPORT_SIZE

    def export_number(self, address: int) -> int:
        """The number of the export at an address. Raises MachineError if there is none."""
        number, remainder = divmod(address - self._exports, EXPORT_SIZE)
        if remainder or not 0 <= number < self._ready:
            raise MachineError(f"{address:#x} is no export of this machine")
        return number

    @property
    def next_address(self) -> int:
        """Where :meth:`place` will put what it is given next."""
        return self._next

    def place(self, code: bytes, name: str) -> int:
        """Copy code to executable memory; return its address."""
        address = self._next
        end = address + len(code)
        if end > self._end:
            raise MachineError(f"no room for {len(code)} bytes of code {name!r}")
        self._next = (end + 15) & -16
        self._write(address, code)
        return address

    def _write(self, address: int, code: bytes) -> None:
        """No guest code of this machine runs meanwhile: Python holds control."""
        first, end = page_floor(address), page_ceil(address + len(code))
        system.protect(first, end - first, system.PROT_READ_WRITE)
        self._view[address : address + len(code)] = code
        system.protect(first, end - first, system.PROT_READ_EXECUTE)
