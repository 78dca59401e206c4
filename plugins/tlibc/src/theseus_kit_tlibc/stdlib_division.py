"""stdlib.h and inttypes.h: absolute values and divisions, whose results C returns in registers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.listing import Listing

ABS = Listing(
    """
    89f8                    mov eax, edi
    f7d8                    neg eax
    0f48c7                  cmovs eax, edi
    c3                      ret
    """
)

LABS = Listing(
    """
    4889f8                  mov rax, rdi
    48f7d8                  neg rax
    480f48c7                cmovs rax, rdi
    c3                      ret
    """
)

# div_t is eight bytes: the quotient in the low half of rax, the remainder in the high one.
DIV = Listing(
    """
    89f8                    mov eax, edi
    99                      cdq
    f7fe                    idiv esi
    48c1e220                shl rdx, 0x20
    89c0                    mov eax, eax
    4809d0                  or rax, rdx
    c3                      ret
    """
)

# ldiv_t, lldiv_t and imaxdiv_t are sixteen: rax and rdx, where idiv leaves them.
LDIV = Listing(
    """
    4889f8                  mov rax, rdi
    4899                    cqo
    48f7fe                  idiv rsi
    c3                      ret
    """
)


class Bodies(DeferredBodies):
    LISTINGS: ClassVar[Mapping[str, Listing]] = {
        "abs": ABS,
        **dict.fromkeys(("labs", "llabs", "imaxabs"), LABS),
        "div": DIV,
        **dict.fromkeys(("ldiv", "lldiv", "imaxdiv"), LDIV),
    }
