"""signal.h over the exception hooks: dispositions, alternate stacks, and delivery of exceptions.

A disposition is the process's; exception handlers are a task's, so an installed action is
registered in every task, under each category whose vectors Linux turns into that signal. A
provider may forget a handler once it fired (Theseus does) or keep it: it is registered again at
each delivery, where its slot is empty, while the action stays installed. So all of sigaction(2)
holds over either provider, but for what happens without a handler: an int3 that nobody handles
kills or not as the provider has it.

What frame a handler gets is :mod:`.signal_frame`'s; masks, and the signals a program sends itself,
are :mod:`.signal_send`'s.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import cached_property
from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import (
    AlreadyRegisteredError,
    InvalidParameterError,
    MemoryFaultError,
    OutOfMemoryError,
    PlatformError,
)
from theseus_kit.values.exceptions import VECTOR_DEBUG, ExceptionCategory, category_of_vector
from theseus_kit.values.record import NamedTuple
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function, system_call
from theseus_kit_tlibc.signal_frame import (
    CONTEXT_FLAGS,
    CONTEXT_FLAGS_XSAVE,
    RED_ZONE,
    RETURN_SIZE,
    SIGBUS,
    SIGFPE,
    SIGILL,
    SIGNAL_ENTRY,
    SIGNAL_ENTRY_XSAVE,
    SIGNAL_RETURN,
    SIGNAL_RETURN_XSAVE,
    SIGSEGV,
    SIGTRAP,
    STACK_OFFSET,
    AlternateStack,
    Cause,
    Stubs,
    cause_of,
    enter_handler,
    finish_leaving,
    leave_handler,
)
from theseus_kit_tlibc.signal_tasks import (
    CELLS_SIZE,
    NO_STACK,
    SIGKILL,
    SIGSTOP,
    SS_AUTODISARM,
    SS_DISABLE,
    SS_ONSTACK,
    UNBLOCKABLE,
    TaskSignals,
)
from theseus_kit_tlibc.signal_unwind import place_return_stub
from theseus_kit_tlibc.signal_vectors import find_vector_state

if TYPE_CHECKING:
    from theseus_kit.task import Task
    from theseus_kit.values.exceptions import ExceptionContext
    from theseus_kit_tlibc.library import Library

SIG_DFL, SIG_IGN = 0, 1
SIGNALS = 64
SA_SIGINFO, SA_ONSTACK, SA_NODEFER, SA_RESETHAND = 4, 0x08000000, 0x40000000, 0x80000000
SA_RESTART = 0x10000000
MINSIGSTKSZ = 2048
_INTERNAL = (32, 33)
"""What glibc keeps to itself, SIGCANCEL and SIGSETXID: no signals to a program."""
ALL_SIGNALS = (1 << SIGNALS) - 1 & ~(3 << 31)

# struct sigaction of glibc: handler, mask (1024 bits, of which 64 count), flags, restorer …
_C_ACTION = Struct("<QQ120xi4xQ")
# … and of the kernel: handler, flags, restorer, mask.
_KERNEL_ACTION = Struct("<QQQQ")
_STACK = Struct("<QI4xQ")

_CATEGORIES = {
    SIGSEGV: (ExceptionCategory.INVALID_ADDRESS, ExceptionCategory.ILLEGAL_INSTRUCTION),
    SIGILL: (ExceptionCategory.ILLEGAL_INSTRUCTION,),
    SIGBUS: (ExceptionCategory.BUS_ERROR, ExceptionCategory.INVALID_ADDRESS),
    SIGFPE: (ExceptionCategory.ARITHMETIC_ERROR,),
    SIGTRAP: (ExceptionCategory.BREAKPOINT,),
}
"""Under which categories the vectors of a signal are filed: #GP is an illegal instruction to
Theseus and a SIGSEGV to Linux, a stack segment fault an invalid address and a SIGBUS."""


class Action(NamedTuple):
    handler: int
    flags: int
    mask: int
    restorer: int


_DEFAULT = Action(SIG_DFL, 0, 0, 0)


class Signal(Header):
    header: ClassVar[str] = "signal.h"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._hooks = library.hooks
        self._all_tasks = library.services.tasks
        self._actions: dict[int, Action] = {}
        self._tasks: dict[Task, TaskSignals] = {}
        self.shared: dict[int, Cause] = {}
        """Signals of the process that every task blocks."""
        self._handlers_stay = False
        """The provider of exception registration is known to keep handlers that were asked."""

    def task_started(self, task: Task) -> None:
        """Give a new task the process's handlers, and its creator's mask (pthread_create(3))."""
        library = self.library
        creator = self._tasks.get(self._all_tasks.current) if self._tasks else None
        cells = library.heap.allocate(CELLS_SIZE)
        signals = self._tasks[task] = TaskSignals(cells, library.memory.view, self.shared)
        if creator is not None:
            signals.mask = creator.mask
        for signum in self._actions:
            self._register(task, signum)

    def task_ended(self, task: Task) -> None:
        signals = self._tasks.pop(task, None)
        if signals is not None:
            self.library.heap.free(signals.cells)

    @c_function(
        "int sigaction(int signum, const struct sigaction *act, struct sigaction *oldact)",
        on_error=MINUS_ONE,
        reenters=True,
    )
    def sigaction(self, signum: int, act: int, oldact: int) -> int:
        memory = self.library.memory
        action = None
        if act:
            handler, mask, flags, restorer = _C_ACTION.unpack(memory.read(act, _C_ACTION.size))
            action = Action(handler, flags & 0xFFFFFFFF, mask, restorer)
        self.check_number(signum)
        if action is not None and signum == SIGTRAP:
            self._make_stubs()
        old = self._exchange(signum, action)
        if oldact:
            flags = old.flags - (1 << 32) if old.flags >> 31 else old.flags
            memory.write(oldact, _C_ACTION.pack(old.handler, old.mask, flags, old.restorer))
        return 0

    @system_call(
        13,
        "int rt_sigaction(int signum, const struct sigaction *act, struct sigaction *oldact, "
        "size_t sigsetsize)",
    )
    def rt_sigaction(self, signum: int, act: int, oldact: int, sigsetsize: int) -> int:
        if sigsetsize != 8:
            raise InvalidParameterError(f"signal sets of {sigsetsize} bytes")
        memory = self.library.memory
        action = None
        if act:
            handler, flags, restorer, mask = _KERNEL_ACTION.unpack(
                memory.read(act, _KERNEL_ACTION.size)
            )
            action = Action(handler, flags, mask, restorer)
        old = self._exchange(signum, action)
        if oldact:
            memory.write(
                oldact, _KERNEL_ACTION.pack(old.handler, old.flags, old.restorer, old.mask)
            )
        return 0

    @c_function("sighandler_t signal(int signum, sighandler_t handler)", on_error=MINUS_ONE)
    def signal(self, signum: int, handler: int) -> int:
        """As the BSDs and glibc have it: the signal is blocked while its handler runs."""
        self.check_number(signum)
        return self._exchange(signum, Action(handler, SA_RESTART, 1 << (signum - 1), 0)).handler

    @c_function(
        "int sigaltstack(const stack_t *ss, stack_t *old_ss)", system_call=131, on_error=MINUS_ONE
    )
    def sigaltstack(self, ss: int, old_ss: int) -> int:
        memory = self.library.memory
        signals = self._signals()
        wanted = _STACK.unpack(memory.read(ss, _STACK.size)) if ss else None
        stack = signals.stack
        in_use = signals.uses_stack(self.library.machine.registers().rsp)
        if old_ss:
            flags = stack.flags | (SS_ONSTACK if in_use else 0)
            memory.write(old_ss, _STACK.pack(stack.address, flags, stack.size))
        if wanted is not None:
            address, flags, size = wanted
            if in_use:
                raise PlatformError("the alternate stack is in use", errno.EPERM)
            if flags & ~SS_AUTODISARM not in (0, SS_ONSTACK, SS_DISABLE):
                raise InvalidParameterError(f"sigaltstack flags {flags:#x}")
            if flags & SS_DISABLE:
                signals.stack = NO_STACK
            elif size < MINSIGSTKSZ:
                raise OutOfMemoryError(f"an alternate stack of {size} bytes")
            else:
                signals.stack = AlternateStack(address, size, flags & SS_AUTODISARM)
        return 0

    @c_function("int sigemptyset(sigset_t *set)", on_error=MINUS_ONE)
    def sigemptyset(self, sigset: int) -> int:
        self.library.memory.write(sigset, bytes(128))
        return 0

    @c_function("int sigfillset(sigset_t *set)", on_error=MINUS_ONE)
    def sigfillset(self, sigset: int) -> int:
        self.library.memory.write(sigset, b"\xff" * 128)
        self.library.memory.write_u64(sigset, ALL_SIGNALS)
        return 0

    @c_function("int sigaddset(sigset_t *set, int signum)", on_error=MINUS_ONE)
    def sigaddset(self, sigset: int, signum: int) -> int:
        self.check_number(signum)
        memory = self.library.memory
        memory.write_u64(sigset, memory.read_u64(sigset) | 1 << (signum - 1))
        return 0

    @c_function("int sigdelset(sigset_t *set, int signum)", on_error=MINUS_ONE)
    def sigdelset(self, sigset: int, signum: int) -> int:
        self.check_number(signum)
        memory = self.library.memory
        memory.write_u64(sigset, memory.read_u64(sigset) & ~(1 << (signum - 1)))
        return 0

    @c_function("int sigismember(const sigset_t *set, int signum)", on_error=MINUS_ONE)
    def sigismember(self, sigset: int, signum: int) -> int:
        self.check_number(signum)
        return self.library.memory.read_u64(sigset) >> (signum - 1) & 1

    def _exchange(self, signum: int, action: Action | None) -> Action:
        """Install an action, if there is one, and return the one before it."""
        if not 1 <= signum <= SIGNALS:
            raise InvalidParameterError(f"no signal {signum}")
        old = self._actions.get(signum, _DEFAULT)
        if action is None:
            return old
        if signum in (SIGKILL, SIGSTOP):
            raise InvalidParameterError(f"signal {signum} cannot be handled")
        self._actions[signum] = action._replace(mask=action.mask & ~UNBLOCKABLE)
        for task in self._tasks:
            self._register(task, signum)
        return old

    def _register(self, task: Task, signum: int) -> None:
        """Have a task's exceptions of a signal's categories delivered, if it is handled."""
        if self._actions[signum].handler in (SIG_DFL, SIG_IGN):
            # The handler may stay registered: it answers "not handled" for such a signal.
            return
        for category in _CATEGORIES.get(signum, ()):
            # Taken slots: our own handler, still there, or one somebody else registered first,
            # who keeps it, as Theseus has it.
            with suppress(AlreadyRegisteredError):
                self.library.hooks.exception_register(
                    task=task, category=category, handler=self._deliver
                )

    def _deliver(self, context: ExceptionContext) -> bool:
        """Resume in the guest's handler of the signal that an exception is; False without one."""
        cause = cause_of(context)
        if cause is None:
            return False
        task = self._all_tasks.current
        if not self._handlers_stay:
            category = category_of_vector(context.vector)
            if category is not None:
                self._register_again(task, category)
        registers = context.registers
        if context.vector == VECTOR_DEBUG and registers.rip == self._stubs.last:
            finish_leaving(self.library.memory, registers)
            return True
        signals = self._tasks[task]
        if signals.mask >> (cause.signal - 1) & 1:
            return False  # a blocked exception cannot wait: Linux kills (force_sig_fault)
        return self.enter(cause, context, registers.rsp - RED_ZONE, signals)

    def _register_again(self, task: Task, category: ExceptionCategory) -> None:
        """Fill the slot that a delivery emptied, and find out whether the provider empties it."""
        hooks = self._hooks
        try:
            hooks.exception_register(task=task, category=category, handler=self._deliver)
        except AlreadyRegisteredError:
            handler = hooks.exception_take(task=task, category=category)
            hooks.exception_register(task=task, category=category, handler=handler)
            self._handlers_stay = handler == self._deliver

    def enter(
        self, cause: Cause, context: ExceptionContext, top: int, signals: TaskSignals
    ) -> bool:
        """Have the current task go on in its handler of a signal, by editing the registers.

        The frame ends at ``top``, unless it goes on the alternate stack. False, with nothing
        changed, if no handler is installed or there is no room for the frame.
        """
        signum = cause.signal
        action = self._actions.get(signum, _DEFAULT)
        if action.handler in (SIG_DFL, SIG_IGN):
            return False
        stack, mask, lowest = signals.stack, signals.mask, 0
        if signals.uses_stack(top):
            lowest = stack.address
        elif action.flags & SA_ONSTACK and stack.size:
            top, lowest = stack.address + stack.size, stack.address
        try:
            enter_handler(
                self.library.memory,
                *(top, context, cause, stack, mask, action.handler, self._stubs),
                *(signals.cells, lowest),
            )
        except MemoryFaultError:
            # Linux answers with a SIGSEGV that nobody can handle.
            return False
        if stack.flags & SS_AUTODISARM:
            signals.disarm_stack()
        if action.flags & SA_RESETHAND:
            self._actions[signum] = action._replace(handler=SIG_DFL)
        own = 0 if action.flags & SA_NODEFER else 1 << (signum - 1)
        signals.mask = mask | action.mask | own
        return True

    def action(self, signum: int) -> Action:
        """What is installed for a signal."""
        return self._actions.get(signum, _DEFAULT)

    def signals_of(self, task: Task) -> TaskSignals:
        return self._tasks[task]

    def share(self, cause: Cause) -> None:
        """Have a signal wait for the first task that unblocks it."""
        self.shared.setdefault(cause.signal, cause)
        for signals in self._tasks.values():
            signals.call_attention()

    def leave(self, ucontext: int) -> None:
        """Take over what a handler that returns left in its frame: the mask, and the stack."""
        signals = self._signals()
        memory = self.library.memory
        signals.mask = leave_handler(memory, ucontext) & ~UNBLOCKABLE
        address, flags, size = _STACK.unpack(memory.read(ucontext + STACK_OFFSET, _STACK.size))
        if flags & SS_AUTODISARM and not signals.stack.size:
            signals.stack = AlternateStack(address, size, SS_AUTODISARM)

    def _make_stubs(self) -> Stubs:
        """Make them now: a CPU that is single-stepping would trap in the questions it is asked."""
        return self._stubs

    @cached_property
    def _stubs(self) -> Stubs:
        library = self.library
        vectors = find_vector_state(library)
        entry = SIGNAL_ENTRY_XSAVE if vectors.components else SIGNAL_ENTRY
        leave = SIGNAL_RETURN_XSAVE if vectors.components else SIGNAL_RETURN
        code = leave.with_address(library.provided("__restore_signal_mask"))
        place = place_return_stub(library, code)
        return Stubs(
            library.machine.place_code(entry.code, "signal entry"),
            *(place, place + len(code) - RETURN_SIZE),
            CONTEXT_FLAGS_XSAVE if vectors.components else CONTEXT_FLAGS,
            vectors.blank(),
        )

    def _signals(self) -> TaskSignals:
        return self.signals_of(self.library.task)

    def check_number(self, signum: int) -> None:
        """Raise InvalidParameterError for what is no signal to a C program."""
        if not 1 <= signum <= SIGNALS or signum in _INTERNAL:
            raise InvalidParameterError(f"no signal {signum}")
