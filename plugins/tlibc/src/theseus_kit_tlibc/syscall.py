"""syscall(2)'s C function: any system call by number, errors by errno.

It is machine code around a real ``syscall`` instruction, so that whichever plugin serves the number
is asked; only the error path comes back here. futex(2), which tasks that pass work to each other
call all the time, and only so, is jumped to as a C function where this library serves it and nobody
watches it (:meth:`.futex.Futex.way`): without the instruction it costs half as much.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NoReturn

from theseus_kit.errors import PlatformError
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function
from theseus_kit_tlibc.listing import Listing

if TYPE_CHECKING:
    from theseus_kit_tlibc.futex import Futex
    from theseus_kit_tlibc.library import Library

SYSCALL = Listing(
    """
    4889f8                  mov rax, rdi                    ; the number
    483dca000000            cmp rax, 0xca
    742f                    je 0x3a                         ; futex
    4889f7                  mov rdi, rsi
    4889d6                  mov rsi, rdx
    4889ca                  mov rdx, rcx
    4d89c2                  mov r10, r8                     ; the kernel's fourth argument
    4d89c8                  mov r8, r9
    4c8b4c2408              mov r9, qword ptr [rsp + 8]     ; the seventh argument
    0f05                    syscall
    483d01f0ffff            cmp rax, -0xfff
    7301                    jae 0x2a
    c3                      ret
    4889c7                  mov rdi, rax
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc  ; __syscall_error
    41ffe3                  jmp r11
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc  ; where the function's address is
    4d8b1b                  mov r11, qword ptr [r11]
    4d85db                  test r11, r11
    74bf                    je 0xb                          ; as any other
    4889f7                  mov rdi, rsi
    4889d6                  mov rsi, rdx
    4889ca                  mov rdx, rcx
    4c89c1                  mov rcx, r8
    4d89c8                  mov r8, r9
    4c8b4c2408              mov r9, qword ptr [rsp + 8]
    41ffe3                  jmp r11
    """
)


class Syscall(Header):
    header: ClassVar[str] = "unistd.h"

    def __init__(self, library: Library, futex: Futex) -> None:
        super().__init__(library)
        self._futex = futex

    def machine_code(self, listing: Listing) -> Callable[[], bytes]:
        return self._code

    def _code(self) -> bytes:
        error = self.library.provided("__syscall_error")
        return SYSCALL.with_addresses(error, self._futex.way)

    @cached_property
    def _placed(self) -> int:
        return self.library.machine.place_code(self._code(), "syscall")

    @c_function(
        "long syscall(long number, long a, long b, long c, long d, long e, long f)",
        on_error=MINUS_ONE,
        reenters=True,
        listing=SYSCALL,
    )
    def syscall(self, *arguments: int) -> int:
        """For whoever wraps the function: the same instructions, called."""
        return self.library.machine.call(
            self._placed, [argument & (1 << 64) - 1 for argument in arguments]
        )

    @c_function("long __syscall_error(long result)", on_error=MINUS_ONE)
    def syscall_error(self, result: int) -> NoReturn:
        """What syscall() jumps to with a negated error number."""
        raise PlatformError("a system call failed", -result)
