"""Sending guest code on to another place than the one it came from.

What longjmp and a landing pad need: to give a guest frame further out its registers back. It works
on any machine, because a machine's way back into guest code ends in a ``ret`` through the guest's
own stack:

::

    high  │ the caller's frame         │
          ├────────────────────────────┤ ← rsp after the return
          │ return address             │ ← replaced by the address of the stub LAND
          ├────────────────────────────┤
          │ ten registers, 80 bytes    │ ← what the export returns: rax, from which LAND loads
    low   └────────────────────────────┘

The registers lie in the red zone of the stack that LAND begins on, where nothing that interrupts
it may write (System V ABI, 3.2.2).
"""

from __future__ import annotations

from functools import cached_property
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.values.exceptions import Registers

LISTING = (
    ("48 89 5f 50", "mov qword ptr [rdi + 0x50], rbx"),  # RUN begins here
    ("48 89 6f 58", "mov qword ptr [rdi + 0x58], rbp"),
    ("4c 89 67 60", "mov qword ptr [rdi + 0x60], r12"),
    ("4c 89 6f 68", "mov qword ptr [rdi + 0x68], r13"),
    ("4c 89 77 70", "mov qword ptr [rdi + 0x70], r14"),
    ("4c 89 7f 78", "mov qword ptr [rdi + 0x78], r15"),
    ("48 89 f8", "mov rax, rdi"),
    ("48 8b 18", "mov rbx, qword ptr [rax]"),  # LAND begins here
    ("48 8b 68 08", "mov rbp, qword ptr [rax + 8]"),
    ("4c 8b 60 10", "mov r12, qword ptr [rax + 0x10]"),
    ("4c 8b 68 18", "mov r13, qword ptr [rax + 0x18]"),
    ("4c 8b 70 20", "mov r14, qword ptr [rax + 0x20]"),
    ("4c 8b 78 28", "mov r15, qword ptr [rax + 0x28]"),
    ("48 8b 50 30", "mov rdx, qword ptr [rax + 0x30]"),
    ("4c 8b 40 38", "mov r8, qword ptr [rax + 0x38]"),  # rsp
    ("48 8b 48 40", "mov rcx, qword ptr [rax + 0x40]"),  # rip
    ("48 8b 40 48", "mov rax, qword ptr [rax + 0x48]"),
    ("4c 89 c4", "mov rsp, r8"),  # last: the block must not lie outside of the stack before
    ("ff e1", "jmp rcx"),
)
"""Machine code beside its assembly."""

_RUN_SIZE = 27
_RETURN_SIZE = 8
_BLOCK = Struct("<10Q")
_SAVED = Struct("<6Q")
"""What RUN keeps behind its block: the callee-saved registers of whoever called it."""


def _block(registers: Registers) -> bytes:
    r = registers
    return _BLOCK.pack(r.rbx, r.rbp, r.r12, r.r13, r.r14, r.r15, r.rdx, r.rsp, r.rip, r.rax)


def _run_block(stack_pointer: int) -> int:
    return (stack_pointer - _BLOCK.size - _SAVED.size) & -16


class Landing:
    """Ways for Python to choose where a machine's guest code goes on.

    What arrives are the callee-saved registers, rax, rdx, rsp and rip; others are lost, as after
    a call.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @cached_property
    def _run(self) -> int:
        code = b"".join(bytes.fromhex(text) for text, _ in LISTING)
        return self._machine.place_code(code, "landing")

    def go_on_at(self, registers: Registers) -> int:
        """Inside an export: have its return lead to these registers.

        Returns what the export must return, for it to work. Raises MemoryFaultError where the
        guest's stack cannot be written.
        """
        machine = self._machine
        after_return = machine.registers().rsp
        address = after_return - _RETURN_SIZE - _BLOCK.size
        land = (self._run + _RUN_SIZE).to_bytes(8, "little")
        machine.memory.write(address, _block(registers) + land)
        return address

    def run_at(self, registers: Registers, stack_pointer: int) -> None:
        """Run guest code from these registers on, until it lands on :meth:`end_of`.

        ``stack_pointer`` is the top of a stack on which nothing else is. Raises what a call does.
        """
        block = _run_block(stack_pointer)
        self._machine.memory.write(block, _block(registers))
        self._machine.call(self._run, (block,), stack_pointer=block)

    def end_of(self, stack_pointer: int, registers: Registers) -> Registers:
        """Where a :meth:`run_at` on a stack ends: registers to go on at, made from some."""
        block = _run_block(stack_pointer)
        memory = self._machine.memory
        saved = _SAVED.unpack(memory.read(block + _BLOCK.size, _SAVED.size))
        end = registers.copy()
        end.rbx, end.rbp, end.r12, end.r13, end.r14, end.r15 = saved
        end.rsp = block
        end.rip = memory.read_u64(block - _RETURN_SIZE)
        return end
