"""The plugin: which calls are traced, and how each kind of them is shown."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from theseus_kit import PlatformError, PluginDescription, Services, hookimpl, option
from theseus_kit.interception import (
    CallKind,
    Interception,
    Interceptor,
    PlatformCall,
    parse_patterns,
)
from theseus_kit.values.linkage import CFunction, ErrorConvention
from theseus_kit_trace import hook_values
from theseus_kit_trace.arguments import FunctionFormat, Values, format_of
from theseus_kit_trace.guest_memory import Reader
from theseus_kit_trace.machine_readable import JsonLines, TraceEvents
from theseus_kit_trace.output import Output
from theseus_kit_trace.recorder import Recorder
from theseus_kit_trace.spans import CallFormat, Formatter, Outcome, Span
from theseus_kit_trace.text import TextFormatter


class Format(Enum):
    """What a trace is written as."""

    TEXT = "text"
    JSON = "json"
    PERFETTO = "perfetto"


@dataclass(frozen=True)
class Options:
    """What a user may set of the trace."""

    format: Format = option(
        Format.TEXT, help="text for people, json for a line per call, perfetto for ui.perfetto.dev"
    )
    file: Path | None = option(None, help="the file it is written to; stderr without one")
    include: str = option(
        "*", help="calls to trace, comma-separated: mmap, syscall.*, hook.memory_*, c.pthread_*"
    )
    exclude: str = option("", help="calls not to trace, written as for include")
    strings: int = option(32, help="how many bytes of a string are shown")
    times: bool = option(True, help="show when calls began and how long they took")
    frames: int = option(0, help="how many guest functions that led to a call are shown with it")

    def __post_init__(self) -> None:
        if self.strings < 0 or self.frames < 0:
            raise ValueError("strings and frames are counts")
        parse_patterns(self.include)
        parse_patterns(self.exclude)


class TracePlugin(Interceptor):
    """Writes down every call it is to trace. Put it first in the list: it then sees what counts."""

    description = PluginDescription(
        name="trace",
        version="0.1.0",
        summary="writes down every hook call, C call and system call",
        options=Options,
    )
    always_wrapped = Interceptor.always_wrapped | {"platform_closed"}

    def __init__(self, services: Services, options: Options) -> None:
        super().__init__(services, options)
        self._reader = Reader(services.machine.memory, options.strings)
        self._recorder = Recorder(
            services.tasks,
            _formatter(options, services),
            Output(options.file),
            self._frames if options.frames else None,
        )

    @classmethod
    def wants(cls, options: Options, call: PlatformCall) -> bool:
        return any(p.matches(call) for p in parse_patterns(options.include)) and not any(
            p.matches(call) for p in parse_patterns(options.exclude)
        )

    def intercept(self, call: PlatformCall) -> Interception:
        if call.function is None:
            return TracedHook(self._recorder, call)
        return TracedFunction(self._recorder, self._reader, call, call.function)

    def offers_known(self) -> None:
        for text in (self.options.include, self.options.exclude):
            for pattern in parse_patterns(text):
                pattern.check(self.calls, "plugin 'trace'")

    @hookimpl(wrapper=True)
    def platform_closed(self) -> Generator[None, Any, Any]:
        try:
            return (yield from self.told_of_hook("platform_closed", ()))
        finally:
            self._recorder.close()

    def _frames(self) -> tuple[str, ...]:
        from theseus_kit_trace.frames import guest_frames

        return guest_frames(self.services, self.options.frames)


def _formatter(options: Options, services: Services) -> Formatter:
    if options.format is Format.TEXT:
        return TextFormatter(times=options.times)
    if options.format is Format.JSON:
        return JsonLines(times=options.times)
    return TraceEvents(f"theseus-kit on the {services.machine.name} machine")


class TracedHook:
    """What is told of one hook's calls."""

    def __init__(self, recorder: Recorder, call: PlatformCall) -> None:
        self._recorder = recorder
        self._show = tuple(hook_values.argument_shower(call.name, name) for name in call.parameters)
        self._show_result = hook_values.result_shower(call.name)
        plain = (False,) * len(call.parameters)
        self._call = CallFormat(
            *(str(call), call.kind.value, call.name, None, call.parameters, plain),
            template=", ".join(f"{name}=%s" for name in call.parameters),
        )

    def before(self, arguments: tuple[Any, ...]) -> Span | None:
        shown = tuple([show(value) for show, value in zip(self._show, arguments, strict=True)])
        return self._recorder.begin(self._call, shown, ())

    def after(self, span: Span | None, result: Any) -> None:
        if span is not None:
            self._recorder.end(span, lambda: Outcome(self._show_result(result), False))

    def failed(self, span: Span | None, error: BaseException) -> None:
        if span is not None:
            self._recorder.end(span, partial(_failure, error, "?"))


_FAILED_RESULTS = {
    ErrorConvention.MINUS_ONE: "-1",
    ErrorConvention.NEGATIVE: "-1",
    ErrorConvention.NULL: "NULL",
}


class TracedFunction:
    """What is told of the calls of one C function, or of one system call."""

    def __init__(
        self, recorder: Recorder, reader: Reader, call: PlatformCall, function: CFunction
    ) -> None:
        self._recorder = recorder
        self._reader = reader
        self._platform_call = call
        self._function = function
        self._is_system_call = call.kind is CallKind.SYSTEM_CALL
        self._known: tuple[FunctionFormat, CallFormat] | None = None

    def _format(self) -> tuple[FunctionFormat, CallFormat]:
        """Made at the first call: most functions that are offered are never called."""
        call = self._platform_call
        found = format_of(self._function.prototype)
        kind, name, plugin = call.kind.value, call.name, call.plugin
        common = CallFormat(str(call), kind, name, plugin, found.parameters, found.plain)
        self._known = found, common
        return self._known

    def before(self, arguments: Values) -> Span | None:
        form, call = self._known or self._format()
        reader = self._reader
        shown = tuple([show(reader, arguments) for show in form.show])
        return self._recorder.begin(call, shown, arguments)

    def after(self, span: Span | None, result: float | None) -> None:
        if span is not None:
            self._recorder.end(span, partial(self._outcome, span, result))

    def _outcome(self, span: Span, result: float | None) -> Outcome:
        form, _ = self._known or self._format()
        value = result or 0
        if value and isinstance(value, int):
            failed = self._error_number(value)
            if failed is not None:
                return failed
        reader = self._reader
        outputs: tuple[tuple[str, str], ...] = ()
        if form.outputs:
            shown = [(name, show(reader, span.values, int(value))) for name, show in form.outputs]
            outputs = tuple(output for output in shown if output[1])
        return Outcome(form.result(reader, value), form.plain_result, outputs)

    def _error_number(self, value: int) -> Outcome | None:
        """What a body's result says where it is an error, None where it is none."""
        if self._is_system_call and -4095 <= value < 0:
            number, result, is_plain = -value, "-1", True
        elif self._function.on_error is ErrorConvention.RESULT and value in errno.errorcode:
            number, result, is_plain = value, errno.errorcode[value], False
        else:
            return None
        return Outcome(
            result, is_plain, (), errno.errorcode.get(number, str(number)), os.strerror(number)
        )

    def failed(self, span: Span | None, error: BaseException) -> None:
        if span is None:
            return
        convention = ErrorConvention.NEGATIVE if self._is_system_call else self._function.on_error
        if isinstance(error, PlatformError) and convention is ErrorConvention.RESULT:
            result = errno.errorcode.get(error.errno, str(error.errno))
        else:
            result = _FAILED_RESULTS.get(convention, "?")
        self._recorder.end(span, partial(_failure, error, result))


def _failure(error: BaseException, result: str) -> Outcome:
    kind = type(error).__name__
    if isinstance(error, PlatformError):
        name = errno.errorcode.get(error.errno, str(error.errno))
        return Outcome(
            result, result == "-1", (), name, str(error) or os.strerror(error.errno), kind
        )
    return Outcome(result, False, (), None, str(error), kind)
