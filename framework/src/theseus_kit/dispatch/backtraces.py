"""One trace of everything that is in progress: guest code, Python functions, and what is between.

::

    Python calls guest code                       waiting[1]: stands in the export host_function
      guest: outer → host_function ─┐
        Python: host_function ◄─────┘
          Python calls guest code                 waiting[0]: where the guest stands now
            guest: inner → …

    the trace: … inner, TRANSITION, host_function (HOST), outer, TRANSITION

Walking the frames of one call is the provider's of unwinding; putting calls together is done here,
so that any provider gives whole traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine, Waiting
    from theseus_kit.task import Task, Tasks
    from theseus_kit.values.symbols import BacktraceEntry, Frame

BACKTRACE_LIMIT = 256
"""Frames kept of a backtrace: a stack overflow has hundreds of thousands, all alike."""


def capture_frames(
    machine: Machine, hooks: HookRelay, tasks: Tasks, task: Task | None = None
) -> tuple[tuple[Frame, ...], dict[int, str]]:
    """Walk a task's calls, the current one's by default; addresses only.

    The names are those of host functions.
    """
    names: dict[int, str] = {}
    if task is None:
        task, calls = tasks.current, machine.waiting()
    else:
        calls = machine.waiting(task.thread)
    frames = _walk(calls, hooks, task, names)
    return tuple(islice(frames, BACKTRACE_LIMIT)), names


def capture_backtrace(
    machine: Machine, hooks: HookRelay, tasks: Tasks, task: Task | None = None
) -> tuple[BacktraceEntry, ...]:
    """Walk a task's calls and name every frame. Empty where it runs no guest code."""
    frames, names = capture_frames(machine, hooks, tasks, task)
    return resolve_frames(hooks, frames, names)


def resolve_frames(
    hooks: HookRelay, frames: Sequence[Frame], names: dict[int, str]
) -> tuple[BacktraceEntry, ...]:
    """Name frames that were captured earlier; ``names`` are those of host functions."""
    from theseus_kit.values.symbols import BacktraceEntry, FrameKind, Symbol  # no start needs it

    entries = []
    for frame in frames:
        if frame.kind is FrameKind.HOST:
            address = frame.instruction_pointer
            symbols: Sequence[Symbol] = (Symbol(address, 0, name=names.get(address) or None),)
        else:
            symbols = hooks.symbolicate(address=frame.lookup_address)
        entries.append(BacktraceEntry(frame, tuple(symbols)))
    return tuple(entries)


def _walk(
    calls: Sequence[Waiting], hooks: HookRelay, task: Task, names: dict[int, str]
) -> Iterator[Frame]:
    from theseus_kit.values.symbols import Frame, FrameKind

    for call in calls:
        registers = call.registers
        if call.export is not None:
            names[call.export] = call.name
            yield Frame(
                call.export,
                registers.rsp - 8,
                is_exact=True,
                canonical_frame_address=registers.rsp,
                function_start=call.export,
                kind=FrameKind.HOST,
            )
        yield from hooks.unwind_frames(
            registers=registers, stack=task.stack, is_exact=call.is_exact
        )
