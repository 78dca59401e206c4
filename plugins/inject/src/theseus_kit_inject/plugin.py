"""The plugin: counts the calls that rules mean, fails those that are due, and says what it did."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from theseus_kit import PluginDescription, Services, TheseusKitError, UsageError, option
from theseus_kit.dispatch.backtraces import capture_backtrace
from theseus_kit.interception import (
    CallPattern,
    Interception,
    Interceptor,
    PlatformCall,
    parse_patterns,
)
from theseus_kit.values.record import NamedTuple
from theseus_kit.values.symbols import FrameKind
from theseus_kit_inject.rules import Action, Rule, can_report, parse_failure, parse_rules

if TYPE_CHECKING:
    from theseus_kit.values.symbols import BacktraceEntry


@dataclass(frozen=True)
class Options:
    """What a user may set of fault injection."""

    rules: str = option(
        "",
        help="what fails, comma-separated: mmap:3=ENOMEM, hook.memory_map:*=ENOMEM@0.1, "
        "c.pthread_create=EAGAIN, hook.path_open:2+=raise, c.malloc:9=kill",
    )
    seed: int = option(0, help="seed of the rules with a probability: equal seeds, equal failures")
    calls: str = option(
        "", help="calls that rules may be added for later, from Python: mmap, hook.*, *"
    )
    report: Path | None = option(
        None, help="a file that gets a line of JSON for each failure, with its backtrace"
    )

    def __post_init__(self) -> None:
        parse_rules(self.rules)
        parse_patterns(self.calls)


class Injection(NamedTuple):
    """A call that was made to fail."""

    call: PlatformCall
    occurrence: int
    """The how manieth call of it that was, of those since assembly."""
    rule: Rule
    task: str | None
    backtrace: tuple[BacktraceEntry, ...]
    """Where the guest was, innermost frame first; empty where none ran."""

    def as_json(self) -> dict[str, Any]:
        frames = [
            symbol.display_name
            for frame, symbols in self.backtrace
            if frame.kind is not FrameKind.TRANSITION
            for symbol in symbols
        ]
        return {
            "call": str(self.call),
            "plugin": self.call.plugin,
            "occurrence": self.occurrence,
            "rule": str(self.rule),
            "action": self.rule.action,
            "task": self.task,
            "frames": frames,
        }


class _Counted:
    """A rule in force, and how many calls it has meant so far."""

    def __init__(self, rule: Rule, seed: int) -> None:
        self.rule = rule
        self.count = 0
        # Each has its own, so that one rule's failures do not depend on the others.
        self.random = Random(f"{seed}:{rule}")

    def is_due(self) -> bool:
        self.count += 1
        return self.rule.is_due(self.count, self.random)


class InjectPlugin(Interceptor):
    """Fails calls by rules, from the options and from :meth:`fail`."""

    description = PluginDescription(
        name="inject",
        version="0.1.0",
        summary="makes chosen hooks, C functions and system calls fail",
        options=Options,
    )

    def __init__(self, services: Services, options: Options) -> None:
        super().__init__(services, options)
        self.counts: Counter[str] = Counter()
        """How often each intercepted call was made: ``counts["syscall.mmap"]``."""
        self.injected: list[Injection] = []
        """What was made to fail, in order."""
        self._rules = [_Counted(rule, options.seed) for rule in parse_rules(options.rules)]
        self._failing: list[FailingCall] = []
        self._is_looking = False
        if options.report is not None:
            self._open_report(options.report)

    @classmethod
    def wants(cls, options: Options, call: PlatformCall) -> bool:
        return any(rule.matches(call) for rule in parse_rules(options.rules)) or any(
            pattern.matches(call) for pattern in parse_patterns(options.calls)
        )

    def intercept(self, call: PlatformCall) -> Interception:
        failing = FailingCall(self, call)
        failing.rules = [counted for counted in self._rules if counted.rule.matches(call)]
        self._failing.append(failing)
        return failing

    def offers_known(self) -> None:
        for pattern in parse_patterns(self.options.calls):
            pattern.check(self.calls, "plugin 'inject'")
        for counted in self._rules:
            self._check(counted.rule)

    def _check(self, rule: Rule) -> None:
        """Refuse a rule that can never fail anything."""
        rule.pattern.check(self.calls, "plugin 'inject'")
        meant = [call for call in self.calls if rule.pattern.matches(call)]
        if rule.needs_errno and not any(can_report(call) for call in meant):
            raise UsageError(
                f"rule '{rule}': {meant[0]} has no way to report an error: let it raise or kill"
            )

    def fail(
        self,
        calls: str,
        failure: str | int | Action | BaseException,
        *,
        nth: int | None = None,
        from_nth: int | None = None,
        probability: float = 1.0,
    ) -> Rule:
        """Make calls fail from now on: the n-th from now, or all from the n-th, or all.

        ``calls`` is a pattern such as ``syscall.mmap``; they must be among those that the options
        ``calls`` and ``rules`` name. ``failure`` is an error number or its name, an
        :class:`Action`, or an exception to raise. Returns the rule, for :meth:`stop`. Raises
        UsageError.
        """
        if isinstance(failure, str):
            failure = parse_failure(failure, calls)
        first = nth or from_nth or 1
        rule = Rule(CallPattern.parse(calls), failure, first, nth, probability)
        self._check(rule)
        meant = [failing for failing in self._failing if rule.matches(failing.call)]
        ready = {failing.call for failing in meant}
        for call in self.calls:
            if rule.matches(call) and call not in ready and not self.wants(self.options, call):
                raise UsageError(
                    f"{call} was not made ready to fail: assemble with the option "
                    f"inject.calls={calls}"
                )
        counted = _Counted(rule, self.options.seed)
        self._rules.append(counted)
        for failing in meant:
            failing.rules.append(counted)
        return rule

    def stop(self, rule: Rule) -> None:
        """End a rule; nothing if it is not in force."""
        for rules in (self._rules, *(failing.rules for failing in self._failing)):
            rules[:] = [counted for counted in rules if counted.rule is not rule]

    @contextmanager
    def failing(self, calls: str, failure: Any, **when: Any) -> Iterator[Rule]:
        """As :meth:`fail`, for the length of a ``with`` block."""
        rule = self.fail(calls, failure, **when)
        try:
            yield rule
        finally:
            self.stop(rule)

    def told(self, call: PlatformCall, rules: list[_Counted]) -> None:
        """Count a call, and raise if it is to fail. What the plugin itself asks is not counted."""
        if self._is_looking:
            return
        label = str(call)
        self.counts[label] += 1
        due = [counted.rule for counted in rules if counted.is_due()]
        if due:
            self._inject(call, self.counts[label], due[0])

    def _inject(self, call: PlatformCall, occurrence: int, rule: Rule) -> None:
        services = self.services
        self._is_looking = True
        try:
            task: str | None = services.tasks.current.name
            backtrace = capture_backtrace(services.machine, services.hooks, services.tasks)
        except TheseusKitError:  # before the first task there is neither
            task, backtrace = None, ()
        finally:
            self._is_looking = False
        injection = Injection(call, occurrence, rule, task, backtrace)
        self.injected.append(injection)
        if self.options.report is not None:
            self._report(self.options.report, injection)
        raise rule.error(call)

    def _open_report(self, file: Path) -> None:
        try:
            file.write_bytes(b"")
        except OSError as error:
            raise UsageError(
                f"plugin 'inject' cannot write {file}: {error.strerror}: name another file with "
                "the option inject.report"
            ) from error

    def _report(self, file: Path, injection: Injection) -> None:
        """Append a line; written before the failure happens, for the process may die of it."""
        line = json.dumps(injection.as_json()) + "\n"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


class FailingCall:
    """What is told of one call's every occurrence."""

    def __init__(self, plugin: InjectPlugin, call: PlatformCall) -> None:
        self._plugin = plugin
        self.call = call
        self.rules: list[_Counted] = []

    def before(self, arguments: tuple[Any, ...]) -> None:
        self._plugin.told(self.call, self.rules)

    def after(self, token: None, result: Any) -> None:
        """Nothing to do: what is not failed is as it was."""

    def failed(self, token: None, error: BaseException) -> None:
        """Nothing to do: the failure is the provider's own."""
