"""What happens on a CPU exception: the hook's answer, then resume, or kill with a backtrace.

And on the guest's other way to die, inside a C function that a plugin serves.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from theseus_kit.errors import GuestKilled, PluginError
from theseus_kit.values.exceptions import ExceptionContext, Kill, Panicked, Registers, Resume

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task import Tasks
    from theseus_kit.values.symbols import BacktraceEntry

BACKTRACE_LIMIT = 256
"""Frames kept of a backtrace: a stack overflow has hundreds of thousands, all alike."""


def capture_backtrace(
    hooks: HookRelay, tasks: Tasks, registers: Registers, is_exact: bool
) -> tuple[BacktraceEntry, ...]:
    """Walk the current task's stack from a register state and name every frame.

    ``is_exact``: the state's rip is an instruction's address and not a return address.
    """
    from theseus_kit.values.symbols import BacktraceEntry  # no start needs it

    frames = hooks.unwind_frames(registers=registers, stack=tasks.current.stack, is_exact=is_exact)
    return tuple(
        BacktraceEntry(frame, tuple(hooks.symbolicate(address=frame.lookup_address)))
        for frame in islice(frames, BACKTRACE_LIMIT)
    )


def tell_of_kill(machine: Machine, hooks: HookRelay, tasks: Tasks, killed: GuestKilled) -> None:
    """Complete a kill that a C function or a system call asked for, at the innermost frame.

    The error gets the registers and the backtrace. The task's kill handler is told of a panic,
    as Theseus's panic_wrapper (kernel/panic_wrapper/src/lib.rs) does it: taken first, so told once.
    """
    if killed.registers is not None:  # an inner frame has seen to it
        return
    registers = killed.registers = machine.registers()
    if not killed.backtrace:
        killed.backtrace = capture_backtrace(hooks, tasks, registers, machine.registers_are_exact)
    if isinstance(killed.reason, Panicked):
        task = tasks.current
        handler = hooks.exception_take_kill_handler(task=task)
        if handler is not None:
            handler(task, killed.reason)


class ExceptionDispatch:
    """The machine's exception callback: asks the provider of exception registration."""

    def __init__(self, hooks: HookRelay, tasks: Tasks) -> None:
        self._hooks = hooks
        self._tasks = tasks

    def __call__(self, context: ExceptionContext) -> None:
        outcome = self._hooks.exception_dispatch(task=self._tasks.current, context=context)
        if isinstance(outcome, Resume):
            return
        if not isinstance(outcome, Kill):
            raise PluginError(
                "of exception-registration",
                "exception_dispatch",
                f"answered {outcome!r}, which is neither Resume nor Kill",
                context=str(context),
            )
        raise GuestKilled(
            outcome.reason,
            context,
            capture_backtrace(self._hooks, self._tasks, context.registers, is_exact=True),
        )
