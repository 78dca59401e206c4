"""signal.h over the exception hooks: dispositions, alternate stacks, masks, and delivery.

Signals here are those a CPU exception raises. A disposition is the process's; exception handlers
are a task's, so an installed action is registered in every task, under each category whose
vectors Linux turns into that signal. A provider may forget a handler once it fired (Theseus does):
it is registered again at each delivery, while the action stays installed. What frame a handler
gets is :mod:`.signal_frame`'s.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import cached_property
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from theseus_kit.errors import (
    AlreadyRegisteredError,
    InvalidParameterError,
    MemoryFaultError,
    OutOfMemoryError,
    PlatformError,
)
from theseus_kit.values.exceptions import ExceptionCategory
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function, system_call
from theseus_kit_tlibc.signal_frame import (
    RED_ZONE,
    SIGBUS,
    SIGFPE,
    SIGILL,
    SIGNAL_ENTRY,
    SIGNAL_RETURN,
    SIGSEGV,
    AlternateStack,
    Stubs,
    cause_of,
    enter_handler,
    leave_handler,
)

if TYPE_CHECKING:
    from theseus_kit.task import Task
    from theseus_kit.values.exceptions import ExceptionContext
    from theseus_kit_tlibc.library import Library

SIG_DFL, SIG_IGN = 0, 1
SIGKILL, SIGSTOP, SIGNALS = 9, 19, 64
SA_SIGINFO, SA_ONSTACK, SA_NODEFER, SA_RESETHAND = 4, 0x08000000, 0x40000000, 0x80000000
SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = 0, 1, 2
SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
MINSIGSTKSZ = 2048
_UNBLOCKABLE = 1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1)

# struct sigaction of glibc: handler, mask (1024 bits, of which 64 count), flags, restorer …
_C_ACTION = Struct("<QQ120xi4xQ")
# … and of the kernel: handler, flags, restorer, mask.
_KERNEL_ACTION = Struct("<QQQQ")
_STACK = Struct("<Qi4xQ")

_CATEGORIES = {
    SIGSEGV: (ExceptionCategory.INVALID_ADDRESS, ExceptionCategory.ILLEGAL_INSTRUCTION),
    SIGILL: (ExceptionCategory.ILLEGAL_INSTRUCTION,),
    SIGBUS: (ExceptionCategory.BUS_ERROR, ExceptionCategory.INVALID_ADDRESS),
    SIGFPE: (ExceptionCategory.ARITHMETIC_ERROR,),
}
"""Under which categories the vectors of a signal are filed: #GP is an illegal instruction to
Theseus and a SIGSEGV to Linux, a stack segment fault an invalid address and a SIGBUS."""


class Action(NamedTuple):
    handler: int
    flags: int
    mask: int
    restorer: int


_DEFAULT = Action(SIG_DFL, 0, 0, 0)
_NO_STACK = AlternateStack(0, 0, SS_DISABLE)


class _TaskSignals:
    """What each task has of its own."""

    def __init__(self) -> None:
        self.mask = 0
        self.stack = _NO_STACK


class Signal(Header):
    header: ClassVar[str] = "signal.h"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._actions: dict[int, Action] = {}
        self._tasks: dict[Task, _TaskSignals] = {}

    def task_started(self, task: Task) -> None:
        """Give a new task the process's handlers."""
        self._tasks[task] = _TaskSignals()
        for signum in self._actions:
            self._register(task, signum)

    def task_ended(self, task: Task) -> None:
        self._tasks.pop(task, None)

    @c_function(
        "int sigaction(int signum, const struct sigaction *act, struct sigaction *oldact)",
        on_error=MINUS_ONE,
    )
    def sigaction(self, signum: int, act: int, oldact: int) -> int:
        memory = self.library.memory
        action = None
        if act:
            handler, mask, flags, restorer = _C_ACTION.unpack(memory.read(act, _C_ACTION.size))
            action = Action(handler, flags & 0xFFFFFFFF, mask, restorer)
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
        return self._exchange(signum, Action(handler, 0, 0, 0)).handler

    @c_function(
        "int sigaltstack(const stack_t *ss, stack_t *old_ss)", system_call=131, on_error=MINUS_ONE
    )
    def sigaltstack(self, ss: int, old_ss: int) -> int:
        memory = self.library.memory
        signals = self._signals()
        wanted = _STACK.unpack(memory.read(ss, _STACK.size)) if ss else None
        stack = signals.stack
        rsp = self.library.machine.registers().rsp
        in_use = stack.address < rsp <= stack.address + stack.size
        if old_ss:
            flags = stack.flags | (SS_ONSTACK if in_use else 0)
            memory.write(old_ss, _STACK.pack(stack.address, flags, stack.size))
        if wanted is not None:
            address, flags, size = wanted
            if in_use:
                raise PlatformError("the alternate stack is in use", errno.EPERM)
            if flags & ~SS_AUTODISARM & 0xFFFFFFFF not in (0, SS_ONSTACK, SS_DISABLE):
                raise InvalidParameterError(f"sigaltstack flags {flags:#x}")
            if flags & SS_DISABLE:
                signals.stack = _NO_STACK
            elif size < MINSIGSTKSZ:
                raise OutOfMemoryError(f"an alternate stack of {size} bytes")
            else:
                signals.stack = AlternateStack(address, size, 0)
        return 0

    @c_function(
        "int sigprocmask(int how, const sigset_t *set, sigset_t *oldset)",
        aliases=("pthread_sigmask",),
        on_error=MINUS_ONE,
    )
    def sigprocmask(self, how: int, new: int, oldset: int) -> int:
        return self.rt_sigprocmask(how, new, oldset, 8)

    @system_call(
        14, "int rt_sigprocmask(int how, const sigset_t *set, sigset_t *oldset, size_t sigsetsize)"
    )
    def rt_sigprocmask(self, how: int, new: int, oldset: int, sigsetsize: int) -> int:
        if sigsetsize != 8:
            raise InvalidParameterError(f"signal sets of {sigsetsize} bytes")
        memory = self.library.memory
        signals = self._signals()
        old = signals.mask
        if new:
            chosen = memory.read_u64(new)
            masks = {SIG_BLOCK: old | chosen, SIG_UNBLOCK: old & ~chosen, SIG_SETMASK: chosen}
            if how not in masks:
                raise InvalidParameterError(f"sigprocmask how {how}")
            signals.mask = masks[how] & ~_UNBLOCKABLE
        if oldset:
            memory.write_u64(oldset, old)
        return 0

    @c_function("int sigemptyset(sigset_t *set)", on_error=MINUS_ONE)
    def sigemptyset(self, sigset: int) -> int:
        self.library.memory.write(sigset, bytes(128))
        return 0

    @c_function("int sigfillset(sigset_t *set)", on_error=MINUS_ONE)
    def sigfillset(self, sigset: int) -> int:
        self.library.memory.write(sigset, b"\xff" * 128)
        return 0

    @c_function("int sigaddset(sigset_t *set, int signum)", on_error=MINUS_ONE)
    def sigaddset(self, sigset: int, signum: int) -> int:
        self._check_number(signum)
        memory = self.library.memory
        memory.write_u64(sigset, memory.read_u64(sigset) | 1 << (signum - 1))
        return 0

    @c_function("int sigdelset(sigset_t *set, int signum)", on_error=MINUS_ONE)
    def sigdelset(self, sigset: int, signum: int) -> int:
        self._check_number(signum)
        memory = self.library.memory
        memory.write_u64(sigset, memory.read_u64(sigset) & ~(1 << (signum - 1)))
        return 0

    @c_function("int sigismember(const sigset_t *set, int signum)", on_error=MINUS_ONE)
    def sigismember(self, sigset: int, signum: int) -> int:
        self._check_number(signum)
        return self.library.memory.read_u64(sigset) >> (signum - 1) & 1

    def _exchange(self, signum: int, action: Action | None) -> Action:
        """Install an action, if there is one, and return the one before it."""
        self._check_number(signum)
        old = self._actions.get(signum, _DEFAULT)
        if action is None:
            return old
        if signum in (SIGKILL, SIGSTOP):
            raise InvalidParameterError(f"signal {signum} cannot be handled")
        self._actions[signum] = action._replace(mask=action.mask & ~_UNBLOCKABLE)
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
        category = context.category
        task = self.library.task
        if category is not None:
            with suppress(AlreadyRegisteredError):  # a provider that keeps its handlers
                self.library.hooks.exception_register(
                    task=task, category=category, handler=self._deliver
                )
        action = self._actions.get(cause.signal, _DEFAULT)
        signals = self._tasks[task]
        bit = 1 << (cause.signal - 1)
        if action.handler in (SIG_DFL, SIG_IGN) or signals.mask & bit:
            # A blocked or ignored exception cannot wait: Linux kills (force_sig_fault).
            return False
        if action.flags & SA_RESETHAND:
            self._actions[cause.signal] = _DEFAULT
        memory = self.library.memory
        rsp = context.registers.rsp
        stack = signals.stack
        on_stack = stack.address < rsp <= stack.address + stack.size
        top = rsp - RED_ZONE
        if action.flags & SA_ONSTACK and stack.size and not on_stack:
            top = stack.address + stack.size
        try:
            enter_handler(
                memory, top, context, cause, stack, signals.mask, action.handler, self._stubs
            )
        except MemoryFaultError:
            # No room for the frame: Linux answers with a SIGSEGV nobody can handle.
            return False
        signals.mask |= action.mask | (0 if action.flags & SA_NODEFER else bit)
        return True

    @c_function("void __restore_signal_mask(const ucontext_t *context)")
    def restore_signal_mask(self, context: int) -> None:
        """What a handler that returns goes through: the mask is what its frame says."""
        self._signals().mask = leave_handler(self.library.memory, context) & ~_UNBLOCKABLE

    @cached_property
    def _stubs(self) -> Stubs:
        machine = self.library.machine
        restore = self.library.provided("__restore_signal_mask")
        return Stubs(
            machine.place_code(SIGNAL_ENTRY.code, "signal entry"),
            machine.place_code(SIGNAL_RETURN.with_address(restore), "signal return"),
        )

    def _signals(self) -> _TaskSignals:
        return self._tasks[self.library.task]

    def _check_number(self, signum: int) -> None:
        if not 1 <= signum <= SIGNALS:
            raise InvalidParameterError(f"no signal {signum}")
