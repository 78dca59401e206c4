"""The frame a signal handler gets: siginfo_t and ucontext_t as Linux lays them out on x86-64.

::

    high addresses
    ┌────────────────────────────────┐ top of the alternate stack, or rsp - 128 (the red zone)
    │ vector state                   │ see signal_vectors.py; fpregs points here
    ├────────────────────────────────┤ 64-byte aligned
    │ siginfo_t            128 bytes │ ← rsi
    │     si_signo si_errno si_code  │
    │     si_addr at 16              │
    ├────────────────────────────────┤
    │ ucontext_t           976 bytes │ ← rdx
    │     0  uc_flags                │
    │     8  uc_link                 │
    │    16  uc_stack: sp flags size │
    │    40  gregs: r8 … r15 rdi rsi rbp rbx rdx rax rcx rsp rip eflags
    │   184  cs gs fs ss (16 bits each), err, trapno, oldmask, cr2
    │   224  fpregs                  │
    │   296  uc_sigmask: 128 bytes   │ (the kernel fills 8)
    │   968  the task's cells        │ ours, behind the structure's end
    ├────────────────────────────────┤ 16-byte aligned
    │ return address: SIGNAL_RETURN  │ ← rsp at the handler's entry
    └────────────────────────────────┘
    low addresses

The exception resumes at SIGNAL_ENTRY, which saves the registers and goes on to the handler: in
machine code, for it takes Python longer than all else about a frame. The handler returns to
SIGNAL_RETURN, which restores the task's mask (``signal_tasks.py``) and loads the registers that the
handler left in the frame. Nothing of it waits in Python meanwhile: a handler may as well leave by
longjmp, as Wasmtime's did up to version 35.

Sources: arch/x86/include/uapi/asm/{ucontext,sigcontext}.h, include/uapi/asm-generic/siginfo.h,
arch/x86/kernel/signal_64.c of Linux 6; glibc's sys/ucontext.h for the names.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.errors import MemoryFaultError
from theseus_kit.values.exceptions import (
    VECTOR_BREAKPOINT,
    VECTOR_DEBUG,
    VECTOR_GENERAL_PROTECTION,
    VECTOR_INVALID_OPCODE,
    VECTOR_PAGE_FAULT,
    Registers,
)
from theseus_kit.values.record import NamedTuple
from theseus_kit_tlibc.listing import Listing

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory
    from theseus_kit.values.exceptions import ExceptionContext

RED_ZONE = 128
_RETURN_SIZE = 8
_SIGINFO_OFFSET = _RETURN_SIZE + 976
_FRAME_SIZE = _SIGINFO_OFFSET + 128
_VECTOR_ALIGNMENT = 64
SIGINFO_OFFSET = _SIGINFO_OFFSET - _RETURN_SIZE
"""From the ucontext_t to the siginfo_t."""
STACK_OFFSET = 16
REGISTERS_OFFSET = 40
FLAGS_OFFSET = 176
SIGMASK_OFFSET = 296

_RESTORE_MASK = """
    488b8424c8030000        mov rax, qword ptr [rsp + 0x3c8]            ; the task's cells
    4883780800              cmp qword ptr [rax + 8], 0
    752f                    jne 0x3e
    488b8c2428010000        mov rcx, qword ptr [rsp + 0x128]            ; uc_sigmask
    4881e1fffefbff          and rcx, 0xfffffffffffbfeff                 ; UNBLOCKABLE
    488908                  mov qword ptr [rax], rcx
    8b8c24b0000000          mov ecx, dword ptr [rsp + 0xb0]             ; eflags
    81e1d50d0500            and ecx, 0x50dd5                            ; _EDITABLE_FLAGS
    81c902020000            or ecx, 0x202                               ; _FIXED_FLAGS
    48898c24b0000000        mov qword ptr [rsp + 0xb0], rcx
    eb0f                    jmp 0x4d
    4889e7                  mov rdi, rsp                                ; 0x3e: Python sees to it
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc              ; __restore_signal_mask
    ffd0                    call rax
    488b8c24e0000000        mov rcx, qword ptr [rsp + 0xe0]             ; 0x4d: fpregs
    4885c9                  test rcx, rcx
"""
_LOAD_REGISTERS = """
    488b8424a0000000        mov rax, qword ptr [rsp + 0xa0]             ; the new rsp
    488b8c24a8000000        mov rcx, qword ptr [rsp + 0xa8]             ; the new rip
    482d88000000            sub rax, 0x88
    488908                  mov qword ptr [rax], rcx
    48898424a0000000        mov qword ptr [rsp + 0xa0], rax
    4c8b442428              mov r8, qword ptr [rsp + 0x28]
    4c8b4c2430              mov r9, qword ptr [rsp + 0x30]
    4c8b542438              mov r10, qword ptr [rsp + 0x38]
    4c8b5c2440              mov r11, qword ptr [rsp + 0x40]
    4c8b642448              mov r12, qword ptr [rsp + 0x48]
    4c8b6c2450              mov r13, qword ptr [rsp + 0x50]
    4c8b742458              mov r14, qword ptr [rsp + 0x58]
    4c8b7c2460              mov r15, qword ptr [rsp + 0x60]
    488b7c2468              mov rdi, qword ptr [rsp + 0x68]
    488b742470              mov rsi, qword ptr [rsp + 0x70]
    488b6c2478              mov rbp, qword ptr [rsp + 0x78]
    488b9c2480000000        mov rbx, qword ptr [rsp + 0x80]
    488b942488000000        mov rdx, qword ptr [rsp + 0x88]
    488b842490000000        mov rax, qword ptr [rsp + 0x90]
    488b8c2498000000        mov rcx, qword ptr [rsp + 0x98]
    ffb424b0000000          push qword ptr [rsp + 0xb0]
    9d                      popfq
    488ba424a0000000        mov rsp, qword ptr [rsp + 0xa0]
    c28000                  ret 0x80
"""

_SAVE_REGISTERS = """
    4c89442430              mov qword ptr [rsp + 0x30], r8
    4c894c2438              mov qword ptr [rsp + 0x38], r9
    4c89542440              mov qword ptr [rsp + 0x40], r10
    4c895c2448              mov qword ptr [rsp + 0x48], r11
    4c89642450              mov qword ptr [rsp + 0x50], r12
    4c896c2458              mov qword ptr [rsp + 0x58], r13
    4c89742460              mov qword ptr [rsp + 0x60], r14
    4c897c2468              mov qword ptr [rsp + 0x68], r15
    48897c2470              mov qword ptr [rsp + 0x70], rdi
    4889742478              mov qword ptr [rsp + 0x78], rsi
    4889ac2480000000        mov qword ptr [rsp + 0x80], rbp
    48899c2488000000        mov qword ptr [rsp + 0x88], rbx
    4889942490000000        mov qword ptr [rsp + 0x90], rdx
    4889842498000000        mov qword ptr [rsp + 0x98], rax
    48898c24a0000000        mov qword ptr [rsp + 0xa0], rcx
    488b8c24e8000000        mov rcx, qword ptr [rsp + 0xe8]             ; fpregs
"""
_GO_TO_HANDLER = """
    8bbc24d8030000          mov edi, dword ptr [rsp + 0x3d8]            ; si_signo
    488db424d8030000        lea rsi, [rsp + 0x3d8]                      ; siginfo_t
    488d542408              lea rdx, [rsp + 8]                          ; ucontext_t
    4c8b5c2410              mov r11, qword ptr [rsp + 0x10]             ; uc_link: the handler
    31c0                    xor eax, eax
    4889442410              mov qword ptr [rsp + 0x10], rax
    41ffe3                  jmp r11
"""

# rsp is the return address of the handler. al is 0 at a handler's entry, as for any call without
# vector arguments. One for a CPU without XSAVE, one for a CPU with it (0xe7: COMPONENTS).
SIGNAL_ENTRY = Listing(
    _SAVE_REGISTERS
    + """
    480fae01                fxsave64 ptr [rcx]
    """
    + _GO_TO_HANDLER
)
SIGNAL_ENTRY_XSAVE = Listing(
    _SAVE_REGISTERS
    + """
    b8e7000000              mov eax, 0xe7
    31d2                    xor edx, edx
    480fae21                xsave64 ptr [rcx]
    """
    + _GO_TO_HANDLER
)

# rsp is the ucontext_t. The last instruction must set rip and rsp and nothing else: the new rip
# goes below the red zone of the stack that is resumed, and `ret 0x80` steps over the zone.
SIGNAL_RETURN = Listing(
    _RESTORE_MASK
    + """
    7404                    je 0x5e
    480fae09                fxrstor64 ptr [rcx]
    """
    + _LOAD_REGISTERS
)
SIGNAL_RETURN_XSAVE = Listing(
    _RESTORE_MASK
    + """
    740b                    je 0x65
    b8e7000000              mov eax, 0xe7
    31d2                    xor edx, edx
    480fae29                xrstor64 ptr [rcx]
    """
    + _LOAD_REGISTERS
)

SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV = 4, 5, 7, 8, 11

SI_KERNEL = 0x80
ILL_ILLOPN, FPE_INTDIV, FPE_FLTINV = 2, 1, 7
SEGV_MAPERR, SEGV_ACCERR = 1, 2
BUS_ADRALN = 1
TRAP_TRACE = 2

RETURN_SIZE = 3
"""Bytes of SIGNAL_RETURN's last instruction."""

_USER_CS, _USER_SS = 0x33, 0x2B
_UC_FP_XSTATE, _UC_SIGCONTEXT_SS, _UC_STRICT_RESTORE_SS = 1, 2, 4
CONTEXT_FLAGS = _UC_SIGCONTEXT_SS | _UC_STRICT_RESTORE_SS
CONTEXT_FLAGS_XSAVE = CONTEXT_FLAGS | _UC_FP_XSTATE
"""uc_flags of frames with FXSAVE's area, and with XSAVE's."""
_EDITABLE_FLAGS = 0x50DD5
"""What a handler may change of rflags: AC OF DF TF SF ZF AF PF CF RF (FIX_EFLAGS)."""
_FIXED_FLAGS = 0x202
"""What user code always has: interrupts on, and the bit that is 1."""
_CLEARED_AT_ENTRY = 0x10500
"""DF, TF and RF: a handler starts without them (signal_64.c, handle_signal)."""

# return address | uc_flags, the handler | uc_stack: sp, flags, size | 15 registers, left to
# SIGNAL_ENTRY; rsp, rip, eflags | segments, err, trapno, oldmask, cr2, fpregs | uc_sigmask | the
# task's cells | siginfo: signo, code, addr
_FRAME = Struct("<QQQQI4xQ120xQQQ4HQQQQQ64xQ664xQi4xi4xQ104x")
_REGISTERS = Struct("<18Q")
_FRAME_ORDER = (
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx"),
    *("rdx", "rax", "rcx", "rsp", "rip", "rflags"),
)


class Cause(NamedTuple):
    """What a CPU exception is called as a signal."""

    signal: int
    code: int
    has_address: bool
    """si_addr is the faulting instruction; a page fault has its data address there."""
    value: int = 0
    """What stands in place of si_addr: of a signal that was sent si_pid, and si_uid above it."""


# arch/x86/kernel/traps.c; a page fault's code depends on the fault and is settled in cause_of.
_CAUSES = {
    0x00: Cause(SIGFPE, FPE_INTDIV, True),
    VECTOR_DEBUG: Cause(SIGTRAP, TRAP_TRACE, True),
    VECTOR_BREAKPOINT: Cause(SIGTRAP, SI_KERNEL, False),
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
_UNMAPPED = Cause(SIGSEGV, SEGV_MAPERR, True)
_DENIED = Cause(SIGSEGV, SEGV_ACCERR, True)


def cause_of(context: ExceptionContext) -> Cause | None:
    """Name an exception as a signal; None for vectors that user code cannot raise."""
    if context.vector != VECTOR_PAGE_FAULT:
        return _CAUSES.get(context.vector)
    fault = context.page_fault
    denied = fault is not None and fault.present
    return _DENIED if denied else _UNMAPPED


class Stubs(NamedTuple):
    """Where SIGNAL_ENTRY and SIGNAL_RETURN were placed, and what vector state they move."""

    enter: int
    leave: int
    last: int
    """The last instruction of SIGNAL_RETURN: `ret 0x80`."""
    flags: int
    """uc_flags, which say what is at fpregs."""
    blank: bytes
    """What stands at fpregs before SIGNAL_ENTRY."""


class AlternateStack(NamedTuple):
    """A task's sigaltstack."""

    address: int
    size: int
    flags: int


def enter_handler(
    memory: Memory,
    top: int,
    context: ExceptionContext,
    cause: Cause,
    stack: AlternateStack,
    mask: int,
    handler: int,
    stubs: Stubs,
    cells: int,
    lowest: int = 0,
) -> None:
    """Write a frame that ends at ``top`` or below it, and have the exception resume in the handler.

    Raises MemoryFaultError where the stack cannot be written, or where the frame would begin
    below ``lowest``; nothing has changed then.
    """
    blank = stubs.blank
    fpregs = (top - len(blank)) & -_VECTOR_ALIGNMENT
    start = fpregs - _FRAME_SIZE
    if start < lowest:
        raise MemoryFaultError(start, "write")
    live = context.registers
    fault = context.page_fault
    rip, rflags = live.rip, live.rflags
    accessed = 0 if fault is None else fault.accessed_address
    address = cause.value
    if cause.has_address:
        address = rip if fault is None else accessed
    frame = _FRAME.pack(
        *(stubs.leave, stubs.flags, handler),
        *(stack.address, stack.flags, stack.size, live.rsp, rip, rflags | _FIXED_FLAGS),
        *(_USER_CS, 0, 0, _USER_SS, context.error_code or 0, context.vector, mask, accessed),
        *(fpregs, mask, cells, cause.signal, cause.code, address),
    )
    memory.write(start, frame + blank)
    live.rip = stubs.enter
    live.rsp = start
    live.rflags = rflags & ~_CLEARED_AT_ENTRY


def read_registers(memory: Memory, ucontext: int) -> Registers:
    """The registers a frame holds."""
    values = _REGISTERS.unpack(memory.read(ucontext + REGISTERS_OFFSET, _REGISTERS.size))
    registers = Registers()
    for name, value in zip(_FRAME_ORDER, values, strict=True):
        setattr(registers, name, value)
    return registers


def write_registers(memory: Memory, ucontext: int, registers: Registers) -> None:
    """Have a frame that is about to be left load other registers."""
    values = (getattr(registers, name) for name in _FRAME_ORDER)
    memory.write(ucontext + REGISTERS_OFFSET, _REGISTERS.pack(*values))


def finish_leaving(memory: Memory, registers: Registers) -> None:
    """Do what SIGNAL_RETURN's last instruction would: return, and step over the red zone.

    For a frame with the trap flag: the first instruction to be trapped is the program's own.
    """
    registers.rip = memory.read_u64(registers.rsp)
    registers.rsp += _RETURN_SIZE + RED_ZONE


def leave_handler(memory: Memory, ucontext: int) -> int:
    """Make a returning handler's frame fit to be loaded; return the signal mask it left."""
    flags = memory.read_u64(ucontext + FLAGS_OFFSET)
    memory.write_u64(ucontext + FLAGS_OFFSET, flags & _EDITABLE_FLAGS | _FIXED_FLAGS)
    return memory.read_u64(ucontext + SIGMASK_OFFSET)
