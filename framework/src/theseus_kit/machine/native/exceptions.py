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
_WRITE, _FETCH = 1 << 1, 1 << 4
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
    access = _access(code)
    # The CPU cannot tell a page that is not mapped from one that is mapped without access.
    fault = PageFault(address, access, is_mapped(address) or bool(code & 1))
    return ExceptionContext(vector, registers, fault.error_code, fault)


def _access(code: int) -> Access:
    if code & _FETCH:
        return Access.EXECUTE
    return Access.WRITE if code & _WRITE else Access.READ
