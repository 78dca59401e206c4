"""Running guest code and looking at why it stopped.

``uc_emu_start`` is never nested. Guest code leaves it in four ways: by a callback that answers
while the CPU waits (exports, system calls, TLB fills), by a ``hlt`` that says why (the return of
a call, an export that may call back), by an exception, or because it was asked to stop. The loop
looks at the last three with the CPU at rest, so Python may then call guest code again, to any
depth: Python recurses, Unicorn does not.

::

    call ──► run ──► uc_emu_start ──► guest … hlt
              ▲                         │ why?
              │   returned ─────────────┼──► rax
              ├── re-entering export ◄──┤
              ├── exception ◄───────────┤   Python, CPU at rest: may call, one level deeper,
              ├── re-entrant system call┤   or go over to another thread, whose loop runs in
              ├── stop that was asked ◄─┘   another greenlet and finds the CPU as it left it
              └── goes on at the same pc, the next, or where a handler says

Every loop keeps to the thread it was begun on. Before it goes back into guest code it has the CPU
given that thread's registers; when it is given up by an error while another thread is selected, it
touches neither CPU nor mailbox, which are the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from theseus_kit.errors import GuestKilled, MachineError
from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated import stubs
from theseus_kit.machine.emulated.arguments import Arguments
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.exceptions import Exceptions
from theseus_kit.machine.emulated.exits import Exits
from theseus_kit.machine.emulated.invalidation import Invalidation
from theseus_kit.machine.emulated.memory import EmulatedMemory
from theseus_kit.machine.emulated.pulse import Pulse
from theseus_kit.machine.emulated.requests import Requests
from theseus_kit.machine.emulated.stepping import TRAP_FLAG, Stepping, is_early_fetch
from theseus_kit.machine.emulated.thread import (
    EXCEPTION,
    EXPORT,
    GUEST,
    IDLE,
    PREEMPTION,
    SYSTEM_CALL,
    EmulatedThread,
    Outer,
)
from theseus_kit.machine.emulated.translation import Translation
from theseus_kit.machine.protocol import ExceptionCallback
from theseus_kit.values.exceptions import (
    ExceptionContext,
    KilledByException,
)
from theseus_kit.values.memory import AddressRange

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_RED_ZONE = 128
"""Bytes below rsp that a function may use without saying so (System V ABI, 3.2.2)."""
_FLAGS_OF_A_CALL = 1 << 9 | 1 << 1
"""Interrupts on, the bit that is always set; direction and trap flag clear (ABI, 3.2.1)."""
_MOST_STEPS = 64
"""More instructions than any stub has."""


class RunLoop:
    """The guest threads, the calls in progress on them, and the requests to stop."""

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
        self.nobody = self.thread = EmulatedThread(cpu, AddressRange(0, 0), 0)
        """Selected where no thread of the user's is: it has no stack."""
        self.nobody.selected = True
        self.exception: ExceptionCallback | None = None
        self.requests = Requests()
        self.pulse = Pulse(self)
        self.uses_mailbox: Callable[[int], bool] = lambda _: False
        """Whether the code at an address is midway through the mailbox that all threads share."""
        self._cpu = cpu
        self._mailbox = mailbox
        self._stubs = addresses
        self._exits = exits
        self._exceptions = exceptions
        self._stepping = Stepping(cpu, exceptions)
        self._translation = translation
        self._invalidation = Invalidation(cpu, mailbox, translation, addresses["flush"])
        self._arguments = Arguments(cpu, mailbox, memory)
        self._runs = 0
        self._runs_at_last_beat = -1

    def beat(self) -> bool:
        """See :class:`theseus_kit.machine.emulated.pulse.Beating`."""
        if self.thread.place != GUEST:
            return False
        if self._runs == self._runs_at_last_beat or self.requests.any:
            self._cpu.stop()  # it has run since then without looking up
        self._runs_at_last_beat = self._runs
        return True

    def select(self, thread: EmulatedThread) -> None:
        """Give the CPU a thread's registers, with Python at rest."""
        left = self.thread
        if left is thread:
            return
        try:
            left.save()
            left.selected = False
            self.thread = thread
            thread.load()
        except BaseException:
            # A signal handler of Python's may raise anywhere in here: be whole either way.
            if self.thread is thread:
                thread.load()
            else:
                left.selected = True
            raise
        finally:
            self._mailbox[stubs.TOP] = self.thread.top

    def give_up(self) -> None:
        """The machine is closed: whatever is in progress must touch nothing of it any more."""
        self.thread.selected = False
        self.thread = self.nobody

    def announce(self, pages: list[int]) -> None:
        """Have pages leave the TLB before the guest's next access, wherever Python runs now."""
        if self.thread.place != GUEST:
            self._translation.pending += pages
        elif self._exits.in_system_call:
            self._translation.pending += pages
            self._cpu.stop()
        else:
            self._invalidation.put_into_mailbox(pages)

    def call(
        self,
        address: int,
        arguments: Sequence[int],
        float_arguments: Sequence[float],
        stack_pointer: int | None,
    ) -> int:
        """Call a guest function from wherever Python has control with the CPU at rest."""
        thread = self.thread
        if thread.broken:
            raise MachineError("guest calls on this thread did not return innermost first")
        if thread.place == IDLE:
            if self.requests.any:
                self.requests.forget(thread)
            self._cpu.stops.clear()
            self._arguments.place(thread, address, arguments, float_arguments, stack_pointer)
            return self.run(self._stubs["call"])
        cpu = self._cpu
        _leave_room_for_callbacks(4)  # saving goes through ctypes, which hides a RecursionError
        state = cpu.save()
        thread.outer.append(Outer(state, thread.place, thread.context))
        try:
            cpu.write_register(uc.REG_RFLAGS, _FLAGS_OF_A_CALL)
            self._arguments.place(thread, address, arguments, float_arguments, stack_pointer)
            result = self.run(self._stubs["call"])
            thread.float_result = cpu.read_double(0)
        finally:
            thread.outer.pop()
            thread.back_to(state)
        return result

    def run(self, start_at: int) -> int:
        """Run guest code from an address until the innermost call returns; return its rax."""
        cpu, mailbox, thread = self._cpu, self._mailbox, self.thread
        start, handle = cpu.library.emu_start, cpu.handle
        pending = self._translation.pending
        outer = thread.place
        pc: int | None = start_at
        if not self.pulse.alive:
            self.pulse.start()
        try:
            _leave_room_for_callbacks(4)
            while True:
                if pending:
                    self._invalidation.run_stub()
                thread.place = GUEST
                self._runs += 1
                error = start(handle, pc, 0, 0, 0)
                # Still GUEST: its frames are on the stack and its state is in the CPU. A finaliser
                # or a signal handler of Python's may run here, and must not call guest code.
                reason = mailbox[10]
                if not reason:
                    pc = self._look_into(thread, error)
                    if pc is not None:
                        continue
                    reason = mailbox[10]  # of a stub that was finished step by step
                mailbox[10] = 0
                if reason == 1:
                    result = mailbox[8]
                    thread.place = outer
                    thread.float_result = None
                    return result
                if reason == 2:
                    pc = self._answer_reentering(thread)
                else:
                    self._raise_failure()
        except BaseException:
            self._give_up_call(thread, outer)
            raise

    def _give_up_call(self, thread: EmulatedThread, outer: int) -> None:
        """An error ends the innermost call of a thread."""
        thread.place = outer
        if thread is self.thread:
            mailbox = self._mailbox
            mailbox[stubs.REASON] = 0
            mailbox[stubs.ATTENTION] = 0
            self._exits.forget()
            self._exceptions.forget()
            self._translation.flush()
        if outer == IDLE:
            thread.start_afresh()

    def _answer_reentering(self, thread: EmulatedThread) -> int:
        """Run the export that the guest waits for; return where it goes on."""
        mailbox = self._mailbox
        self._cpu.stops.clear()  # too late for the run that has just ended
        answer = self._exits.answers[mailbox[stubs.EXPORT]]
        depth, top = len(thread.outer), self._rest(thread, EXPORT, mailbox[stubs.STACK_POINTER])
        try:
            result = answer() or 0
            if self.requests.any:
                self.requests.answer()
            self._go_back_to(thread, depth)
        finally:
            self._end_rest(thread, top)
        mailbox[stubs.RESULT] = result & _MASK
        return self._stubs["reentered"]

    def _look_into(self, thread: EmulatedThread, error: int) -> int | None:
        """Deal with a stop that was no return and no export; return where the guest goes on.

        None: it has come to a stop that the mailbox gives the reason of.
        """
        exits, stops = self._exits, self._cpu.stops
        self._raise_failure()
        context = self._exceptions.take(error)
        if context is None:
            if exits.privileged is not None:
                context = self._exceptions.privileged(exits.privileged)
                exits.privileged = None
            elif exits.waiting_system_call is not None:
                stops.clear()
                arguments, exits.waiting_system_call = exits.waiting_system_call, None
                return self._answer_system_call(thread, arguments)
            elif stops:
                stops.clear()
                return self._look_up(thread)
            else:
                context = self._exceptions.halted()
        elif is_early_fetch(context):
            context = self._stepping.step_to_fault(context)
            if context is None:
                self._raise_failure()
                return self._cpu.read_register(uc.REG_RIP)
        return self._handle(thread, context)

    def _handle(self, thread: EmulatedThread, context: ExceptionContext) -> int:
        """Show an exception to the handler; return where the guest goes on."""
        if self.exception is None:
            raise GuestKilled(KilledByException(context.vector), context)
        self._cpu.stops.clear()
        outer_context, thread.context = thread.context, context
        depth = len(thread.outer)
        top = self._rest(thread, EXCEPTION, context.registers.rsp - _RED_ZONE)
        try:
            self.exception(context)
            if self.requests.any:
                self.requests.answer()
            self._go_back_to(thread, depth)
        finally:
            self._end_rest(thread, top)
            thread.context = outer_context
        self._cpu.write_frame(context.registers)
        return context.registers.rip

    def _answer_system_call(self, thread: EmulatedThread, arguments: tuple[int, ...]) -> int:
        """Answer a re-entrant system call; return where the guest goes on."""
        registers = self._cpu.read_frame().copy()
        depth = len(thread.outer)
        top = self._rest(thread, SYSTEM_CALL, registers.rsp - _RED_ZONE)
        try:
            result = self._exits.answer_system_call(*arguments)
            if self.requests.any:
                self.requests.answer()
            self._go_back_to(thread, depth)
        finally:
            self._end_rest(thread, top)
        self._exits.finish_system_call(result, registers.rip, registers.rflags)
        return registers.rip

    def _look_up(self, thread: EmulatedThread) -> int | None:
        """Deal with a stop that was asked for, between two instructions of the guest.

        Not within a stub, whose values in the mailbox another thread would overwrite: the guest
        first goes on to the stub's end.
        """
        requests = self.requests
        if not requests.any:
            self._translation.grow_if_it_pays()
            return self._cpu.read_register(uc.REG_RIP)
        requests.raise_interrupt()
        registers = self._cpu.read_frame().copy()
        steps = 0
        while self.uses_mailbox(registers.rip):
            if steps == _MOST_STEPS or registers.rflags & TRAP_FLAG:
                return registers.rip  # the next stop will do
            registers, context, stepped = self._stepping.step(registers)
            self._raise_failure()
            if context is not None:
                return self._handle(thread, context)
            if self._mailbox[stubs.REASON]:
                return None
            if not stepped:
                return registers.rip
            steps += 1
        depth = len(thread.outer)
        top = self._rest(thread, PREEMPTION, registers.rsp - _RED_ZONE)
        try:
            requests.answer()
            self._go_back_to(thread, depth)
        finally:
            self._end_rest(thread, top)
        return registers.rip

    def _rest(self, thread: EmulatedThread, place: int, stack_pointer: int) -> int:
        """Give Python control inside a guest frame; return what :meth:`_end_rest` needs."""
        top = thread.top
        thread.place = place
        thread.top = self._mailbox[stubs.TOP] = stack_pointer & -16
        return top

    def _go_back_to(self, thread: EmulatedThread, depth: int) -> None:
        """Make sure that what runs next is a thread's frame that waits below ``depth`` calls."""
        if len(thread.outer) != depth or thread.broken:
            thread.broken = True
            raise MachineError("guest calls on this thread did not return innermost first")
        if self.thread is not thread:
            if self.thread.place == GUEST or not self._cpu.handle:
                raise MachineError("a guest call cannot go on: the machine is closed or in use")
            self.select(thread)

    def _end_rest(self, thread: EmulatedThread, top: int) -> None:
        """Give control back to the guest frame, which goes on or is given up."""
        thread.place = GUEST
        thread.top = top
        if thread is self.thread:
            self._mailbox[stubs.TOP] = top

    def _raise_failure(self) -> None:
        """Raise what Python code raised in a callback."""
        failure = self._exits.failure
        if failure is not None:
            self._exits.failure = None
            raise failure


def _leave_room_for_callbacks(levels: int) -> None:
    """Raise RecursionError now, where it can be caught, rather than at a callback's entry.

    Entering Unicorn through ctypes and being called back takes up to four levels; what the
    callback then calls may fail like any other Python code.
    """
    if levels:
        _leave_room_for_callbacks(levels - 1)
