"""How to walk from a signal's handler to the code that it interrupted.

A handler returns into a stub of ours, and what lies above it on the stack is a ucontext_t, not a
caller's frame. An unwind table says so, as glibc's and the vdso's do for the kernel's frames: the
registers are where the ucontext_t has them, and the address is exact (the augmentation S).

::

    CIE  zRS    code alignment 1, data alignment -8, return address in column 16
    FDE         from one byte before the stub, whose first byte is a return address
                CFA       = [rsp + 160]         the interrupted rsp
                register n at  rsp + offset     for all of them

Sources: DWARF 5, 6.4; glibc's sysdeps/unix/sysv/linux/x86_64/sigaction.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library

_NOP = b"\x90"
_GENERAL_REGISTERS = 40
"""Offset in the ucontext_t of r8, with which they begin."""
_BY_POSITION = (8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16)
"""DWARF's numbers of r8 … r15 rdi rsi rbp rbx rdx rax rcx rsp rip, in the ucontext_t's order."""
_RSP_POSITION = _BY_POSITION.index(7)

_DEF_CFA_EXPRESSION, _EXPRESSION = 0x0F, 0x10
_BREG_RSP, _DEREF = 0x77, 0x06


def place_return_stub(library: Library, code: bytes) -> int:
    """Place the code that handlers return to, with an unwind table; return its address."""
    machine = library.machine
    # A walk looks an address up that is inside the call before a return address.
    start = machine.place_code(_NOP + code, "signal return")
    table = machine.place_code(unwind_table(start, len(code) + 1), "unwind table of signal return")
    library.hooks.unwind_register_tables(frame_table=table)
    return start + 1


def unwind_table(start: int, size: int) -> bytes:
    """An .eh_frame section for the return stub at an address."""
    # length; this is a CIE; version 1; "zRS"; alignments 1 and -8; column 16; R: absolute
    common = bytes(4) + b"\x01zRS\0" + bytes((1, 0x78, 16, 1, 0))
    common += bytes(-len(common) % 4)
    entry = start.to_bytes(8, "little") + size.to_bytes(8, "little") + b"\0" + _program()
    entry += bytes(-len(entry) % 4)
    head = len(common).to_bytes(4, "little") + common
    pointer = len(head) + 4
    body = (len(entry) + 4).to_bytes(4, "little") + pointer.to_bytes(4, "little") + entry
    return head + body + bytes(4)


def _program() -> bytes:
    where = _address_of(_RSP_POSITION) + bytes((_DEREF,))
    program = bytes((_DEF_CFA_EXPRESSION, len(where))) + where
    for position, number in enumerate(_BY_POSITION):
        where = _address_of(position)
        program += bytes((_EXPRESSION, number, len(where))) + where
    return program


def _address_of(position: int) -> bytes:
    """The expression rsp + offset of a register."""
    offset = _GENERAL_REGISTERS + 8 * position
    return bytes((_BREG_RSP, offset & 0x7F | 0x80, offset >> 7))
