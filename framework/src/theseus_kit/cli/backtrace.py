"""Backtraces and deaths of guest code as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from theseus_kit.values.symbols import BacktraceEntry, Frame, FrameKind, Symbol

if TYPE_CHECKING:
    from theseus_kit.errors import DeadlockError
    from theseus_kit.values.exceptions import ExceptionContext
    from theseus_kit.values.tasks import StuckTask


def backtrace_lines(entries: Sequence[BacktraceEntry]) -> list[str]:
    """One line for each function of each frame, innermost first, in columns.

    Inlined functions stand above the one they were inlined into, without an address; a call from
    Python is one line, however many steps it takes.
    """
    lines = []
    shown = (entry for i, entry in enumerate(entries) if not _is_step(entries[i : i + 2]))
    for number, (frame, symbols) in enumerate(shown):
        place = f"{number:>4}  {frame.instruction_pointer:#018x}  "
        if not symbols:
            what = "call from Python" if frame.kind is FrameKind.TRANSITION else "unknown"
            lines.append(f"{place}{what}{_mark(frame)}")
            continue
        for depth, symbol in enumerate(symbols):
            last = depth == len(symbols) - 1
            text = symbol.display_name
            if last:
                # For a return address the offset a debugger shows: that of the address itself.
                offset = symbol.offset + frame.instruction_pointer - frame.lookup_address
                text += f" + {offset:#x}" if offset else ""
                text += f" in {symbol.image}" if symbol.image else ""
            else:
                text += " (inlined)"
            text += f" at {location(symbol)}" if symbol.file else ""
            lines.append(f"{place if depth == 0 else ' ' * len(place)}{text}{_mark(frame)}")
    if entries and entries[-1].frame.end_reason is not None:
        lines.append(f"      the trace ends here: {entries[-1].frame.end_reason}")
    return lines


def _is_step(entries: Sequence[BacktraceEntry]) -> bool:
    """The first of two frames is a step on the way that ends with the second one."""
    return (
        len(entries) == 2
        and not entries[0].frame.is_exact
        and all(e.frame.kind is FrameKind.TRANSITION and not e.symbols for e in entries)
    )


def stuck_lines(error: DeadlockError) -> list[str]:
    """What each task of a deadlock waits for, and its backtrace."""
    lines = []
    for task in error.stuck:
        lines += [f"{task}:", *(backtrace_lines(task.backtrace) or ["      no guest code runs"])]
    return lines


def stuck_as_json(task: StuckTask) -> dict[str, Any]:
    """A task of a deadlock with its frames."""
    frames = [entry_as_json(entry) for entry in task.backtrace]
    return {"id": task.id, "name": task.name, "waits_for": task.waits_for, "frames": frames}


def _mark(frame: Frame) -> str:
    return "" if frame.kind is FrameKind.GUEST else f" [{frame.kind.value}]"


def location(symbol: Symbol) -> str:
    """``file:line:column``, as far as it is known."""
    parts = (symbol.file, symbol.line, symbol.column)
    return ":".join(str(part) for part in parts if part is not None)


def entry_as_json(entry: BacktraceEntry) -> dict[str, Any]:
    """A frame and its symbols, innermost inlined function first; addresses are numbers."""
    frame = entry.frame
    return {
        "instruction_pointer": frame.instruction_pointer,
        "stack_pointer": frame.stack_pointer,
        "is_exact": frame.is_exact,
        "kind": frame.kind.value,
        "end_reason": frame.end_reason,
        "symbols": [symbol_as_json(symbol) for symbol in entry.symbols],
    }


def symbol_as_json(symbol: Symbol) -> dict[str, Any]:
    """Every field of a symbol by its name; null where it is not known."""
    return symbol._asdict()


def exception_as_json(context: ExceptionContext) -> dict[str, Any]:
    """A CPU exception with all registers."""
    fault = context.page_fault
    return {
        "vector": context.vector,
        "error_code": context.error_code,
        "accessed_address": None if fault is None else fault.accessed_address,
        "access": None if fault is None else fault.access.value,
        "registers": {name: getattr(context.registers, name) for name in context.registers.NAMES},
    }
