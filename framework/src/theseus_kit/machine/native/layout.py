"""Where everything is in the structures that the machine code and Python share.

All are in host memory that guest code has no business with. Offsets are bytes.

::

    context, one for each machine             thread record, one for each host thread
    ┌──────────────┬───────────────────────┐  ┌─────────┬────────────────────────────────┐
    │ THREAD       │ record of the thread  │  │ POINTER │ the thread's fs:[0], 0: free   │
    │              │ that uses the machine │  │ RUNNING │ context whose guest code runs, │
    │ HOST_STACK   │ rsp to leave to, 0    │  │         │ 0: host code runs              │
    │              │ where nothing runs    │  │ GIL     │ thread state to take the GIL   │
    │ FRAME        │ innermost frame, 0    │  │         │ back with, 0: it is held       │
    │ TOP          │ prepared calls' rsp   │  │ ENTRIES │ ways into guest code, counted  │
    │ ATTENTION    │ 1: interrupt          │  │ SEEN    │ ENTRIES at the last idle tick  │
    │ SCRATCH      │ rax, for a moment     │  │ TICKING │ the timer runs                 │
    │ FLOAT_RESULT │ xmm0 after a call     │  │ TIMER   │ its kernel number              │
    │ EXPORTS      │ table of functions    │  │ TICKS   │ since the GIL was released     │
    │ ON_…         │ Python callables      │  └─────────┴────────────────────────────────┘
    │ THREAD_…     │ guest thread's fs_base│
    │ FLOAT_STATE  │ its control registers │
    └──────────────┴───────────────────────┘

    frame, on the host's stack, while Python holds control inside guest code
    ┌───────────────────┬──────┬───────┬──────────────┬───────────────┐
    │ Registers (144)   │ KIND │ OUTER │ XMM 0 … 7    │ WORDS: six    │
    │ rax rbx rcx …     │      │ frame │ (exports)    │ arguments     │
    └───────────────────┴──────┴───────┴──────────────┴───────────────┘
    0                   0x90   0x98    0xa0           0x120           0x150

    journal, one page for each machine
    ┌──────────────────────────────┬─────────────────────┬────────────────────────────────────┐
    │ COUNT, AREA_COUNT, registers │ AREAS: (start, end) │ ENTRIES: (start, end, protection)  │
    └──────────────────────────────┴─────────────────────┴────────────────────────────────────┘
    0                              0x40                  0x240                          0xe40
"""

from __future__ import annotations

from typing import Final

from theseus_kit.values.exceptions import Registers

CONTEXT_THREAD: Final = 0x00
CONTEXT_HOST_STACK: Final = 0x08
CONTEXT_FRAME: Final = 0x10
CONTEXT_TOP: Final = 0x18
CONTEXT_ATTENTION: Final = 0x20
CONTEXT_SCRATCH: Final = 0x28
CONTEXT_FLOAT_RESULT: Final = 0x30
CONTEXT_EXPORTS: Final = 0x38
CONTEXT_ON_EXCEPTION: Final = 0x40
CONTEXT_ON_SYSTEM_CALL: Final = 0x48
CONTEXT_THREAD_POINTER: Final = 0x50
CONTEXT_FLOAT_STATE: Final = 0x58
"""MXCSR, then the x87 control word, of the guest thread that runs next; four bytes each."""

THREAD_POINTER: Final = 0x00
THREAD_RUNNING: Final = 0x08
THREAD_GIL: Final = 0x10
THREAD_ENTRIES: Final = 0x18
THREAD_SEEN: Final = 0x20
THREAD_TICKING: Final = 0x28
THREAD_TIMER: Final = 0x30
THREAD_TICKS: Final = 0x38
THREAD_SIZE: Final = 0x40

FRAME_KIND: Final = 0x90
FRAME_OUTER: Final = 0x98
FRAME_XMM: Final = 0xA0
FRAME_WORDS: Final = 0x120
FRAME_SIZE: Final = 0x150

KIND_EXPORT: Final = 0
KIND_REENTERING: Final = 1
KIND_SYSTEM_CALL: Final = 2
KIND_EXCEPTION: Final = 3
KIND_TICK: Final = 4

# An entry of the table of exports.
EXPORT_FUNCTION: Final = 0
EXPORT_ARITY: Final = 8
EXPORT_KIND: Final = 12

# A prepared call's slot: what to call with what, and the PyMethodDef of its builtin.
SLOT_CONTEXT: Final = 0x00
SLOT_SLOW: Final = 0x08
SLOT_TARGET: Final = 0x10
SLOT_STACK_POINTER: Final = 0x18
SLOT_ARGUMENTS: Final = 0x20
SLOT_METHOD: Final = 0x50
SLOT_SIZE: Final = 0x80

# The journal of the changes of protection that guest code makes by itself, one for each machine.
JOURNAL_COUNT: Final = 0x00
"""How many entries there are."""
JOURNAL_AREA_COUNT: Final = 0x08
JOURNAL_RETURN: Final = 0x10
JOURNAL_RBX: Final = 0x18
JOURNAL_FLAGS: Final = 0x20
JOURNAL_END: Final = 0x28
JOURNAL_CONTEXT: Final = 0x30
JOURNAL_AREAS: Final = 0x40
"""What may be changed: (start, end), 16 bytes each."""
JOURNAL_ENTRIES: Final = 0x240
"""(start, end, protection), 24 bytes each, in the order they were made."""
JOURNAL_AREA_LIMIT: Final = 32
JOURNAL_CAPACITY: Final = 128

# The kernel's ucontext_t and siginfo_t (arch/x86/include/uapi/asm/sigcontext.h, ucontext.h).
UCONTEXT_RIP: Final = 0xA8
UCONTEXT_ERR: Final = 0xC0
UCONTEXT_TRAPNO: Final = 0xC8
UCONTEXT_CR2: Final = 0xD8
UCONTEXT_FPSTATE: Final = 0xE0
UCONTEXT_SIZE: Final = 0x130
UCONTEXT_WORDS: Final = 0x26
FPSTATE_EXTENDED_SIZE: Final = 0x1D4
SIGINFO_CODE: Final = 0x08
SIGINFO_ARCH: Final = 0x1C
ARCH_X86_64: Final = 0xC000003E
"""AUDIT_ARCH_X86_64, which si_arch of a SIGSYS says of a ``syscall`` in 64-bit code."""

SIGTRAP: Final = 5
SIGBUS: Final = 7
SIGSEGV: Final = 11
SIGSYS: Final = 31

TICKS_WITHOUT_GIL: Final = 10
"""How many ticks guest code runs without the GIL until Python's signal handlers get a chance."""

_UCONTEXT_NAMES = (
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx"),
    *("rdx", "rax", "rcx", "rsp", "rip", "rflags"),
)
REGISTER_ORDER: Final = bytes(5 + _UCONTEXT_NAMES.index(name) for name in Registers.NAMES)
"""Which word of a ucontext_t each of the Registers is."""


def constants() -> dict[str, int]:
    """The names that the assembly of the machine code uses."""
    names = {name: value for name, value in globals().items() if isinstance(value, int)}
    names |= {f"FRAME_{name.upper()}": 8 * index for index, name in enumerate(Registers.NAMES)}
    return names
