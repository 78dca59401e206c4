"""syscall(2)'s C function: any system call by number, errors by errno.

It is machine code around a real ``syscall`` instruction, so that whichever plugin serves the number
is asked; only the error path comes back here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, NoReturn

from theseus_kit.errors import PlatformError
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function
from theseus_kit_tlibc.listing import Listing

SYSCALL = Listing(
    """
    4889f8                  mov rax, rdi                    ; the number
    4889f7                  mov rdi, rsi
    4889d6                  mov rsi, rdx
    4889ca                  mov rdx, rcx
    4d89c2                  mov r10, r8                     ; the kernel's fourth argument
    4d89c8                  mov r8, r9
    4c8b4c2408              mov r9, qword ptr [rsp + 8]     ; the seventh argument
    0f05                    syscall
    483d01f0ffff            cmp rax, -0xfff
    7301                    jae 0x22
    c3                      ret
    4889c7                  mov rdi, rax
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc  ; __syscall_error
    41ffe3                  jmp r11
    """
)


class Syscall(Header):
    header: ClassVar[str] = "unistd.h"

    def machine_code(self, listing: Listing) -> Callable[[], bytes]:
        return self._code

    def _code(self) -> bytes:
        return SYSCALL.with_address(self.library.provided("__syscall_error"))

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
