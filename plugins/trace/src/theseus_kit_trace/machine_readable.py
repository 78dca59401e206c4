"""Traces for programs: JSON lines, and Chrome's trace events, which Perfetto reads.

Trace events: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU, "JSON
Array Format", which needs no end: what was written when a run died is a whole trace. Texts are put
together here: the json module takes three times as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quoted

from theseus_kit_trace.spans import CallFormat, Outcome, Span


def _object(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join([f"{quoted(name)}: {value}" for name, value in pairs]) + "}"


class _Spelling:
    """What all calls of one hook or function have in common, written once."""

    def __init__(self, call: CallFormat) -> None:
        names = ", ".join([f"{quoted(name)}: %s" for name in call.parameters])
        self._arguments = f"{{{names}}}"
        self._plain = call.plain
        plugin = "null" if call.plugin is None else quoted(call.plugin)
        self.call = f'"kind": "{call.kind}", "name": "{call.name}", "plugin": {plugin}'
        self.event = f'"name": "{call.name}", "cat": "{call.kind}"'

    def arguments(self, span: Span) -> str:
        """The arguments as an object."""
        return self._arguments % tuple(
            [
                value if plain else quoted(value)
                for value, plain in zip(span.arguments, self._plain, strict=True)
            ]
        )


class _Spellings(dict[str, _Spelling]):
    """By the call's label, made at its first call."""

    def of(self, call: CallFormat) -> _Spelling:
        found = self.get(call.label)
        if found is None:
            found = self[call.label] = _Spelling(call)
        return found


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
        self._spellings = _Spellings()

    def opening(self) -> str:
        return ""

    def begin(self, span: Span) -> str:
        return ""

    def end(self, span: Span, outcome: Outcome, now: int) -> str:
        return f"{self._head(span, now)}, {_ending(outcome)}}}\n"

    def _head(self, span: Span, now: int) -> str:
        spelling = self._spellings.of(span.call)
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
            f'{spelling.call}{times}{frames}, "arguments": {spelling.arguments(span)}'
        )

    def closing(self, unfinished: list[Span], now: int) -> str:
        return "".join([f'{self._head(span, now)}, "unfinished": true}}\n' for span in unfinished])


_PROCESS = 1


class TraceEvents:
    """A beginning and an end event for each call, on one track for each task."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._spellings = _Spellings()
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
        spelling = self._spellings.of(span.call)
        return (
            f'{track},\n{{"ph": "B", "pid": {_PROCESS}, "tid": {span.task}, '
            f'"ts": {span.start / 1000:.3f}, {spelling.event}, '
            f'"args": {{"arguments": {spelling.arguments(span)}{frames}}}}}'
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
