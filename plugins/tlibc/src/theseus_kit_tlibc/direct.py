"""Reading and writing straight through: machine code where guests may call the host's functions.

A table in guest memory says of each descriptor which host descriptor can be used directly::

    ┌───────┬──────────────────┬──────────────────┬───
    │ count │ of descriptor 0  │ of descriptor 1  │ …      int32 each
    └───────┴──────────────────┴──────────────────┴───
                 -1: Python has it          bit 30: it may have to wait

What may have to wait is asked to do what needs no waiting (RWF_NOWAIT, preadv2(2)). Whatever the
host refuses, Python tries again: it waits as tasks wait, and says why not as C wants it. A write of
13 bytes takes a tenth of the way through Python.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.values.paths import OpenMode
from theseus_kit_tlibc.files import O_DSYNC, O_NONBLOCK, O_PATH, Description, Waiting
from theseus_kit_tlibc.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit_tlibc.library import Library

_TEXT = """
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc             ; the table
    89f8                    mov eax, edi
    413b03                  cmp eax, dword ptr [r11]
    737c                    jae 0x8d                                   ; no such descriptor
    4d63548304              movsxd r10, dword ptr [r11 + rax*4 + 4]
    4585d2                  test r10d, r10d
    7872                    js 0x8d                                    ; not for direct use
    84842400f0ffff          test byte ptr [rsp - 0x1000], al           ; no room faults here
    4883ec28                sub rsp, 0x28
    48897c2408              mov qword ptr [rsp + 8], rdi
    4889742410              mov qword ptr [rsp + 0x10], rsi
    4889542418              mov qword ptr [rsp + 0x18], rdx
    410fbaf21e              btr r10d, 0x1e                             ; it may have to wait
    4489d7                  mov edi, r10d
    720e                    jb 0x4d
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc             ; the host's read or write
    ffd0                    call rax
    eb23                    jmp 0x70
    488d742410              lea rsi, [rsp + 0x10]                      ; a struct iovec
    ba01000000              mov edx, 1
    48c7c1ffffffff          mov rcx, 0xffffffffffffffff                ; at the file's position
    41b808000000            mov r8d, 8                                 ; RWF_NOWAIT
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc             ; its preadv2, pwritev2
    ffd0                    call rax
    4885c0                  test rax, rax
    7805                    js 0x7a                                    ; tried again there
    4883c428                add rsp, 0x28
    c3                      ret
    488b7c2408              mov rdi, qword ptr [rsp + 8]
    488b742410              mov rsi, qword ptr [rsp + 0x10]
    488b542418              mov rdx, qword ptr [rsp + 0x18]
    4883c428                add rsp, 0x28
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc             ; the slow path
    41ffe3                  jmp r11
"""
READ = Listing(_TEXT)
WRITE = Listing(_TEXT)

_NOT_DIRECT = -1
_MAY_WAIT = 1 << 30
_ENTRY = Struct("<i")
_HOST_FUNCTIONS = {OpenMode.READ: ("read", "preadv2"), OpenMode.WRITE: ("write", "pwritev2")}


class DirectDescriptors:
    """The tables of one platform, kept as the descriptor table changes."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._tables: dict[OpenMode, int] = {}

    def code(self, listing: Listing, mode: OpenMode, slow: str) -> Callable[[], bytes] | None:
        """What makes a routine when it is bound; None where the host lacks a function."""
        from ctypes import CDLL, c_void_p, cast

        host = CDLL(None)
        names = _HOST_FUNCTIONS[mode]
        if not all(hasattr(host, name) for name in names):
            return None
        addresses = [cast(getattr(host, name), c_void_p).value or 0 for name in names]
        return lambda: listing.with_addresses(
            self._table(mode), *addresses, self._library.provided(slow)
        )

    def update(self, number: int) -> None:
        """A descriptor was opened, closed or changed."""
        if number < self._library.files.limit:
            description = self._library.files.descriptions.get(number)
            for mode, table in self._tables.items():
                entry = _ENTRY.pack(_entry(description, mode))
                self._library.memory.write(table + (1 + number) * _ENTRY.size, entry)

    def _table(self, mode: OpenMode) -> int:
        table = self._tables.get(mode)
        if table is None:
            files = self._library.files
            size = _ENTRY.size * (1 + files.limit)
            table = self._tables[mode] = self._library.heap.allocate(size)
            self._library.memory.write(
                table, _ENTRY.pack(files.limit) + _ENTRY.pack(_NOT_DIRECT) * files.limit
            )
            files.changed = self.update
            for number in files.descriptions:
                self.update(number)
        return table


def _entry(description: Description | None, mode: OpenMode) -> int:
    """What the table has for a description."""
    if (
        description is None
        or description.host < 0
        or mode not in description.file.mode
        or description.flags & (O_PATH | O_NONBLOCK | O_DSYNC)
        or (description.said and mode is OpenMode.WRITE)
    ):
        return _NOT_DIRECT
    if description.waiting is Waiting.NEVER:
        return description.host
    return description.host | _MAY_WAIT if description.never_waits else _NOT_DIRECT
