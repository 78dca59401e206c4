"""What begins and ends on which task, in trace time: the clock stands while the trace itself works.

So a call's duration is its own and that of what it calls, not that of writing it all down.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

from theseus_kit import MachineError
from theseus_kit_trace.output import Output
from theseus_kit_trace.spans import CallFormat, Formatter, Outcome, Span

if TYPE_CHECKING:
    from theseus_kit import Tasks

STARTING = "(start)"
"""What calls are made on before there is a task."""


class Recorder:
    """Keeps the calls in progress, one stack of them for each task, and writes them."""

    def __init__(
        self,
        tasks: Tasks,
        formatter: Formatter,
        output: Output,
        frames: Callable[[], tuple[str, ...]] | None,
    ) -> None:
        self._tasks = tasks
        self._formatter = formatter
        self._output = output
        self._frames = frames
        self._stacks: dict[int, list[Span]] = {}
        self._number = 0
        self._own_time = perf_counter_ns()
        """What trace time does not have: the time before the start, and the trace's own."""
        self._looking = False
        """The trace itself is asking hooks, which is nothing to trace."""
        output.write(formatter.opening())

    def begin(
        self, call: CallFormat, arguments: tuple[str, ...], values: tuple[int | float, ...]
    ) -> Span | None:
        """Write that a call begins. None if there is nothing to write about it."""
        if self._looking or not self._output.is_open:
            return None
        entered = perf_counter_ns()
        span = Span()
        span.call = call
        try:
            task = self._tasks.current
        except MachineError:
            span.task, span.task_name = 0, STARTING
        else:
            span.task, span.task_name = task.id, task.name
        stack = self._stacks.get(span.task)
        if stack is None:
            stack = self._stacks[span.task] = []
        self._number += 1
        span.number = self._number
        span.parent = stack[-1].number if stack else 0
        span.depth = len(stack)
        span.arguments = arguments
        span.values = values
        span.frames = ()
        if self._frames is not None:
            self._looking = True
            try:
                span.frames = self._frames()
            finally:
                self._looking = False
        span.start = entered - self._own_time
        stack.append(span)
        text = self._formatter.begin(span)
        if text:
            self._output.write(text)
        self._own_time += perf_counter_ns() - entered
        return span

    def end(self, span: Span, outcome: Callable[[], Outcome]) -> None:
        """Write that a call has ended; ``outcome`` is asked once the clock stands."""
        left = perf_counter_ns()
        stack = self._stacks[span.task]
        # Calls that were abandoned, not ended, such as those of a task that is gone.
        while stack and stack.pop() is not span:
            continue
        text = self._formatter.end(span, outcome(), left - self._own_time)
        self._output.write(text)
        self._own_time += perf_counter_ns() - left

    def close(self) -> None:
        """Write the end of the trace, with what is still in progress."""
        now = perf_counter_ns() - self._own_time
        unfinished = [span for stack in self._stacks.values() for span in stack]
        self._output.write(self._formatter.closing(unfinished, now))
        self._output.close()
