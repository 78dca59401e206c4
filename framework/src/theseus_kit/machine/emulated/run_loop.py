"""Running guest code and looking at why it stopped.

``uc_emu_start`` is never nested. Guest code leaves it in three ways: by a callback that answers
while the CPU waits (exports, system calls, TLB fills), by a ``hlt`` that says why (the return of
a call, an export that may call back), or by an exception. The loop looks at the last two with
the CPU at rest, so Python may then call guest code again, to any depth: Python recurses, Unicorn
does not.

::

    call ──► run ──► uc_emu_start ──► guest … hlt
              ▲                         │ why?
              │   returned ─────────────┼──► rax
              ├── re-entering export ◄──┤
              ├── exception ◄───────────┤   Python, CPU at rest: may call, one level deeper
              ├── stop that was asked ◄─┘
              └── goes on at the same pc, the next, or where a handler says
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence

from theseus_kit.errors import GuestInterrupted, GuestKilled, MachineError
from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated import stubs
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.exceptions import VECTOR_DEBUG, Exceptions
from theseus_kit.machine.emulated.exits import Exits
from theseus_kit.machine.emulated.memory import EmulatedMemory
from theseus_kit.machine.emulated.pulse import Pulse
from theseus_kit.machine.emulated.thread import EmulatedThread
from theseus_kit.machine.emulated.translation import Translation
from theseus_kit.machine.protocol import ExceptionCallback
from theseus_kit.values.exceptions import (
    VECTOR_PAGE_FAULT,
    Access,
    ExceptionContext,
    KilledByException,
    Registers,
)
from theseus_kit.values.memory import page_floor

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_RED_ZONE = 128
"""Bytes below rsp that a function may use without saying so (System V ABI, 3.2.2)."""
_TRAP_FLAG = 1 << 8

IDLE, GUEST, EXPORT, EXCEPTION = range(4)
"""Who has control: nobody; guest code, or a callback it waits in; Python with the CPU at rest."""


class RunLoop:
    """The calls in progress, innermost last, and the thread they run on."""

    def __init__(
        self,
        cpu: Cpu,
        mailbox: memoryview,
        addresses: dict[str, int],
        exits: Exits,
        exceptions: Exceptions,
        translation: Translation,
        memory: EmulatedMemory,
    ) -> None:
        self.place = IDLE
        self.thread: EmulatedThread | None = None
        self.exception: ExceptionCallback | None = None
        self.interrupted = False
        self.float_result: float | None = None
        self.pulse = Pulse(self)
        self._cpu = cpu
        self._mailbox = mailbox
        self._stubs = addresses
        self._exits = exits
        self._exceptions = exceptions
        self._translation = translation
        self._memory = memory
        self._context: ExceptionContext | None = None
        """The exception that is being handled, where ``place`` is EXCEPTION."""
        self._outer: list[tuple[ctypes.c_void_p, int, ExceptionContext | None]] = []
        """What waits for each nested call: the CPU's state, who has control, the exception."""
        self._runs = 0
        self._runs_at_last_beat = -1

    def beat(self) -> bool:
        """See :class:`theseus_kit.machine.emulated.pulse.Beating`."""
        if self.place != GUEST:
            return False
        if self._runs == self._runs_at_last_beat:  # it has run since then without looking up
            self._cpu.stop()
        self._runs_at_last_beat = self._runs
        return True

    def announce(self, pages: list[int]) -> None:
        """Have pages leave the TLB before the guest's next access, wherever Python runs now."""
        if self.place != GUEST:
            self._translation.pending += pages
        elif self._exits.in_system_call:
            self._translation.pending += pages
            self._cpu.stop()
        else:
            self._put_into_mailbox(pages)

    def _put_into_mailbox(self, pages: list[int]) -> None:
        mailbox = self._mailbox
        count = mailbox[stubs.FLUSH_COUNT] if mailbox[stubs.ATTENTION] else 0
        if count + len(pages) > stubs.FLUSH_LIMIT:
            self._translation.flush()
            return
        for position, page in enumerate(pages, stubs.FLUSH_PAGES + count):
            mailbox[position] = page
        mailbox[stubs.FLUSH_COUNT] = count + len(pages)
        mailbox[stubs.ATTENTION] = stubs.ATTENTION_FLUSH

    def call(
        self,
        address: int,
        arguments: Sequence[int],
        float_arguments: Sequence[float],
        stack_pointer: int | None,
    ) -> int:
        """Call a guest function from wherever Python has control with the CPU at rest."""
        if self.place == IDLE:
            self.float_result = None
            self.interrupted = False
            self._cpu.stops.clear()
            return self._call(address, arguments, float_arguments, stack_pointer)
        cpu = self._cpu
        _leave_room_for_callbacks(4)  # saving goes through ctypes, which hides a RecursionError
        state = cpu.save()
        self._outer.append((state, self.place, self._context))
        try:
            result = self._call(address, arguments, float_arguments, stack_pointer)
            self.float_result = cpu.read_double(0)
        finally:
            self._outer.pop()
            cpu.restore(state)
        return result

    def _call(
        self,
        address: int,
        arguments: Sequence[int],
        float_arguments: Sequence[float],
        stack_pointer: int | None,
    ) -> int:
        mailbox = self._mailbox
        if stack_pointer is None:
            if self.thread is None:
                raise MachineError("no thread is selected to call guest code on")
            stack_pointer = self.thread.top
        stack_pointer &= -16
        position = stubs.CALL_ARGUMENTS
        for argument in arguments[:6]:
            mailbox[position] = argument & _MASK
            position += 1
        if len(arguments) > 6:
            stack_pointer = self._push(stack_pointer, arguments[6:])
        for index, value in enumerate(float_arguments):
            self._cpu.write_double(index, value)
        mailbox[stubs.CALL_VECTORS] = len(float_arguments)
        mailbox[stubs.CALL_STACK_POINTER] = stack_pointer
        mailbox[stubs.CALL_TARGET] = address
        return self.run(self._stubs["call"])

    def _push(self, stack_pointer: int, arguments: Sequence[int]) -> int:
        """Put stack arguments in their place; return the stack pointer to call with."""
        stack_pointer = (stack_pointer - 8 * len(arguments)) & -16
        data = b"".join((argument & _MASK).to_bytes(8, "little") for argument in arguments)
        self._memory.write(stack_pointer, data)
        return stack_pointer

    def run(self, pc: int) -> int:
        """Run guest code from ``pc`` until the innermost call returns; return its rax."""
        cpu, mailbox = self._cpu, self._mailbox
        start, handle = cpu.library.emu_start, cpu.handle
        pending = self._translation.pending
        outer = self.place
        if not self.pulse.alive:
            self.pulse.start()
        try:
            _leave_room_for_callbacks(4)
            while True:
                if pending:
                    self._invalidate_pending()
                self.place = GUEST
                self._runs += 1
                error = start(handle, pc, 0, 0, 0)
                # Still GUEST: its frames are on the stack and its state is in the CPU. A finaliser
                # or a signal handler of Python's may run here, and must not call guest code.
                reason = mailbox[10]
                if reason:
                    mailbox[10] = 0
                    if reason == 1:
                        result = mailbox[8]
                        self.place = outer
                        return result
                    if reason == 2:
                        pc = self._answer_reentering()
                        continue
                pc = self._look_into(error)
        except BaseException:
            self.place = outer
            mailbox[stubs.REASON] = 0
            mailbox[stubs.ATTENTION] = 0
            self._exits.forget()
            self._exceptions.forget()
            self._translation.flush()
            raise

    def _answer_reentering(self) -> int:
        """Run the export that the guest waits for; return where it goes on."""
        mailbox = self._mailbox
        self._cpu.stops.clear()  # too late for the run that has just ended
        stack_pointer = mailbox[stubs.STACK_POINTER]
        answer = self._exits.answers[mailbox[stubs.EXPORT]]
        saved = self._enter(EXPORT, stack_pointer)
        try:
            result = answer() or 0
        finally:
            self._leave(saved)
        if self.interrupted:
            self._raise_interrupted()
        mailbox[stubs.RESULT] = result & _MASK
        return self._stubs["reentered"]

    def _look_into(self, error: int) -> int:
        """Deal with a stop that was no return and no export; return where the guest goes on."""
        exits = self._exits
        self._raise_failure()
        context = self._exceptions.take(error)
        if context is None:
            if exits.privileged is not None:
                context = self._exceptions.privileged(exits.privileged)
                exits.privileged = None
            elif self._cpu.stops:
                self._cpu.stops.clear()
                if self.interrupted:
                    self._raise_interrupted()
                self._translation.grow_if_it_pays()
                return self._cpu.read_register(uc.REG_RIP)
            else:
                context = self._exceptions.halted()
        elif _is_early_fetch(context):
            context = self._step_to_fault(context)
            if context is None:
                return self._cpu.read_register(uc.REG_RIP)
        return self._handle(context)

    def _handle(self, context: ExceptionContext) -> int:
        """Show an exception to the handler; return where the guest goes on."""
        if self.exception is None:
            raise GuestKilled(KilledByException(context.vector), context)
        self._cpu.stops.clear()
        outer_context, self._context = self._context, context
        saved = self._enter(EXCEPTION, context.registers.rsp - _RED_ZONE)
        try:
            self.exception(context)
        finally:
            self._leave(saved)
            self._context = outer_context
        if self.interrupted:
            self._raise_interrupted()
        self._cpu.write_frame(context.registers)
        return context.registers.rip

    def _step_to_fault(self, context: ExceptionContext) -> ExceptionContext | None:
        """Execute instructions one by one up to the one whose fetch faults.

        Unicorn translates straight-line code up to 500 instructions ahead, and a page it cannot
        fetch on the way is reported before the first of them has run. With the trap flag it
        translates one at a time.
        """
        cpu = self._cpu
        registers = context.registers
        page = page_floor(registers.rip)
        pc = registers.rip
        while True:
            registers.rflags |= _TRAP_FLAG
            cpu.write_frame(registers)
            outer, self.place = self.place, GUEST
            error = cpu.library.emu_start(cpu.handle, pc, 0, 0, 0)
            self.place = outer
            found = self._exceptions.take(error)
            registers = cpu.read_frame().copy() if found is None else found.registers
            registers.rflags &= ~_TRAP_FLAG
            if found is not None and found.vector != VECTOR_DEBUG:
                return found
            if found is None or page_floor(registers.rip) != page:
                cpu.write_frame(registers)
                self._raise_failure()
                return None
            pc = registers.rip

    def _enter(self, place: int, stack_pointer: int) -> tuple[EmulatedThread | None, int]:
        """Give Python control inside a guest frame."""
        self.place = place
        thread = self.thread
        if thread is None:
            return None, 0
        top = thread.top
        thread.top = self._mailbox[stubs.TOP] = stack_pointer & -16
        return thread, top

    def _leave(self, saved: tuple[EmulatedThread | None, int]) -> None:
        """Give control back to the guest frame, which goes on or is given up."""
        self.place = GUEST
        thread, top = saved
        if thread is not None:
            thread.top = top
            if thread is self.thread:
                self._mailbox[stubs.TOP] = top

    def _invalidate_pending(self) -> None:
        """Run the stub that invalidates pages, between two instructions of the guest."""
        mailbox, pending = self._mailbox, self._translation.pending
        if len(pending) > stubs.FLUSH_LIMIT:
            self._translation.flush()
            return
        for position, page in enumerate(pending, stubs.FLUSH_PAGES):
            mailbox[position] = page
        mailbox[stubs.FLUSH_COUNT] = len(pending)
        pending.clear()
        cpu = self._cpu
        cpu.library.emu_start(cpu.handle, self._stubs["flush"], 0, 0, 0)
        if mailbox[stubs.REASON] != stubs.REASON_FLUSHED:  # stopped from outside, midway
            self._translation.flush()
        mailbox[stubs.REASON] = 0

    def _raise_failure(self) -> None:
        """Raise what Python code raised in a callback."""
        failure = self._exits.failure
        if failure is not None:
            self._exits.failure = None
            raise failure

    def _raise_interrupted(self) -> None:
        self.interrupted = False
        raise GuestInterrupted("guest code was interrupted")

    def registers(self) -> Registers:
        """See :meth:`theseus_kit.machine.protocol.Machine.registers`."""
        if self.place == IDLE:
            return Registers()
        if self.place == EXCEPTION and self._context is not None:
            return self._context.registers.copy()
        registers = self._cpu.read_frame().copy()
        if self.place == EXPORT or (self.place == GUEST and not self._exits.in_system_call):
            self._return(registers)
        return registers

    def waiting(self) -> Iterator[tuple[Registers, bool, int | None]]:
        """Each call in progress, innermost first: see :class:`protocol.Waiting`.

        For the address of an export its number.
        """
        if self.place == IDLE:
            return
        registers = self.registers()
        is_export = self.place in (EXPORT, GUEST) and not self._exits.in_system_call
        # An export's stub leaves its number in r11.
        yield registers, self.place == EXCEPTION, registers.r11 if is_export else None
        for state, place, context in reversed(self._outer):
            if place == EXCEPTION and context is not None:
                yield context.registers.copy(), True, None
            else:
                registers = self._cpu.read_saved_frame(state)
                self._return(registers)
                yield registers, False, registers.r11

    def _return(self, registers: Registers) -> None:
        """Go from an export's entry to its caller."""
        registers.rip = self._memory.read_u64(registers.rsp)
        registers.rsp += 8


def _is_early_fetch(context: ExceptionContext) -> bool:
    """A fetch faults on a later page than the one rip is on: rip may be instructions too early."""
    fault = context.page_fault
    return (
        context.vector == VECTOR_PAGE_FAULT
        and fault is not None
        and fault.access is Access.EXECUTE
        and page_floor(fault.accessed_address) != page_floor(context.registers.rip)
    )


def _leave_room_for_callbacks(levels: int) -> None:
    """Raise RecursionError now, where it can be caught, rather than at a callback's entry.

    Entering Unicorn through ctypes and being called back takes up to four levels; what the
    callback then calls may fail like any other Python code.
    """
    if levels:
        _leave_room_for_callbacks(levels - 1)
