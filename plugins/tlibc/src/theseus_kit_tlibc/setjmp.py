"""setjmp.h: leaving a function for one further out, in machine code.

::

    jmp_buf, 200 bytes
    ┌─────┬─────┬─────┬─────┬─────┬─────┬─────┬─────┬───────────────┬──────────────────┐
    │ rbx │ rbp │ r12 │ r13 │ r14 │ r15 │ rsp │ rip │ mask is saved │ mask (128 bytes) │
    └─────┴─────┴─────┴─────┴─────┴─────┴─────┴─────┴───────────────┴──────────────────┘
    0     8     16    24    32    40    48    56    64              72

rsp and rip are those after the return from setjmp. Registers are stored as they are: glibc's
mangling guards against attackers, who have no business here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.listing import Listing

# Holes: sigprocmask(SIG_BLOCK, NULL, the mask).
SIGSETJMP = Listing(
    """
    48891f                  mov qword ptr [rdi], rbx
    48896f08                mov qword ptr [rdi + 8], rbp
    4c896710                mov qword ptr [rdi + 0x10], r12
    4c896f18                mov qword ptr [rdi + 0x18], r13
    4c897720                mov qword ptr [rdi + 0x20], r14
    4c897f28                mov qword ptr [rdi + 0x28], r15
    488d542408              lea rdx, [rsp + 8]
    48895730                mov qword ptr [rdi + 0x30], rdx
    488b1424                mov rdx, qword ptr [rsp]
    48895738                mov qword ptr [rdi + 0x38], rdx
    897740                  mov dword ptr [rdi + 0x40], esi
    85f6                    test esi, esi
    7503                    jne 0x32
    31c0                    xor eax, eax
    c3                      ret
    488d5748                lea rdx, [rdi + 0x48]                            ; 0x32
    31ff                    xor edi, edi
    31f6                    xor esi, esi
    4883ec08                sub rsp, 8
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc
    ffd0                    call rax
    4883c408                add rsp, 8
    31c0                    xor eax, eax
    c3                      ret
    """
)

# _setjmp saves no mask, setjmp does: rsi says so. The hole is __sigsetjmp, which sees the caller's
# stack, as it is jumped to.
SETJMP_WITHOUT_MASK = Listing(
    """
    31f6                    xor esi, esi
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc
    41ffe3                  jmp r11
    """
)

SETJMP = Listing(
    """
    be01000000              mov esi, 1
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc
    41ffe3                  jmp r11
    """
)

# The hole is sigprocmask(SIG_SETMASK, the mask, NULL).
LONGJMP = Listing(
    """
    837f4000                cmp dword ptr [rdi + 0x40], 0
    7529                    jne 0x2f
    89f0                    mov eax, esi                                     ; 6
    85c0                    test eax, eax
    7502                    jne 0xe
    ffc0                    inc eax                                          ; never 0
    488b1f                  mov rbx, qword ptr [rdi]                         ; 0xe
    488b6f08                mov rbp, qword ptr [rdi + 8]
    4c8b6710                mov r12, qword ptr [rdi + 0x10]
    4c8b6f18                mov r13, qword ptr [rdi + 0x18]
    4c8b7720                mov r14, qword ptr [rdi + 0x20]
    4c8b7f28                mov r15, qword ptr [rdi + 0x28]
    488b5738                mov rdx, qword ptr [rdi + 0x38]
    488b6730                mov rsp, qword ptr [rdi + 0x30]
    ffe2                    jmp rdx
    57                      push rdi                                         ; 0x2f
    56                      push rsi
    56                      push rsi                                         ; for alignment
    488d7748                lea rsi, [rdi + 0x48]
    bf02000000              mov edi, 2
    31d2                    xor edx, edx
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc
    ffd0                    call rax
    5e                      pop rsi
    5e                      pop rsi
    5f                      pop rdi
    ebb8                    jmp 6
    """
)

_SIGNAL_MASK = "sigprocmask"


class Bodies(DeferredBodies):
    LISTINGS: ClassVar[Mapping[str, Listing]] = {
        "__sigsetjmp": SIGSETJMP,
        "_setjmp": SETJMP_WITHOUT_MASK,
        "setjmp": SETJMP,
        **dict.fromkeys(("longjmp", "_longjmp", "siglongjmp", "__longjmp_chk"), LONGJMP),
    }

    def machine_code(self, name: str) -> bytes:
        target = "__sigsetjmp" if name in ("_setjmp", "setjmp") else _SIGNAL_MASK
        return self.LISTINGS[name].with_address(self.library.provided(target))
