"""A trace for people, as strace and ltrace write it, nested as calls are.

::

    0.004512 main    syscall.madvise(0x10000003000, 8192, MADV_DONTNEED) {
    0.004530 main      hook.memory_discard(address=0x10000003000, size=8192) = None <3.4 µs>
    0.004601 main    } syscall.madvise = 0 <89.1 µs>

A call is written when it begins and its line ended when it ends: the last line of a run that died
is the call it died in.
"""

from __future__ import annotations

from theseus_kit_trace.spans import Outcome, Span


class TextFormatter:
    """``times``: write when a call began and how long it took; without, runs can be compared."""

    def __init__(self, *, times: bool) -> None:
        self._times = times
        self._open: Span | None = None
        """The call whose line is not ended."""

    def opening(self) -> str:
        return ""

    def begin(self, span: Span) -> str:
        call = span.call
        if call.template is not None:
            shown = call.template % span.arguments
        else:
            shown = ", ".join(span.arguments)
        ended = " {\n" if self._open is not None else ""
        self._open = span
        text = f"{ended}{self._margin(span, span.start)}{call.label}({shown})"
        if span.frames:
            text += f" from {' < '.join(span.frames)}"
        return text

    def end(self, span: Span, outcome: Outcome, now: int) -> str:
        text = f" = {outcome.result}"
        if outcome.error is not None:
            if outcome.errno is None:
                text = f" ! {outcome.error_type}: {outcome.error}"
            else:
                text += f" {outcome.errno} ({outcome.error})"
        for name, value in outcome.outputs:
            text += f" {name}={value}"
        if self._times:
            text += f" <{(now - span.start) / 1000:.1f} µs>"
        if self._open is span:
            self._open = None
            return f"{text}\n"
        ended = " {\n" if self._open is not None else ""
        self._open = None
        return f"{ended}{self._margin(span, now)}}} {span.call.label}{text}\n"

    def closing(self, unfinished: list[Span], now: int) -> str:
        ended = " {\n" if self._open is not None else ""
        self._open = None
        lines = [
            f"{self._margin(span, now)}}} {span.call.label} = ? <unfinished>\n"
            for span in reversed(unfinished)
        ]
        return ended + "".join(lines)

    def _margin(self, span: Span, time: int) -> str:
        when = f"{time / 1e9:.6f} " if self._times else ""
        # Threads inherit names: several tasks may be called main.
        who = span.task_name if span.task <= 1 else f"{span.task_name}/{span.task}"
        return f"{when}{who:<8}{'  ' * span.depth}"
