"""What crosses the exception hooks: registers, CPU exceptions, why a task is killed.

An *exception* here is always a CPU exception; a Python one is called an *error*.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, TypeAlias

from theseus_kit.values.marker import Marker
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.task import Task

VECTOR_DIVIDE_ERROR = 0x00
VECTOR_DEBUG = 0x01
VECTOR_BREAKPOINT = 0x03
VECTOR_INVALID_OPCODE = 0x06
VECTOR_DOUBLE_FAULT = 0x08
VECTOR_GENERAL_PROTECTION = 0x0D
VECTOR_PAGE_FAULT = 0x0E


class Registers(ctypes.Structure):
    """The integer registers of one frame, each an unsigned 64-bit number; editable in place.

    Vector and floating-point state is not here: a machine preserves it across a handler by itself.
    """

    NAMES = (
        *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"),
        *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags"),
    )
    _fields_ = [(name, ctypes.c_uint64) for name in NAMES]

    if TYPE_CHECKING:
        rax: int
        rbx: int
        rcx: int
        rdx: int
        rsi: int
        rdi: int
        rbp: int
        rsp: int
        r8: int
        r9: int
        r10: int
        r11: int
        r12: int
        r13: int
        r14: int
        r15: int
        rip: int
        rflags: int

    def copy(self) -> Registers:
        return Registers.from_buffer_copy(self)

    def __repr__(self) -> str:
        values = " ".join(f"{name}={getattr(self, name):#x}" for name in self.NAMES)
        return f"<Registers {values}>"


class ExceptionCategory(IntEnum):
    """What a task may handle, with the POSIX signal of each: Theseus's four, and one more.

    Theseus answers debug and breakpoint exceptions by itself, so it has no category for them. C
    programs handle them (SIGTRAP), which is what the last one is for.
    """

    INVALID_ADDRESS = 0  # SIGSEGV
    ILLEGAL_INSTRUCTION = 1  # SIGILL
    BUS_ERROR = 2  # SIGBUS
    ARITHMETIC_ERROR = 3  # SIGFPE
    BREAKPOINT = 4  # SIGTRAP


_CATEGORIES = {
    **dict.fromkeys((0x00, 0x04, 0x10, 0x13), ExceptionCategory.ARITHMETIC_ERROR),
    **dict.fromkeys((0x05, 0x0C, 0x0E), ExceptionCategory.INVALID_ADDRESS),
    **dict.fromkeys((0x06, 0x07, 0x08, 0x0A, 0x0D), ExceptionCategory.ILLEGAL_INSTRUCTION),
    **dict.fromkeys((0x0B, 0x11), ExceptionCategory.BUS_ERROR),
    **dict.fromkeys((VECTOR_DEBUG, VECTOR_BREAKPOINT), ExceptionCategory.BREAKPOINT),
}


def category_of_vector(vector: int) -> ExceptionCategory | None:
    """The category a vector is filed under, None for those that no task may handle.

    Source: Theseus ``kernel/exceptions_full``, ``kernel/signal_handler``; but for BREAKPOINT.
    """
    return _CATEGORIES.get(vector)


class Access(Enum):
    """What an instruction tried to do with memory."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"


class PageFault(NamedTuple):
    """The details of vector 0x0E: the exact byte address touched first, and how."""

    accessed_address: int
    access: Access
    present: bool
    """The page is mapped, with a protection that forbids the access."""

    @property
    def error_code(self) -> int:
        """The error code an x86-64 CPU pushes in user mode (Intel SDM vol. 3, 4.7)."""
        return (
            int(self.present)
            | (self.access is Access.WRITE) << 1
            | 1 << 2
            | (self.access is Access.EXECUTE) << 4
        )


class ExceptionContext:
    """One CPU exception, as its handler sees it.

    ``registers`` are live: what a handler writes there is what the task resumes with.
    ``error_code`` is the CPU's, None for vectors that push none.
    """

    __slots__ = ("error_code", "page_fault", "registers", "vector")

    def __init__(
        self,
        vector: int,
        registers: Registers,
        error_code: int | None = None,
        page_fault: PageFault | None = None,
    ) -> None:
        self.vector = vector
        self.registers = registers
        self.error_code = error_code
        self.page_fault = page_fault

    @property
    def instruction_pointer(self) -> int:
        """Address of the instruction that faulted (for a breakpoint: the one after it)."""
        return self.registers.rip

    @property
    def stack_pointer(self) -> int:
        return self.registers.rsp

    @property
    def category(self) -> ExceptionCategory | None:
        return category_of_vector(self.vector)

    def __repr__(self) -> str:
        return f"<ExceptionContext {self}>"

    def __str__(self) -> str:
        text = f"{KilledByException(self.vector)} at {self.instruction_pointer:#x}"
        if self.page_fault is not None:
            fault = self.page_fault
            text += f", {fault.access.value} of {fault.accessed_address:#x}"
        return text


class KillRequested(Marker):
    """Somebody asked for the task to end."""

    def __str__(self) -> str:
        return "Requested"


class Panicked(NamedTuple):
    """The task's own code gave up: a panic, abort() or a failed assertion."""

    message: str

    def __str__(self) -> str:
        return f"Panic: {self.message}"


class KilledByException(NamedTuple):
    """A CPU exception nobody handled. Shown as Theseus shows it: ``Exception 0xE(14)``."""

    vector: int

    def __str__(self) -> str:
        return f"Exception {self.vector:#X}({self.vector})".replace("0X", "0x")


class Exited(NamedTuple):
    """The program ended itself: exit(), _exit() or exit_group() with this status (0…255).

    Whichever task does it, it ends all of them.
    """

    status: int

    def __str__(self) -> str:
        return f"Exit status {self.status}"


KillReason: TypeAlias = KillRequested | Panicked | KilledByException | Exited
"""Why guest code was killed. :class:`KillRequested` ends one task, each of the others them all,
as Linux ends a process for a signal or an exit: the main task's caller gets the error."""


class Resume(Marker):
    """Go on at the context's registers, edited or not."""


class Kill(NamedTuple):
    """End the task, for this reason."""

    reason: KillReason


ExceptionOutcome: TypeAlias = Resume | Kill

ExceptionHandler: TypeAlias = Callable[[ExceptionContext], bool]
"""Returns True for handled, go on; False for not handled, go on with the default."""

KillHandler: TypeAlias = Callable[["Task", KillReason], None]
"""Told, before anything else happens, that its task is about to be killed."""
