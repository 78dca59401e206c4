"""What happens on a CPU exception: the hook's answer, then resume, or kill with a backtrace.

And on the guest's other way to die, inside a C function that a plugin serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.dispatch.backtraces import capture_backtrace
from theseus_kit.errors import GuestKilled, GuestUnwinding, PluginError
from theseus_kit.values.exceptions import (
    ExceptionContext,
    ExceptionOutcome,
    Kill,
    Panicked,
    Registers,
    Resume,
)

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task import Tasks


def tell_of_kill(machine: Machine, hooks: HookRelay, tasks: Tasks, killed: GuestKilled) -> None:
    """See to a kill that leaves a C function or a system call, while the guest's frames stand.

    At the innermost frame the error gets the registers and the backtrace, and the task's kill
    handler is told of a panic, as Theseus's panic_wrapper (kernel/panic_wrapper/src/lib.rs) does
    it: taken first, so told once. What is resumed was told of when it began. At every frame the
    provider of unwinding may clean up.
    """
    registers = machine.registers()
    if killed.registers is None:
        killed.registers = registers
        killed.task = tasks.current
        if not killed.backtrace:
            killed.backtrace = capture_backtrace(machine, hooks, tasks)
        if isinstance(killed.reason, Panicked) and not killed.is_resumed:
            task = tasks.current
            handler = hooks.exception_take_kill_handler(task=task)
            if handler is not None:
                handler(task, killed.reason)
    clean_up(hooks, tasks, killed, registers, machine.registers_are_exact)


def clean_up(
    hooks: HookRelay, tasks: Tasks, killed: GuestKilled, registers: Registers, is_exact: bool
) -> None:
    """Have the provider of unwinding run landing pads, up to the entry of the guest call."""
    done = hooks.unwind_resume(
        task=tasks.current,
        registers=registers,
        is_exact=is_exact,
        reason=killed.reason,
        is_requested=killed.is_resumed or tasks.current.catches > 0,
    )
    if done is False:
        killed.add_note("not every destructor of the guest has run")


class ExceptionDispatch:
    """The machine's exception callback: asks the provider of exception registration."""

    def __init__(self, machine: Machine, hooks: HookRelay, tasks: Tasks, provider: str) -> None:
        self._provider = provider
        self._machine = machine
        self._hooks = hooks
        self._tasks = tasks

    def __call__(self, context: ExceptionContext) -> None:
        try:
            outcome = self._hooks.exception_dispatch(task=self._tasks.current, context=context)
        except GuestKilled as killed:  # a handler's own decision
            tell_of_kill(self._machine, self._hooks, self._tasks, killed)
            raise
        except GuestUnwinding as unwinding:
            landed = self._hooks.unwind_continue(unwinding=unwinding, registers=context.registers)
            if landed is None:
                raise
            return
        if not isinstance(outcome, Resume):
            raise self._killed(outcome, context)

    def _killed(self, outcome: ExceptionOutcome, context: ExceptionContext) -> GuestKilled:
        if not isinstance(outcome, Kill):
            raise PluginError(
                self._provider,
                "exception_dispatch",
                f"answered {outcome!r}, which is neither Resume nor Kill",
                context=str(context),
            )
        trace = capture_backtrace(self._machine, self._hooks, self._tasks)
        killed = GuestKilled(outcome.reason, context, trace)
        killed.task = self._tasks.current
        clean_up(self._hooks, self._tasks, killed, context.registers, is_exact=True)
        return killed
