"""Where everything is in the structures that the machine code and Python share.

All are in host memory that guest code has no business with. Offsets are bytes.

::

    context, one for each machine             thread record, one for each host thread
    ┌──────────────┬───────────────────────┐  ┌─────────┬────────────────────────────────┐
    │ THREAD       │ record of the thread  │  │ POINTER │ the thread's fs:[0], 0: free   │
    │              │ that uses the machine │  │ RUNNING │ context whose guest code runs, │
    │ GUEST        │ the guest thread that │  │         │ 0: host code runs              │
    │              │ is selected           │  │ GIL     │ thread state to take the GIL   │
    │ CALLS        │ guest threads with    │  │         │ back with, 0: it is held       │
    │              │ calls in progress     │  │ ENTRIES │ ways into guest code, counted  │
    │ ATTENTION    │ what is asked, a byte │  │ SEEN    │ ENTRIES at the last idle tick  │
    │              │ each: interrupt,      │  │ TICKING │ the timer runs                 │
    │              │ preempt, closed       │  │ TIMER   │ its kernel number              │
    │ ASKED        │ GUEST at that time    │  │ TICKS   │ since the GIL was released     │
    │ SCRATCH      │ rax, for a moment     │  └─────────┴────────────────────────────────┘
    │ EXPORTS      │ table of functions    │
    │ ON_…         │ Python callables      │
    │ THREAD_…     │ selected guest        │
    │              │ thread's fs_base      │
    │ REENTRANT    │ a bit for each number │
    │              │ of a system call      │
    └──────────────┴───────────────────────┘

    guest thread, a mapping of its own        frame, while Python holds control in guest code
    ┌──────────────────────────────────────┐  ┌──────────────┬────────────────────────────┐
    │ room for one frame too many          │  │ Registers    │ rax rbx rcx …              │
    ├──────────────────────────────────────┤  ├──────────────┼────────────────────────────┤ 0x90
    │ ↓ FRAMES_START                       │  │ KIND         │                            │
    │   frames, growing down               │  │ HOST_STACK   │ that of the call it is in  │
    │   ↓ FRAME: the innermost             │  │ XMM 0 … 7    │ (exports)                  │
    ├──────────────────────────────────────┤  │ WORDS        │ six arguments              │
    │ HOST_STACK    rsp to leave to,       │  └──────────────┴────────────────────────────┘ 0x150
    │               0: no call in progress │
    │ FRAME         GUEST itself: none     │  Frames are not on the host's stack, of which a
    │ TOP           of the stack, 0: none  │  greenlet that waits has its part taken away: while
    │ FLOAT_STATE   control registers      │  a thread is selected, Python may look at its frames
    │ FLOAT_RESULT  xmm0 after a call      │  from whatever greenlet.
    │ FS_BASE       while not selected too │
    └──────────────────────────────────────┘

    journal, one page for each machine
    ┌──────────────────────────┬───────────────────────────────────────┬────────────────────────┐
    │ COUNT, AREA_COUNT,       │ AREAS: (start, end) to protect,       │ ENTRIES:               │
    │ registers for a moment   │        (start, size) to map and unmap │ (start, end, kind)     │
    └──────────────────────────┴───────────────────────────────────────┴────────────────────────┘
    0                          0x80                                    0x480                0xf00
"""

from __future__ import annotations

from typing import Final

from theseus_kit.values.exceptions import Registers

CONTEXT_THREAD: Final = 0x00
CONTEXT_GUEST: Final = 0x08
CONTEXT_CALLS: Final = 0x10
CONTEXT_ASKED: Final = 0x18
CONTEXT_ATTENTION: Final = 0x20
CONTEXT_SCRATCH: Final = 0x28
CONTEXT_EXPORTS: Final = 0x38
CONTEXT_ON_EXCEPTION: Final = 0x40
CONTEXT_ON_SYSTEM_CALL: Final = 0x48
CONTEXT_THREAD_POINTER: Final = 0x50
CONTEXT_ON_ATTENTION: Final = 0x58
CONTEXT_REENTRANT: Final = 0x80
REENTRANT_SYSTEM_CALLS: Final = 512
"""Bits of CONTEXT_REENTRANT."""

ATTENTION_INTERRUPT: Final = 0
ATTENTION_PREEMPT: Final = 1
ATTENTION_CLOSED: Final = 2

GUEST_HOST_STACK: Final = 0x00
GUEST_FRAME: Final = 0x08
GUEST_TOP: Final = 0x10
GUEST_FLOAT_STATE: Final = 0x18
"""MXCSR, then the x87 control word, of guest code that runs next; four bytes each."""
GUEST_FLOAT_RESULT: Final = 0x20
GUEST_FS_BASE: Final = 0x28
GUEST_FRAMES_START: Final = 0x30
GUEST_SIZE: Final = 0x40

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
FRAME_HOST_STACK: Final = 0x98
FRAME_XMM: Final = 0xA0
FRAME_WORDS: Final = 0x120
FRAME_SIZE: Final = 0x150

KIND_EXPORT: Final = 0
KIND_SYSTEM_CALL: Final = 1
KIND_TICK: Final = 2
KIND_REENTERING: Final = 3
KIND_EXCEPTION: Final = 4
KIND_REENTRANT_CALL: Final = 5
KIND_PREEMPTION: Final = 6
FIRST_KIND_AT_REST: Final = 3
"""In frames of this kind and the later ones Python may call guest code."""

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

# The journal of what guest code maps and protects by itself, one for each machine.
JOURNAL_COUNT: Final = 0x00
"""How many entries there are."""
JOURNAL_AREA_COUNT: Final = 0x08
JOURNAL_RETURN: Final = 0x10
JOURNAL_FLAGS: Final = 0x18
JOURNAL_RBX: Final = 0x20
JOURNAL_RDI: Final = 0x28
JOURNAL_RDX: Final = 0x30
JOURNAL_R8: Final = 0x38
JOURNAL_R9: Final = 0x40
JOURNAL_R10: Final = 0x48
JOURNAL_NUMBER: Final = 0x50
JOURNAL_AREA: Final = 0x58
JOURNAL_END: Final = 0x60
JOURNAL_KIND: Final = 0x68
JOURNAL_RESULT: Final = 0x70
JOURNAL_CONTEXT: Final = 0x78
JOURNAL_AREAS: Final = 0x80
"""What may be protected, (start, end) or zeros, and mapped and unmapped, (start, size) or zeros."""
JOURNAL_AREA_SIZE: Final = 0x20
JOURNAL_AREA_LIMIT: Final = 32
JOURNAL_ENTRIES: Final = 0x480
"""(start, end, kind), 24 bytes each, in order. A kind is a protection, or one of those below."""
JOURNAL_CAPACITY: Final = 112
KIND_UNMAPPED: Final = 8
KIND_MAPPED: Final = 0x10
"""And the protection."""

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
