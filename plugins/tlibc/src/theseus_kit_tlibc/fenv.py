"""fenv.h: the rounding mode and exceptions, in machine code: they are the guest's registers.

The x87 unit's control word and SSE's MXCSR are kept in step, as C has one environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.listing import Listing

FEGETROUND = Listing(
    """
    d97c24f8                fnstcw word ptr [rsp - 8]
    0fb74424f8              movzx eax, word ptr [rsp - 8]
    25000c0000              and eax, 0xc00
    c3                      ret
    """
)

FESETROUND = Listing(
    """
    f7c7fff3ffff            test edi, 0xfffff3ff
    7538                    jne 0x40
    d97c24f8                fnstcw word ptr [rsp - 8]
    0fb74424f8              movzx eax, word ptr [rsp - 8]
    25fff30000              and eax, 0xf3ff
    09f8                    or eax, edi
    66894424f8              mov word ptr [rsp - 8], ax
    d96c24f8                fldcw word ptr [rsp - 8]
    0fae5c24f8              stmxcsr dword ptr [rsp - 8]
    8b4424f8                mov eax, dword ptr [rsp - 8]
    25ff9fffff              and eax, 0xffff9fff
    c1e703                  shl edi, 3
    09f8                    or eax, edi
    894424f8                mov dword ptr [rsp - 8], eax
    0fae5424f8              ldmxcsr dword ptr [rsp - 8]
    31c0                    xor eax, eax
    c3                      ret
    b801000000              mov eax, 1                                   ; 0x40
    c3                      ret
    """
)

# What has been raised in either unit.
FETESTEXCEPT = Listing(
    """
    dfe0                    fnstsw ax
    0fae5c24f8              stmxcsr dword ptr [rsp - 8]
    0b4424f8                or eax, dword ptr [rsp - 8]
    83e03d                  and eax, 0x3d
    21f8                    and eax, edi
    c3                      ret
    """
)

# The x87 unit can only forget all of them.
FECLEAREXCEPT = Listing(
    """
    dbe2                    fnclex
    83e73d                  and edi, 0x3d
    f7d7                    not edi
    0fae5c24f8              stmxcsr dword ptr [rsp - 8]
    217c24f8                and dword ptr [rsp - 8], edi
    0fae5424f8              ldmxcsr dword ptr [rsp - 8]
    31c0                    xor eax, eax
    c3                      ret
    """
)


class Bodies(DeferredBodies):
    LISTINGS: ClassVar[Mapping[str, Listing]] = {
        "fegetround": FEGETROUND,
        "fesetround": FESETROUND,
        "fetestexcept": FETESTEXCEPT,
        "feclearexcept": FECLEAREXCEPT,
    }
