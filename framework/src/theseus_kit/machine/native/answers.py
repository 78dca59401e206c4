"""What Python answers when guest code faults, makes a system call, or is asked to stop.

The machine code calls these with the frame it has made (:mod:`.code.signals`); what they raise ends
the guest's call, and when they return it goes on at the frame's registers.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from theseus_kit.errors import GuestInterrupted, GuestKilled, MachineError
from theseus_kit.machine.native import layout
from theseus_kit.machine.native.context import Context
from theseus_kit.machine.native.exceptions import forbidden_interrupt, read_exception
from theseus_kit.machine.native.memory import NativeMemory
from theseus_kit.machine.protocol import (
    ExceptionCallback,
    PreemptionCallback,
    SystemCallCallback,
)
from theseus_kit.values.exceptions import VECTOR_BREAKPOINT, KilledByException, Registers

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_REGISTERS_SIZE = layout.FRAME_KIND
_RIP = 8 * Registers.NAMES.index("rip")
_WORD = Struct("<Q")
_SYSCALL, _INT3_NOP = b"\x0f\x05", b"\xcc\x90"


class Answers:
    """The callbacks of one machine."""

    def __init__(self, context: Context, memory: NativeMemory) -> None:
        self.preemption: PreemptionCallback | None = None
        self._context = context
        self._memory = memory
        self._view = memory.view
        self._exception: ExceptionCallback | None = None
        self._system_call: SystemCallCallback = _no_system_call
        self._reentrant: frozenset[int] = frozenset()
        self._rewritten: set[int] = set()
        """Where rip is after the int3 that stands for a ``syscall``."""
        context.set_callback(layout.CONTEXT_ON_EXCEPTION, self._on_exception)
        context.set_callback(layout.CONTEXT_ON_SYSTEM_CALL, self._system_call)
        context.set_callback(layout.CONTEXT_ON_ATTENTION, self._on_attention)

    def set_handlers(
        self,
        exception: ExceptionCallback,
        system_call: SystemCallCallback,
        reentrant: frozenset[int],
    ) -> None:
        self._exception = exception
        self._system_call = system_call
        self._reentrant = reentrant
        self._context.set_callback(layout.CONTEXT_ON_SYSTEM_CALL, system_call)
        self._context.set_reentrant(reentrant)

    def rewrite_system_calls(self, addresses: Iterable[int]) -> None:
        """Have ``syscall`` instructions raise a breakpoint instead. Raises MachineError."""
        for address in addresses:
            if bytes(self._view[address : address + 2]) != _SYSCALL:
                raise MachineError(f"no syscall instruction at {address:#x}")
            self._memory.patch(address, _INT3_NOP)
            self._rewritten.add(address + 1)

    def _on_attention(self) -> None:
        """Do what was asked of the guest."""
        context = self._context
        if context.is_asked(layout.ATTENTION_CLOSED):
            raise MachineError("a guest call cannot go on: the machine is closed")
        if context.take(layout.ATTENTION_INTERRUPT):
            raise GuestInterrupted("guest code was interrupted")
        if context.take(layout.ATTENTION_PREEMPT) and self.preemption is not None:
            self.preemption()

    def _on_exception(self, frame: int, ucontext: int, signal: int) -> None:
        """Answer a fault of guest code: the machine code's callback for every signal but one."""
        view = self._view
        registers = Registers.from_buffer_copy(view[frame : frame + _REGISTERS_SIZE])
        if signal == layout.SIGSYS:
            found = forbidden_interrupt(registers)
        else:
            found = read_exception(view, ucontext, registers, self._memory.is_mapped)
        if found.vector == VECTOR_BREAKPOINT and registers.rip in self._rewritten:
            self._answer_rewritten(frame, registers)
        elif self._exception is None:
            raise GuestKilled(KilledByException(found.vector), found)
        else:
            self._exception(found)
        view[frame : frame + _REGISTERS_SIZE] = memoryview(found.registers).cast("B")

    def _answer_rewritten(self, frame: int, registers: Registers) -> None:
        """Serve a system call whose instruction is an int3 now."""
        r, view = registers, self._view
        kind = layout.KIND_REENTRANT_CALL if r.rax in self._reentrant else layout.KIND_SYSTEM_CALL
        after = r.rip + 1  # past the nop
        _WORD.pack_into(view, frame + layout.FRAME_KIND, kind)
        _WORD.pack_into(view, frame + _RIP, r.rip - 1)
        answer = self._system_call(r.rax, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9)
        _WORD.pack_into(view, frame + layout.FRAME_KIND, layout.KIND_EXCEPTION)
        r.rip = r.rcx = after
        r.rax, r.r11 = answer & _MASK, r.rflags


def _no_system_call(number: int, *arguments: int) -> int:
    raise MachineError("the guest made a system call, which nothing answers")
