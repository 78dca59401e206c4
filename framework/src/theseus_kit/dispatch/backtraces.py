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
    from theseus_kit.values.symbols import BacktraceEntry, Frame, Symbol

BACKTRACE_LIMIT = 256
"""Frames kept of a backtrace: a stack overflow has hundreds of thousands, all alike."""


def capture_frames(
    machine: Machine, hooks: HookRelay, tasks: Tasks, task: Task | None = None
) -> tuple[tuple[Frame, ...], dict[int, Symbol]]:
    """Walk a task's calls, the current one's by default; addresses only.

    What the machine itself has names for comes with its symbols, by the address that is looked up:
    host functions, and code that was placed.
    """
    names: dict[int, Symbol] = {}
    if task is None:
        task, calls = tasks.current, machine.waiting()
    else:
        calls = machine.waiting(task.thread)
    frames = _walk(machine, calls, hooks, task, names)
    return tuple(islice(frames, BACKTRACE_LIMIT)), names


def capture_backtrace(
    machine: Machine, hooks: HookRelay, tasks: Tasks, task: Task | None = None
) -> tuple[BacktraceEntry, ...]:
    """Walk a task's calls and name every frame. Empty where it runs no guest code."""
    frames, names = capture_frames(machine, hooks, tasks, task)
    return resolve_frames(hooks, frames, names)


def resolve_frames(
    hooks: HookRelay, frames: Sequence[Frame], names: dict[int, Symbol]
) -> tuple[BacktraceEntry, ...]:
    """Name frames that were captured earlier, with the names that came with them."""
    from theseus_kit.values.symbols import BacktraceEntry  # no start needs it

    entries = []
    for frame in frames:
        address = frame.lookup_address
        known = names.get(address)
        symbols = hooks.symbolicate(address=address) if known is None else (known,)
        entries.append(BacktraceEntry(frame, tuple(symbols)))
    return tuple(entries)


def _walk(
    machine: Machine,
    calls: Sequence[Waiting],
    hooks: HookRelay,
    task: Task,
    names: dict[int, Symbol],
) -> Iterator[Frame]:
    from theseus_kit.values.symbols import Frame, FrameKind, Symbol

    for call in calls:
        registers = call.registers
        if call.export is not None:
            names[call.export] = Symbol(call.export, 0, name=call.name or None)
            yield Frame(
                call.export,
                registers.rsp - 8,
                is_exact=True,
                canonical_frame_address=registers.rsp,
                function_start=call.export,
                kind=FrameKind.HOST,
            )
        for frame in hooks.unwind_frames(
            registers=registers, stack=task.stack, is_exact=call.is_exact
        ):
            address = frame.lookup_address
            placed = machine.placed_code(address)
            if placed is not None and placed.name:
                start, end = placed.range
                names[address] = Symbol(start, address - start, end - start, placed.name)
            yield frame
