"""Running suites without pytest, one test after the other in this process.

:mod:`theseus_kit.testing.conformance.check` does it in processes of their own, which a plugin may
bring down or hang.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from unittest import SkipTest

from theseus_kit.errors import PluginError, UsageError
from theseus_kit.plugin import Plugin
from theseus_kit.testing.conformance.results import CaseResult, Outcome
from theseus_kit.testing.conformance.suite import Conformance, clauses_of

_LONGEST_VALUE = 120


def suites_for(
    plugin: type[Plugin], options: dict[str, dict[str, object]] | None = None
) -> list[type[Conformance]]:
    """The suites of the groups that a plugin provides, bound to it."""
    from theseus_kit.testing.conformance import suites

    found = [suite for suite in suites() if suite.group in plugin.description.provides]
    for capability in plugin.description.lacks:
        if capability.group not in plugin.description.provides:
            raise UsageError(
                f"plugin {plugin.description.name!r} lacks {capability.value}, which is of a "
                "group it does not provide: take it out of its description"
            )
    bound: list[type[Conformance]] = []
    for suite in found:
        values = {"plugin": plugin, "options": options or {}}
        bound.append(type(suite.__name__, (suite,), values))
    return bound


def run_test(suite: type[Conformance], test: str, machine: str) -> CaseResult:
    """Run one test of a suite that is bound to a plugin."""
    if not __debug__:
        raise UsageError("the conformance tests are assertions: run Python without -O")
    started = time.perf_counter()
    outcome, detail = _outcome(suite, test, machine)
    return CaseResult(
        machine,
        suite.group.value,
        test,
        outcome,
        detail,
        clause_texts(suite, test),
        round(time.perf_counter() - started, 4),
    )


def clause_texts(suite: type[Conformance], test: str) -> tuple[str, ...]:
    """The clauses that a test cites, for people."""
    return tuple(str(clause) for clause in clauses_of(getattr(suite, test)))


def _outcome(suite: type[Conformance], test: str, machine: str) -> tuple[Outcome, str]:
    instance = suite()
    instance.machine_name = machine
    method = getattr(instance, test)
    try:
        instance.setup_method(method)
        try:
            method()
        finally:
            instance.teardown_method()
    except SkipTest as skipped:
        return Outcome.SKIPPED, str(skipped)
    except Exception as error:  # noqa: BLE001 - whatever the plugin raises is what failed
        return Outcome.FAILED, explain(error)
    return Outcome.PASSED, ""


def explain(error: BaseException) -> str:
    """What failed: the innermost line of the suite with the values there, and the error."""
    lines = []
    here = Path(__file__).parent
    frames = _frames(error.__traceback__)
    for frame in reversed(frames):
        if Path(frame.tb_frame.f_code.co_filename).parent == here:
            summary = traceback.extract_tb(frame, limit=1)[0]
            lines.append(f"{Path(summary.filename).name}:{summary.lineno}: {summary.line}")
            lines += [
                f"    {name} = {_short(value)}"
                for name, value in frame.tb_frame.f_locals.items()
                if name != "self" and not callable(value)
            ]
            break
    if not isinstance(error, AssertionError) or str(error):
        lines.append(f"{type(error).__name__}: {error}")
        raised = _frames(_origin(error).__traceback__)
        if raised and not isinstance(error, AssertionError):
            last = traceback.extract_tb(raised[-1], limit=1)[0]
            lines.append(f"    raised at {last.filename}:{last.lineno}: {last.line}")
    return "\n".join(lines)


def _origin(error: BaseException) -> BaseException:
    """The error of the plugin's own that became a PluginError, or else the error itself."""
    while isinstance(error, PluginError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _frames(traceback_: TracebackType | None) -> Sequence[TracebackType]:
    frames = []
    while traceback_ is not None:
        if traceback_.tb_frame.f_code.co_filename != __file__:
            frames.append(traceback_)
        traceback_ = traceback_.tb_next
    return frames


def _short(value: object) -> str:
    shown = hex(value) if type(value) is int and value > 9 else repr(value)
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[: _LONGEST_VALUE - 1]}…"
