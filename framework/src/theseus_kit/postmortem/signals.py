"""What a CPU exception is called in a core file: the signal Linux would have ended a program with.

Source: arch/x86/kernel/traps.c and arch/x86/mm/fault.c of Linux 6; signal(7).
"""

from __future__ import annotations

from theseus_kit.values.exceptions import ExceptionContext, KilledByException, KillReason, Panicked
from theseus_kit.values.record import NamedTuple

SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV = 4, 5, 6, 7, 8, 9, 11
_SI_KERNEL, _SEGV_MAPERR, _SEGV_ACCERR = 0x80, 1, 2

_SIGNALS = {
    **dict.fromkeys((0x00, 0x10, 0x13), SIGFPE),
    **dict.fromkeys((0x01, 0x03), SIGTRAP),
    0x06: SIGILL,
    **dict.fromkeys((0x0B, 0x0C, 0x11), SIGBUS),
}


class Signal(NamedTuple):
    """0: none, the guest goes on."""

    number: int
    code: int = 0
    address: int = 0


def signal_of_exception(context: ExceptionContext) -> Signal:
    """Name an exception as Linux does."""
    fault = context.page_fault
    if fault is not None:
        code = _SEGV_ACCERR if fault.present else _SEGV_MAPERR
        return Signal(SIGSEGV, code, fault.accessed_address)
    number = _SIGNALS.get(context.vector, SIGSEGV)
    has_address = number in (SIGFPE, SIGILL)
    return Signal(number, _SI_KERNEL, context.instruction_pointer if has_address else 0)


def signal_of_reason(reason: KillReason) -> Signal:
    """Name a kill that came with no exception's context: a panic aborts, a request kills."""
    if isinstance(reason, Panicked):
        return Signal(SIGABRT)
    if isinstance(reason, KilledByException):
        return Signal(_SIGNALS.get(reason.vector, SIGSEGV))
    return Signal(SIGKILL)
