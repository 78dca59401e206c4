"""Two routines of machine code that the host runs: what must go on without Python's lock.

``TRANSLATE`` asks the engine for one block after another, as a loop in Python would, but lets the
thread that imports modules meanwhile have the interpreter; ``NOTE`` is the callback that notes a
block the engine has just translated.

Both follow the System V ABI and are position-independent. Nothing here runs on another host than
x86-64: :func:`runs_here`.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.stubs import Instruction

# translate(rdi: engine, rsi: addresses, rdx: how many, rcx: uc_ctl, r8: uint32 that ends it) →
# rax: how many are left. uc_ctl(engine, request, address, block) is variadic: al is 0.
TRANSLATE = (
    Instruction("push rbx", "53"),
    Instruction("push rbp", "55"),
    Instruction("push r12", "41 54"),
    Instruction("push r13", "41 55"),
    Instruction("push r14", "41 56"),
    Instruction("sub rsp, 0x50", "48 83 ec 50"),
    Instruction("mov rbx, rdi", "48 89 fb"),
    Instruction("mov r12, rsi", "49 89 f4"),
    Instruction("mov r13, rdx", "49 89 d5"),
    Instruction("mov rbp, rcx", "48 89 cd"),
    Instruction("mov r14, r8", "4d 89 c6"),
    # again:
    Instruction("cmp dword ptr [r14], 0", "41 83 3e 00"),
    Instruction("jne done", "75 20"),
    Instruction("mov rdi, rbx", "48 89 df"),
    Instruction(
        f"mov esi, {uc.CTL_TB_REQUEST_CACHE}",
        f"be {uc.CTL_TB_REQUEST_CACHE.to_bytes(4, 'little').hex(' ')}",
    ),
    Instruction("mov rdx, [r12]", "49 8b 14 24"),
    Instruction("mov rcx, rsp", "48 89 e1"),
    Instruction("xor eax, eax", "31 c0"),
    Instruction("call rbp", "ff d5"),
    Instruction("test eax, eax", "85 c0"),
    Instruction("jne done", "75 09"),
    Instruction("add r12, 8", "49 83 c4 08"),
    Instruction("dec r13", "49 ff cd"),
    Instruction("jne again", "75 da"),
    # done:
    Instruction("mov rax, r13", "4c 89 e8"),
    Instruction("add rsp, 0x50", "48 83 c4 50"),
    Instruction("pop r14", "41 5e"),
    Instruction("pop r13", "41 5d"),
    Instruction("pop r12", "41 5c"),
    Instruction("pop rbp", "5d"),
    Instruction("pop rbx", "5b"),
    Instruction("ret", "c3"),
)

# uc_hook_edge_gen_t(rdi: engine, rsi: the new block, rdx: the one before, rcx: list)
#
# list:  uint64 count, uint64 limit, uint64 address[limit]
NOTE = (
    Instruction("mov rax, [rcx]", "48 8b 01"),
    Instruction("cmp rax, [rcx+8]", "48 3b 41 08"),
    Instruction("jae done", "73 0b"),
    Instruction("mov rdx, [rsi]", "48 8b 16"),
    Instruction("mov [rcx+rax*8+0x10], rdx", "48 89 54 c1 10"),
    Instruction("inc qword ptr [rcx]", "48 ff 01"),
    # done:
    Instruction("ret", "c3"),
)

_ALIGNMENT = 64
_Translate = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p),
)


def runs_here() -> bool:
    """Whether the host's processor is the one this code is for."""
    return os.uname().machine == "x86_64" and ctypes.sizeof(ctypes.c_void_p) == 8


def assembled(instructions: tuple[Instruction, ...]) -> bytes:
    """The bytes of a routine."""
    return bytes.fromhex("".join(instruction.code for instruction in instructions))


class HostCode:
    """The routines in memory of their own, which goes with the object. Raises OSError."""

    def __init__(self) -> None:
        import mmap

        code = assembled(TRANSLATE)
        note = -(-len(code) // _ALIGNMENT) * _ALIGNMENT
        code = code.ljust(note, b"\xcc") + assembled(NOTE)
        # Writable and executable, as Unicorn's own buffer of translated code is.
        protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._memory = mmap.mmap(-1, len(code), prot=protection)
        self._memory[: len(code)] = code
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.translate: Any = _Translate(start)
        """``translate(engine, addresses, count, uc_ctl, stop)``, without Python's lock."""
        self.note = start + note
        """The address of the callback."""
