"""From a signal frame to the CPU exception it stands for.

The kernel keeps vector, error code and CR2 in the ucontext_t. CR2 is stale but for a page fault.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from theseus_kit.machine.native import layout
from theseus_kit.values.exceptions import (
    VECTOR_GENERAL_PROTECTION,
    VECTOR_PAGE_FAULT,
    Access,
    ExceptionContext,
    PageFault,
    Registers,
)

_CAUSE = Struct("<QQ8xQ")
"""err, trapno, cr2: three words of a ucontext_t from UCONTEXT_ERR on."""
_PRESENT, _WRITE, _USER, _FETCH = 1 << 0, 1 << 1, 1 << 2, 1 << 4
_ACCESSES = {
    0: Access.READ,
    _WRITE: Access.WRITE,
    _FETCH: Access.EXECUTE,
    _WRITE | _FETCH: Access.EXECUTE,
}
"""By the two bits of a page fault's error code. A table: an Enum's members are slow to ask for."""
_WITH_ERROR_CODE = frozenset((8, 10, 11, 12, 13, 14, 17))


_INT_0X80 = 2
"""Bytes of the instruction."""
_ERROR_CODE_OF_INT_0X80 = 0x80 << 3 | 2
"""A selector index into the IDT (Intel SDM vol. 3, 6.13)."""


def forbidden_interrupt(registers: Registers) -> ExceptionContext:
    """What ``int 0x80`` is: a gate that user code may not use."""
    registers.rip -= _INT_0X80
    return ExceptionContext(VECTOR_GENERAL_PROTECTION, registers, _ERROR_CODE_OF_INT_0X80)


def read_exception(
    view: memoryview, ucontext: int, registers: Registers, is_mapped: Callable[[int], bool]
) -> ExceptionContext:
    """Say which exception a ucontext_t is the frame of; ``registers`` are the faulting ones."""
    code, vector, address = _CAUSE.unpack_from(view, ucontext + layout.UCONTEXT_ERR)
    if vector != VECTOR_PAGE_FAULT:
        return ExceptionContext(vector, registers, code if vector in _WITH_ERROR_CODE else None)
    access = code & (_WRITE | _FETCH)
    # The CPU cannot tell a page that is not mapped from one that is mapped without access.
    present = bool(code & _PRESENT) or is_mapped(address)
    fault = PageFault(address, _ACCESSES[access], present)
    return ExceptionContext(vector, registers, access | _USER | present, fault)
