"""One call that is being traced, and what a format is told of it."""

from __future__ import annotations

from typing import Protocol

from theseus_kit.values.record import NamedTuple


class CallFormat(NamedTuple):
    """What all calls of one hook or function have in common, as the formats need it."""

    label: str
    """``syscall.mmap``"""
    kind: str
    name: str
    plugin: str | None
    parameters: tuple[str, ...]
    plain: tuple[bool, ...]
    """Which arguments are decimal numbers."""
    template: str | None = None
    """``name=%s, …``: how text names arguments, as hooks are called. None: by their places."""


class Span:
    """A call from its beginning to its end."""

    __slots__ = (
        "arguments",
        "call",
        "depth",
        "frames",
        "number",
        "parent",
        "start",
        "task",
        "task_name",
        "values",
    )

    call: CallFormat
    number: int
    """Counts from 1 in the order in which calls begin."""
    parent: int
    """The number of the call it is made in, on the same task; 0 if there is none."""
    depth: int
    task: int
    task_name: str
    start: int
    """Nanoseconds since the platform was assembled, without the trace's own time."""
    arguments: tuple[str, ...]
    values: tuple[int | float, ...]
    """The arguments as they are, for what is shown at the end."""
    frames: tuple[str, ...]
    """The guest's functions that led here, innermost first; only if they were asked for."""


class Outcome(NamedTuple):
    """How a call has ended."""

    result: str
    is_plain: bool
    """The result is a decimal number."""
    outputs: tuple[tuple[str, str], ...] = ()
    """What it has left behind its pointers, by parameter."""
    errno: str | None = None
    """The name of the error number, where it failed with one."""
    error: str | None = None
    """What was raised: an error's message."""
    error_type: str | None = None


class Formatter(Protocol):
    """Turns calls into text that is written at once."""

    def opening(self) -> str:
        """What a trace begins with."""
        ...

    def begin(self, span: Span) -> str: ...

    def end(self, span: Span, outcome: Outcome, now: int) -> str: ...

    def closing(self, unfinished: list[Span], now: int) -> str:
        """What a trace ends with, where it comes to its end."""
        ...
