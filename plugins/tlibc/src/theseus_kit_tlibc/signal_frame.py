"""The frame a signal handler gets: siginfo_t and ucontext_t as Linux lays them out on x86-64.

::

    high addresses
    ┌────────────────────────────────┐ top of the alternate stack, or rsp - 128 (the red zone)
    │ siginfo_t            128 bytes │ ← rsi
    │   si_signo si_errno si_code    │
    │   si_addr at 16                │
    ├────────────────────────────────┤
    │ ucontext_t           968 bytes │ ← rdx
    │     0  uc_flags                │
    │     8  uc_link                 │
    │    16  uc_stack: sp flags size │
    │    40  gregs: r8 … r15 rdi rsi rbp rbx rdx rax rcx rsp rip eflags
    │   184  cs gs fs ss (16 bits each), err, trapno, oldmask, cr2
    │   224  fpregs: null            │ vector state is the machine's to preserve
    │   296  uc_sigmask: 128 bytes   │ (the kernel fills 8)
    ├────────────────────────────────┤ 16-byte aligned
    │ return address                 │ ← rsp at the handler's entry, pushed by the call
    └────────────────────────────────┘
    low addresses

Sources: arch/x86/include/uapi/asm/{ucontext,sigcontext}.h, include/uapi/asm-generic/siginfo.h,
arch/x86/kernel/signal_64.c of Linux 6; glibc's sys/ucontext.h for the names.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from theseus_kit.values.exceptions import (
    VECTOR_GENERAL_PROTECTION,
    VECTOR_INVALID_OPCODE,
    VECTOR_PAGE_FAULT,
    Registers,
)

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory
    from theseus_kit.values.exceptions import ExceptionContext

SIGINFO_SIZE = 128
UCONTEXT_SIZE = 968
RED_ZONE = 128
FRAME_SIZE = UCONTEXT_SIZE + SIGINFO_SIZE
GREGS_OFFSET = 40
SIGMASK_OFFSET = 296

SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV = 4, 5, 7, 8, 11

SI_KERNEL = 0x80
ILL_ILLOPN, FPE_INTDIV, FPE_FLTINV = 2, 1, 7
SEGV_MAPERR, SEGV_ACCERR = 1, 2
BUS_ADRALN = 1
TRAP_BRKPT = 1

_USER_CS, _USER_SS = 0x33, 0x2B
_EDITABLE_FLAGS = 0x50DD5
"""What a handler may change of rflags: AC OF DF TF SF ZF AF PF CF RF (FIX_EFLAGS)."""

_SIGINFO = Struct("<iii4xQ")
# uc_flags uc_link | uc_stack: sp, flags, size | 18 registers | segments err trapno oldmask cr2
_UCONTEXT = Struct("<QQQi4xQ18Q4HQQQQ")
_REGISTERS = Struct("<18Q")
_SIGMASK = Struct("<Q")


class Cause(NamedTuple):
    """What a CPU exception is called as a signal."""

    signal: int
    code: int
    has_address: bool
    """si_addr is the faulting instruction; a page fault has its data address there."""


# arch/x86/kernel/traps.c; a page fault's code depends on the fault and is settled in cause_of.
_CAUSES = {
    0x00: Cause(SIGFPE, FPE_INTDIV, True),
    0x03: Cause(SIGTRAP, SI_KERNEL, False),
    0x04: Cause(SIGSEGV, SI_KERNEL, False),
    0x05: Cause(SIGSEGV, SI_KERNEL, False),
    VECTOR_INVALID_OPCODE: Cause(SIGILL, ILL_ILLOPN, True),
    0x0A: Cause(SIGSEGV, SI_KERNEL, False),
    0x0B: Cause(SIGBUS, SI_KERNEL, False),
    0x0C: Cause(SIGBUS, SI_KERNEL, False),
    VECTOR_GENERAL_PROTECTION: Cause(SIGSEGV, SI_KERNEL, False),
    0x10: Cause(SIGFPE, FPE_FLTINV, True),
    0x11: Cause(SIGBUS, BUS_ADRALN, False),
    0x13: Cause(SIGFPE, FPE_FLTINV, True),
}


def cause_of(context: ExceptionContext) -> Cause | None:
    """Name an exception as a signal; None for vectors that user code cannot raise."""
    if context.vector != VECTOR_PAGE_FAULT:
        return _CAUSES.get(context.vector)
    fault = context.page_fault
    denied = fault is not None and fault.present
    return Cause(SIGSEGV, SEGV_ACCERR if denied else SEGV_MAPERR, True)


class AlternateStack(NamedTuple):
    """A task's sigaltstack."""

    address: int
    size: int
    flags: int


def write_frame(
    memory: Memory,
    top: int,
    context: ExceptionContext,
    cause: Cause,
    stack: AlternateStack,
    mask: int,
) -> int:
    """Write a frame that ends at ``top`` or below it; return the address of its ucontext_t.

    siginfo_t follows the ucontext_t. Raises MemoryFaultError where the stack cannot be written.
    """
    base = (top - FRAME_SIZE) & -16
    fault = context.page_fault
    registers = _REGISTERS.unpack_from(context.registers)
    rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, *numbered, rip, rflags = registers
    frame = bytearray(FRAME_SIZE)
    _UCONTEXT.pack_into(
        frame,
        0,
        *(0, 0),
        *(stack.address, stack.flags, stack.size),
        *numbered,
        *(rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags),
        *(_USER_CS, 0, 0, _USER_SS),
        (fault.error_code if fault is not None else context.error_code) or 0,
        context.vector,
        mask,
        fault.accessed_address if fault is not None else 0,
    )
    _SIGMASK.pack_into(frame, SIGMASK_OFFSET, mask)
    address = 0
    if cause.has_address:
        address = fault.accessed_address if fault is not None else rip
    _SIGINFO.pack_into(frame, UCONTEXT_SIZE, cause.signal, 0, cause.code, address)
    memory.write(base, frame)
    return base


def read_back(memory: Memory, ucontext: int, registers: Registers) -> int:
    """Take the registers a handler left in its ucontext_t; return the signal mask it left."""
    data = memory.read(ucontext, SIGMASK_OFFSET + 8)
    values = _REGISTERS.unpack_from(data, GREGS_OFFSET)
    *numbered, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags = values
    flags = registers.rflags & ~_EDITABLE_FLAGS | rflags & _EDITABLE_FLAGS
    _REGISTERS.pack_into(
        registers, 0, rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, *numbered, rip, flags
    )
    mask: int = _SIGMASK.unpack_from(data, SIGMASK_OFFSET)[0]
    return mask
