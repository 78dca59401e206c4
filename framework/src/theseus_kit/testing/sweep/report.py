"""A sweep as a table, as JSON and as a page in Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from theseus_kit.testing.sweep.classify import Verdict
from theseus_kit.testing.sweep.job import Target
from theseus_kit.testing.sweep.plan import Plan
from theseus_kit.testing.sweep.run import FaultResult

_SHOWN_FRAMES = 24
_LONGEST = 160
_COLUMN, _WIDTH = 36, 160
"""Columns of the table where the output is no terminal and so has no width."""

_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")

_MEANINGS = {
    Verdict.NO_EFFECT: "the same result as without the fault: the failure was expected and handled",
    Verdict.CLEAN_ERROR: "an error of Wasmtime's API, or an exit status that says so",
    Verdict.TRAPPED: "a WebAssembly trap that the run does not have without the fault",
    Verdict.ABORTED: "the runtime gave up: a panic, an abort, a fault nobody handled",
    Verdict.HUNG: "the run did not end within its time",
    Verdict.OTHER_RESULT: "the run ended well, with another result: to be judged by a reader",
    Verdict.MISBEHAVED: "the end of the process, or an error that is not Wasmtime's",
    Verdict.NOT_REACHED: "the call was not made so often this time: nothing was failed",
}


def as_json(target: Target, plan: Plan, results: Sequence[FaultResult]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "target": target._asdict(),
        "calls": plan.calls,
        "left_out": plan.left_out,
        "totals": {verdict.value: count for verdict, count in totals(results).items()},
        "results": [result.as_json() for result in results],
    }


def totals(results: Sequence[FaultResult]) -> dict[Verdict, int]:
    """How many runs got each verdict, in the verdicts' order."""
    counted = Counter(result.verdict for result in results)
    return {verdict: counted[verdict] for verdict in Verdict if counted[verdict]}


def in_order(plan: Plan, results: Sequence[FaultResult]) -> list[FaultResult]:
    """Results in the order of the plan."""
    places = {fault: place for place, fault in enumerate(plan.faults)}
    return sorted(results, key=lambda result: places[result.fault])


def print_table(results: Sequence[FaultResult]) -> None:
    """Print a row for each run."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    table = Table(expand=True)
    for heading in ("in", "fault", "outcome"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", max_width=_COLUMN)
    table.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    colours = {Verdict.NO_EFFECT: "green", Verdict.CLEAN_ERROR: "green", Verdict.TRAPPED: "yellow"}
    for result in results:
        fault = result.fault
        colour = colours.get(result.verdict, "red")
        table.add_row(
            escape(fault.phase),
            fault.rule,
            f"[{colour}]{result.verdict.value}[/]",
            escape(result.detail),
        )
    console.print(table)


def markdown(
    target: Target,
    plan: Plan,
    results: Sequence[FaultResult],
    *,
    wasmtime: str,
    command: str,
    title: str | None = None,
) -> str:
    """The report as a page."""
    counted = totals(results)
    lines = [
        f"# {title or f'Fault injection: Wasmtime {wasmtime}'}",
        "",
        f"Each platform call that Wasmtime {wasmtime} made in a run of `{target.path}` was failed "
        f"once, in a run of its own, on the {target.machine} machine with the plugins "
        f"{', '.join(target.plugins)}. This page was written by",
        "",
        "```",
        command,
        "```",
        "",
        f"The run makes {sum(plan.calls.values()):,} calls of {len(plan.calls)} hooks, C functions "
        f"and system calls. {len(results)} faults were tried: calls that can fail, each from "
        "another place in the guest"
        + (f"; {plan.left_out:,} places more were left out, evenly." if plan.left_out else "."),
        "",
        "| outcome | runs | meaning |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {v.value} | {count} | {_MEANINGS[v]} |" for v, count in counted.items()]
    lines += ["", "## By call", "", f"| call | error | {_heads(counted)} |"]
    lines.append(f"| --- | --- |{' --- |' * len(counted)}")
    by_call: dict[tuple[str, str], Counter[Verdict]] = {}
    for result in results:
        key = (result.fault.call, result.fault.errno)
        by_call.setdefault(key, Counter())[result.verdict] += 1
    for (call, error), verdicts in sorted(by_call.items()):
        row = " | ".join(str(verdicts[verdict] or "") for verdict in counted)
        lines.append(f"| `{call}` | {error} | {row} |")
    lines += ["", *_by_phase(results, counted), *_bad(results), *_all(results)]
    return "\n".join(lines).rstrip() + "\n"


def _by_phase(results: Sequence[FaultResult], counted: dict[Verdict, int]) -> list[str]:
    """Which functions of the API stand what."""
    by_phase: dict[str, Counter[Verdict]] = {}
    for result in results:
        by_phase.setdefault(result.fault.phase, Counter())[result.verdict] += 1
    lines = ["## By function of the API", "", f"| function | {_heads(counted)} |"]
    lines.append(f"| --- |{' --- |' * len(counted)}")
    for phase, verdicts in by_phase.items():
        row = " | ".join(str(verdicts[verdict] or "") for verdict in counted)
        lines.append(f"| `{phase}` | {row} |")
    return [*lines, ""]


def _heads(counted: dict[Verdict, int]) -> str:
    return " | ".join(verdict.value for verdict in counted)


def _bad(results: Sequence[FaultResult]) -> list[str]:
    """What did not end cleanly, those of one kind together, with a backtrace of the first."""
    kinds: dict[tuple[str, ...], list[FaultResult]] = {}
    for result in results:
        if result.verdict.wants_backtrace:
            key = (result.verdict.value, _without_numbers(result.detail), result.fault.call)
            kinds.setdefault(key, []).append(result)
    lines = ["## What ended badly", ""]
    if not kinds:
        return [*lines, "Nothing.", ""]
    for number, alike in enumerate(kinds.values(), start=1):
        first = alike[0]
        lines += [f"### {number}. {first.fault.call} fails: {first.verdict.value}", ""]
        lines += [f"{_cut(first.detail, 400)}", ""]
        phases = sorted({result.fault.phase for result in alike})
        lines += [f"{len(alike)} of the faults, in {_listed(phases)}. One of them:", ""]
        lines += ["```", first.command, "```", "", "```"]
        lines += [_cut(frame, _LONGEST) for frame in first.backtrace[:_SHOWN_FRAMES]]
        rest = len(first.backtrace) - _SHOWN_FRAMES
        lines += [f"… {rest} more"] if rest > 0 else []
        lines += ["```", ""]
    return lines


def _all(results: Sequence[FaultResult]) -> list[str]:
    lines = ["## Every fault", "", "| in | fault | outcome | |", "| --- | --- | --- | --- |"]
    for result in results:
        fault = result.fault
        detail = _cut(result.detail, _LONGEST).replace("|", "\\|")
        lines.append(f"| `{fault.phase}` | `{fault.rule}` | {result.verdict.value} | {detail} |")
    return lines


def _without_numbers(text: str) -> str:
    return _NUMBERS.sub("#", text)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _cut(text: str, most: int) -> str:
    text = text.replace("\n", " ")
    return text if len(text) <= most else f"{text[: most - 1]}…"
