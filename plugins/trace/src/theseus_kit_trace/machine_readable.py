"""Traces for programs: JSON lines, and Chrome's trace events, which Perfetto reads.

Trace events: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU, "JSON
Array Format", which needs no end: what was written when a run died is a whole trace. Texts are put
together here: the json module takes three times as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quoted

from theseus_kit_trace.spans import Outcome, Span


def _object(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join([f"{quoted(name)}: {value}" for name, value in pairs]) + "}"


def _arguments(span: Span) -> str:
    call = span.call
    return _object(
        (name, value if plain else quoted(value))
        for name, value, plain in zip(call.parameters, span.arguments, call.plain, strict=True)
    )


def _ending(outcome: Outcome) -> str:
    """The result and what else is known at the end, as members of an object."""
    text = f'"result": {outcome.result if outcome.is_plain else quoted(outcome.result)}'
    if outcome.outputs:
        text += f', "outputs": {_object((name, quoted(v)) for name, v in outcome.outputs)}'
    if outcome.error is not None:
        errno = "null" if outcome.errno is None else quoted(outcome.errno)
        text += (
            f', "error": {{"type": {quoted(outcome.error_type or "")}, "errno": {errno}, '
            f'"message": {quoted(outcome.error)}}}'
        )
    return text


class JsonLines:
    """One object for each call, on a line of its own, when it ends: inner calls come first."""

    def __init__(self, *, times: bool) -> None:
        self._times = times

    def opening(self) -> str:
        return ""

    def begin(self, span: Span) -> str:
        return ""

    def end(self, span: Span, outcome: Outcome, now: int) -> str:
        return f"{self._head(span, now)}, {_ending(outcome)}}}\n"

    def _head(self, span: Span, now: int) -> str:
        call = span.call
        plugin = "null" if call.plugin is None else quoted(call.plugin)
        times = ""
        if self._times:
            duration = (now - span.start) / 1000
            times = f', "start_us": {span.start / 1000:.3f}, "duration_us": {duration:.3f}'
        frames = ""
        if span.frames:
            frames = f', "frames": [{", ".join([quoted(frame) for frame in span.frames])}]'
        return (
            f'{{"number": {span.number}, "parent": {span.parent or "null"}, "depth": {span.depth}, '
            f'"task": {span.task}, "task_name": {quoted(span.task_name)}, '
            f'"kind": {quoted(call.kind)}, "name": {quoted(call.name)}, "plugin": {plugin}{times}'
            f'{frames}, "arguments": {_arguments(span)}'
        )

    def closing(self, unfinished: list[Span], now: int) -> str:
        return "".join([f'{self._head(span, now)}, "unfinished": true}}\n' for span in unfinished])


_PROCESS = 1


class TraceEvents:
    """A beginning and an end event for each call, on one track for each task."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._named: dict[int, str] = {}

    def opening(self) -> str:
        return f"[\n{self._metadata('process_name', 0, self._title)}"

    def _metadata(self, what: str, thread: int, name: str) -> str:
        return (
            f'{{"ph": "M", "pid": {_PROCESS}, "tid": {thread}, "name": "{what}", '
            f'"args": {{"name": {quoted(name)}}}}}'
        )

    def begin(self, span: Span) -> str:
        track = ""
        if self._named.get(span.task) != span.task_name:
            self._named[span.task] = span.task_name
            track = f",\n{self._metadata('thread_name', span.task, span.task_name)}"
        frames = ""
        if span.frames:
            frames = f', "frames": {quoted(" < ".join(span.frames))}'
        call = span.call
        return (
            f'{track},\n{{"ph": "B", "pid": {_PROCESS}, "tid": {span.task}, '
            f'"ts": {span.start / 1000:.3f}, "name": {quoted(call.name)}, '
            f'"cat": {quoted(call.kind)}, "args": {{"arguments": {_arguments(span)}{frames}}}}}'
        )

    def end(self, span: Span, outcome: Outcome, now: int) -> str:
        return self._event_end(span, now, _ending(outcome))

    def _event_end(self, span: Span, now: int, members: str) -> str:
        return (
            f',\n{{"ph": "E", "pid": {_PROCESS}, "tid": {span.task}, "ts": {now / 1000:.3f}, '
            f'"args": {{{members}}}}}'
        )

    def closing(self, unfinished: list[Span], now: int) -> str:
        ends = [self._event_end(span, now, '"unfinished": true') for span in reversed(unfinished)]
        return "".join(ends) + "\n]\n"
