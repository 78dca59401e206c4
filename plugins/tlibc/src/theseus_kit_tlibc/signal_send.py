"""signal.h's other half: masks, and signals that a program sends itself.

A signal that is not blocked is handled before the function that sent it, or that unblocked it,
returns. So these functions are entered through machine code that keeps all registers, as an
exception would have them, and goes on where Python says::

    raise(sig)
      └─ SELF_SIGNAL: registers → block on the stack
           └─ __raise(sig, …, block) in Python: 0 or an error → return it
                                                 DELIVER      → load the block's registers:
                                                   SIGNAL_ENTRY → handler → SIGNAL_RETURN
                                                   → behind the call of raise, with rax = 0

Nothing waits in Python while the handler runs: it may leave by longjmp.

A signal for another task is delivered when that one goes on: its wait ends (EINTR), and its
handlers run below the frames that waited, before the function returns or waits again; of a task
that was stopped in the middle of its code, before that goes on. There they are called from Python
and have to return, or end the task.

Sources: kernel/signal.c of Linux 6 (get_signal, sigprocmask), signal(7), raise(3), kill(2).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import GuestKilled, InvalidParameterError, PlatformError
from theseus_kit.values.exceptions import ExceptionContext, Panicked, Registers
from theseus_kit.values.linkage import CFunction, CObject, ErrorConvention
from theseus_kit_tlibc.declare import MINUS_ONE, RESULT, Header, c_function, system_call
from theseus_kit_tlibc.listing import Listing
from theseus_kit_tlibc.signal import ALL_SIGNALS, SA_RESTART, SIG_DFL, SIG_IGN, SIGNALS
from theseus_kit_tlibc.signal_frame import (
    RED_ZONE,
    Cause,
    read_registers,
    write_registers,
)
from theseus_kit_tlibc.signal_tasks import UNBLOCKABLE, TaskSignals
from theseus_kit_tlibc.unistd_process import PROCESS_ID, USER_ID

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory
    from theseus_kit.task import Task
    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.signal import Signal

SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = 0, 1, 2
SI_USER, SI_TKILL = 0, -6
_IGNORED_BY_DEFAULT = frozenset((17, 18, 19, 20, 21, 22, 23, 28))
"""SIGCHLD, SIGURG and SIGWINCH; and what stops or continues a process, which nobody waits for."""

DELIVER = 0x100
"""The body's way to say: go on at the block's registers. No error number is as high."""
BELOW_BLOCK = 128
"""What the machine code and the way out to Python use of the stack below the block."""
_BLOCK_SIZE = 8 * len(Registers.NAMES)

# The block is a Registers: rax lowest, rflags highest; rax is 0, what the function returns where
# its handler does. It is the fourth argument. Registers change only where DELIVER is answered.
SELF_SIGNAL = Listing(
    """
    9c                      pushfq
    ff742408                push qword ptr [rsp + 8]                    ; rip: where to return
    4157                    push r15
    4156                    push r14
    4155                    push r13
    4154                    push r12
    4153                    push r11
    4152                    push r10
    4151                    push r9
    4150                    push r8
    488d442458              lea rax, [rsp + 0x58]                       ; rsp after the return
    50                      push rax
    55                      push rbp
    57                      push rdi
    56                      push rsi
    52                      push rdx
    51                      push rcx
    53                      push rbx
    6a00                    push 0
    4889e1                  mov rcx, rsp
    4883ec08                sub rsp, 8
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc              ; the body
    ffd0                    call rax
    3d00010000              cmp eax, 0x100                              ; DELIVER
    7408                    je 0x45
    4881c498000000          add rsp, 0x98
    c3                      ret
    4883c408                add rsp, 8                                  ; 0x45
    58                      pop rax
    488b4c2408              mov rcx, qword ptr [rsp + 8]
    488b542410              mov rdx, qword ptr [rsp + 0x10]
    488b742418              mov rsi, qword ptr [rsp + 0x18]
    488b7c2420              mov rdi, qword ptr [rsp + 0x20]
    4c8b442438              mov r8, qword ptr [rsp + 0x38]
    4c8b4c2440              mov r9, qword ptr [rsp + 0x40]
    4c8b542448              mov r10, qword ptr [rsp + 0x48]
    4c8b5c2478              mov r11, qword ptr [rsp + 0x78]             ; lost, as by a syscall
    488b642430              mov rsp, qword ptr [rsp + 0x30]
    41ffe3                  jmp r11
    """
)

_ENTRIES = {
    "int raise(int sig)": ("__raise", MINUS_ONE),
    "int kill(pid_t pid, int sig)": ("__kill", MINUS_ONE),
    "int pthread_kill(pthread_t thread, int sig)": ("__pthread_kill", RESULT),
    "int tgkill(pid_t tgid, pid_t tid, int sig)": ("__tgkill", MINUS_ONE),
    "int sigprocmask(int how, const sigset_t *set, sigset_t *oldset)": ("__sigprocmask", MINUS_ONE),
    "int pthread_sigmask(int how, const sigset_t *set, sigset_t *oldset)": (
        "__pthread_sigmask",
        RESULT,
    ),
}
"""What C programs call, and the body behind the machine code."""


class SignalSending(Header):
    header: ClassVar[str] = "signal.h"

    def __init__(self, library: Library, signal: Signal) -> None:
        super().__init__(library)
        self._signal = signal
        library.services.tasks.handle_signals = self.handle

    def symbols(self) -> Iterable[CFunction | CObject]:
        bodies = {}
        for symbol in super().symbols():
            bodies[symbol.name] = symbol
            yield symbol
        for prototype, (name, on_error) in _ENTRIES.items():
            body = bodies[name]
            assert isinstance(body, CFunction)
            yield self._entry(prototype, body, on_error)

    def _entry(self, prototype: str, body: CFunction, on_error: ErrorConvention) -> CFunction:
        code: Callable[[], bytes] = partial(self._code, body.name)
        return CFunction(
            prototype,
            body.body,
            self.header,
            on_error,
            machine_code=code,
            machine_code_only=True,
            assembly=SELF_SIGNAL.text,
        )

    def _code(self, body: str) -> bytes:
        return SELF_SIGNAL.with_address(self.library.provided(body))

    # They re-enter: the first signal of all asks the CPU what state it has.
    @c_function(
        "int __raise(int sig, long unused, long unused2, void *block)",
        on_error=MINUS_ONE,
        reenters=True,
    )
    def raise_(self, sig: int, unused: int, unused2: int, block: int) -> int:
        return self._send(self.library.task, sig, SI_TKILL, block)

    @c_function(
        "int __kill(pid_t pid, int sig, long unused, void *block)",
        on_error=MINUS_ONE,
        reenters=True,
    )
    def kill(self, pid: int, sig: int, unused: int, block: int) -> int:
        return self._send(self._receiver(pid, sig), sig, SI_USER, block)

    @system_call(62, "int kill(pid_t pid, int sig)", reenters=True)
    def raw_kill(self, pid: int, sig: int) -> int:
        self._send(self._receiver(pid, sig), sig, SI_USER, None)
        return 0

    @c_function(
        "int __pthread_kill(pthread_t thread, int sig, long unused, void *block)",
        on_error=RESULT,
        reenters=True,
    )
    def pthread_kill(self, thread: int, sig: int, unused: int, block: int) -> int:
        for task in self.library.services.tasks:
            if task.thread.fs_base == thread:
                return self._send(task, sig, SI_TKILL, block)
        raise PlatformError(f"no thread {thread:#x}", errno.ESRCH)

    @c_function(
        "int __tgkill(pid_t tgid, pid_t tid, int sig, void *block)",
        on_error=MINUS_ONE,
        reenters=True,
    )
    def tgkill(self, tgid: int, tid: int, sig: int, block: int | None = None) -> int:
        if tgid <= 0 or tid <= 0:
            raise InvalidParameterError(f"tgkill({tgid}, {tid})")
        for task in self.library.services.tasks:
            if tgid == PROCESS_ID and task.id == tid and not task.is_ended:
                return self._send(task, sig, SI_TKILL, block)
        raise PlatformError(f"no thread {tid} of process {tgid}", errno.ESRCH)

    @system_call(234, "int tgkill(pid_t tgid, pid_t tid, int sig)", reenters=True)
    def raw_tgkill(self, tgid: int, tid: int, sig: int) -> int:
        self.tgkill(tgid, tid, sig)
        return 0

    @system_call(200, "int tkill(pid_t tid, int sig)", reenters=True)
    def raw_tkill(self, tid: int, sig: int) -> int:
        return self.raw_tgkill(PROCESS_ID, tid, sig)

    @c_function(
        "int __sigprocmask(int how, const sigset_t *set, sigset_t *oldset, void *block)",
        on_error=MINUS_ONE,
        reenters=True,
    )
    def sigprocmask(self, how: int, new: int, oldset: int, block: int) -> int:
        signals = self._signals()
        self._change_mask(how, new, oldset)
        signals.mask &= ALL_SIGNALS
        return self._deliver_unblocked(block)

    @c_function(
        "int __pthread_sigmask(int how, const sigset_t *set, sigset_t *oldset, void *block)",
        on_error=RESULT,
        reenters=True,
    )
    def pthread_sigmask(self, how: int, new: int, oldset: int, block: int) -> int:
        return self.sigprocmask(how, new, oldset, block)

    @system_call(
        14,
        "int rt_sigprocmask(int how, const sigset_t *set, sigset_t *oldset, size_t sigsetsize)",
        reenters=True,
    )
    def rt_sigprocmask(self, how: int, new: int, oldset: int, sigsetsize: int) -> int:
        if sigsetsize != 8:
            raise InvalidParameterError(f"signal sets of {sigsetsize} bytes")
        self._change_mask(how, new, oldset)
        self.handle()
        return 0

    def _change_mask(self, how: int, new: int, oldset: int) -> None:
        memory = self.library.memory
        signals = self._signals()
        old = signals.mask
        if new:
            chosen = memory.read_u64(new)
            masks = {SIG_BLOCK: old | chosen, SIG_UNBLOCK: old & ~chosen, SIG_SETMASK: chosen}
            if how not in masks:
                raise InvalidParameterError(f"sigprocmask how {how}")
            signals.mask = masks[how] & ~UNBLOCKABLE
        if oldset:
            memory.write_u64(oldset, old)

    @c_function("int sigpending(sigset_t *set)", on_error=MINUS_ONE)
    def sigpending(self, sigset: int) -> int:
        self.library.memory.write_u64(sigset, self._signals().pending_set())
        return 0

    @c_function("void __restore_signal_mask(const ucontext_t *context)")
    def restore_signal_mask(self, context: int) -> None:
        """What a handler that returns goes through where its task's cells ask for attention.

        The mask is what its frame says, and signals that this unblocks come before the code that
        is returned to.
        """
        self._signal.leave(context)
        if self._signals().has_pending:
            memory = self.library.memory
            registers = read_registers(memory, context)
            top = min(registers.rsp - RED_ZONE, context - BELOW_BLOCK)
            if self._deliver_pending(registers, top):
                write_registers(memory, context, registers)

    @c_function(
        "int __handle_signals(long unused, long unused2, long unused3, void *block)", reenters=True
    )
    def handle_signals(self, unused: int, unused2: int, unused3: int, block: int) -> int:
        """What the machine code goes through that :meth:`handle` calls."""
        return self._deliver_unblocked(block)

    def handle(self) -> bool:
        """Run the handlers of the current task's signals that are not blocked, at rest.

        True if what waited is to go on waiting: all of them were installed with SA_RESTART.
        """
        task = self.library.task
        task.has_signal = False
        unblocked = self._signals().unblocked
        if not unblocked or not self.library.machine.can_call:
            return not (unblocked or task.is_cancelled)
        restarts = all(
            self._is_ignored(number) or self._signal.action(number).flags & SA_RESTART
            for number in range(1, SIGNALS + 1)
            if unblocked >> (number - 1) & 1
        )
        self.library.machine.call(self._handling)
        return restarts and not task.is_cancelled

    def has_handler(self, chosen: int) -> bool:
        """Whether one of some signals, given as a mask, does anything."""
        return any(
            chosen >> (number - 1) & 1 and not self._is_ignored(number)
            for number in range(1, SIGNALS + 1)
        )

    @cached_property
    def _handling(self) -> int:
        return self.library.machine.place_code(self._code("__handle_signals"), "signals")

    def _receiver(self, pid: int, sig: int) -> Task | None:
        """The task that gets a signal of the process's (complete_signal of Linux): the main one
        first; None if each of them blocks it. Raises ESRCH for another process."""
        if pid not in (PROCESS_ID, -PROCESS_ID, 0, -1):
            raise PlatformError(f"no process {pid} in here", errno.ESRCH)
        tasks, bit = self.library.services.tasks, 1 << (sig - 1) if sig > 0 else 0
        running = [task for task in tasks if not task.is_ended]
        for task in running:
            if self._signal.signals_of(task).waits_for & bit:
                return task
        for task in running:
            is_inside = task is self.library.task or tasks.registers_of(task) is not None
            if is_inside and not self._signal.signals_of(task).mask & bit:
                return task
        return None

    def _send(self, task: Task | None, sig: int, code: int, block: int | None) -> int:
        """Have a task get a signal, or whoever unblocks it first; 0, or DELIVER.

        Signal 0 sends nothing. Without a block of registers it is handled before this returns.
        """
        if sig == 0:
            return 0
        self._signal.check_number(sig)
        cause = Cause(sig, code, False, PROCESS_ID | USER_ID << 32)
        if task is None:
            self._signal.share(cause)
            return 0
        if task.is_ended:
            return 0
        signals, bit = self._signal.signals_of(task), 1 << (sig - 1)
        is_blocked = bool(signals.mask & bit)
        if self._is_ignored(sig) and not is_blocked:
            return 0
        signals.add_pending(cause)
        if task is not self.library.task:
            if not is_blocked or signals.waits_for & bit:
                self.library.services.tasks.signal(task)
            return 0
        if block is not None:
            return self._deliver_unblocked(block)
        self.handle()
        return 0

    def _deliver_unblocked(self, block: int) -> int:
        """Deliver what is pending and not blocked, from a block of registers; 0, or DELIVER."""
        if not self._signals().has_pending:
            return 0
        memory = self.library.memory
        registers = read_block(memory, block)
        if not self._deliver_pending(registers, block - BELOW_BLOCK):
            return 0
        memory.write(block, bytes(registers))
        return DELIVER

    def _deliver_pending(self, registers: Registers, top: int) -> bool:
        """Edit registers so that the handlers of all unblocked signals run; False if none is.

        Each frame is entered from the one before it, so the last one entered runs first.
        """
        delivered, signals = False, self._signals()
        while (cause := signals.take_unblocked()) is not None:
            if self._is_ignored(cause.signal):
                continue
            context = ExceptionContext(0, registers)
            if not self._signal.enter(cause, context, top, signals):
                raise GuestKilled(Panicked(f"signal {cause.signal}, which it does not handle"))
            delivered = True
            top = registers.rsp - RED_ZONE
        return delivered

    def _is_ignored(self, sig: int) -> bool:
        handler = self._signal.action(sig).handler
        return handler == SIG_IGN or (handler == SIG_DFL and sig in _IGNORED_BY_DEFAULT)

    def _signals(self) -> TaskSignals:
        return self._signal.signals_of(self.library.task)


def read_block(memory: Memory, block: int) -> Registers:
    """The registers of who called a function that sends signals."""
    return Registers.from_buffer_copy(memory.read(block, _BLOCK_SIZE))
