"""Running guest code one instruction at a time, where the CPU has stopped at an awkward place."""

from __future__ import annotations

from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.exceptions import VECTOR_DEBUG, Exceptions
from theseus_kit.values.exceptions import VECTOR_PAGE_FAULT, Access, ExceptionContext, Registers
from theseus_kit.values.memory import page_floor

TRAP_FLAG = 1 << 8


class Stepping:
    """Single steps, by the CPU's trap flag: Unicorn then translates one instruction at a time."""

    def __init__(self, cpu: Cpu, exceptions: Exceptions) -> None:
        self._cpu = cpu
        self._exceptions = exceptions

    def step(self, registers: Registers) -> tuple[Registers, ExceptionContext | None, bool]:
        """Execute the instruction at these registers.

        Returns the registers after it, the exception it raised, and whether it was stepped over:
        neither raised one nor stopped the CPU.
        """
        cpu = self._cpu
        registers.rflags |= TRAP_FLAG
        cpu.write_frame(registers)
        error = cpu.library.emu_start(cpu.handle, registers.rip, 0, 0, 0)
        found = self._exceptions.take(error)
        after = cpu.read_frame().copy() if found is None else found.registers
        after.rflags &= ~TRAP_FLAG
        stepped = found is not None and found.vector == VECTOR_DEBUG
        if found is None or stepped:
            cpu.write_frame(after)
            return after, None, stepped
        return after, found, False

    def step_to_fault(self, context: ExceptionContext) -> ExceptionContext | None:
        """Execute instructions one by one up to the one whose fetch faults.

        Unicorn translates straight-line code up to 500 instructions ahead, and a page it cannot
        fetch on the way is reported before the first of them has run. None: the code left the page
        before it came to that, or stopped; it goes on where the CPU is.
        """
        registers = context.registers
        page = page_floor(registers.rip)
        while True:
            registers, found, stepped = self.step(registers)
            if found is not None:
                return found
            if not stepped or page_floor(registers.rip) != page:
                return None


def is_early_fetch(context: ExceptionContext) -> bool:
    """A fetch faults on a later page than the one rip is on: rip may be instructions too early."""
    fault = context.page_fault
    return (
        context.vector == VECTOR_PAGE_FAULT
        and fault is not None
        and fault.access is Access.EXECUTE
        and page_floor(fault.accessed_address) != page_floor(context.registers.rip)
    )
