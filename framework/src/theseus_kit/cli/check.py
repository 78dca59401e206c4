"""``theseus-kit check``: run the conformance suites of the groups a plugin provides."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from theseus_kit.assembly.catalogue import Catalogue, closest
from theseus_kit.cli.options import OptionsOption, parse_options
from theseus_kit.cli.progress import with_progress
from theseus_kit.errors import UsageError
from theseus_kit.machine import machine_names

if TYPE_CHECKING:
    from rich.console import Console

    from theseus_kit.testing.conformance.results import CaseResult

EXIT_FAILED = 1


def check_command(
    plugin: Annotated[str, typer.Argument(metavar="PLUGIN", help="An installed plugin's name.")],
    machine: Annotated[
        str, typer.Option("--machine", help="The machine to run on, or all.")
    ] = "all",
    option: OptionsOption = None,
    tests: Annotated[
        str, typer.Option("--tests", metavar="TEXT", help="Only tests with this in their names.")
    ] = "",
    expected_failures: Annotated[
        Path | None,
        typer.Option(help="A TOML file of expected failures; else the one in the package."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Give up a test after so many seconds.")
    ] = 120.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Check that a plugin keeps the contract of every group it provides, clause by clause.

    The exit status is 1 if anything failed, or passed that was expected to fail.
    """
    machines = _machines(machine)
    options = parse_options(option or [])
    found = Catalogue().plugin(plugin)
    from theseus_kit.testing.conformance.check import cases_of, run_cases
    from theseus_kit.testing.conformance.companions import with_companions
    from theseus_kit.testing.conformance.expected_failures import (
        file_beside,
        read_expected_failures,
    )
    from theseus_kit.testing.conformance.runner import suites_for

    suites = suites_for(found)
    if not suites:
        raise UsageError(f"plugin {plugin!r} provides no group that has a conformance suite")
    cases = cases_of(plugin, machines, tests)
    if not cases:
        raise UsageError(f"no test of {plugin!r} has {tests!r} in its name")
    path = expected_failures or file_beside(found)
    expected = {} if path is None else read_expected_failures(path, plugin, suites)
    beside = with_companions(found)[1:]
    print(f"{plugin} beside {', '.join(map(str, beside))}", file=sys.stderr)
    running = run_cases(plugin, cases, options, expected, timeout)
    results = list(
        with_progress(
            running, len(cases), _described, is_quiet=lambda result: result.outcome.is_good
        )
    )
    if json:
        _print_json(plugin, results)
    else:
        _print_table(results)
    return 0 if all(result.outcome.is_good for result in results) else EXIT_FAILED


def _machines(name: str) -> tuple[str, ...]:
    if name == "all":
        return machine_names()
    if name not in machine_names():
        raise UsageError(f"no machine is named {name!r}{closest(name, (*machine_names(), 'all'))}")
    return (name,)


def _sentence(test: str) -> str:
    return test.removeprefix("test_").replace("_", " ")


def _described(result: CaseResult) -> str:
    return f"{result.machine}: {_heading(result)}"


def _heading(result: CaseResult) -> str:
    return f"{result.outcome.value}: {_sentence(result.test)}"


def _print_json(plugin: str, results: list[CaseResult]) -> None:
    import json

    from theseus_kit.testing.conformance.results import counts

    total = {outcome.value: count for outcome, count in counts(results).items()}
    tests = [result.as_json() for result in results]
    print(json.dumps({"plugin": plugin, "total": total, "tests": tests}, indent=2))


def _print_table(results: list[CaseResult]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from theseus_kit.testing.conformance.results import Outcome, counts

    headings = {
        Outcome.PASSED: "passed",
        Outcome.FAILED: "failed",
        Outcome.EXPECTED_FAILURE: "expected",
        Outcome.UNEXPECTED_PASS: "unexpected",
        Outcome.SKIPPED: "skipped",
    }
    number = counts(results)
    shown_outcomes = {
        outcome: heading
        for outcome, heading in headings.items()
        if number[outcome] or outcome in (Outcome.PASSED, Outcome.FAILED)
    }
    table = Table()
    for heading in ("machine", "group"):
        table.add_column(heading, no_wrap=True)
    for heading in (*shown_outcomes.values(), "seconds"):
        table.add_column(heading, justify="right")
    rows = dict.fromkeys((result.machine, result.group) for result in results)
    for machine, group in rows:
        mine = [r for r in results if (r.group, r.machine) == (group, machine)]
        number = counts(mine)
        cells = [
            f"[red]{number[outcome]}[/]"
            if number[outcome] and not outcome.is_good
            else str(number[outcome] or "")
            for outcome in shown_outcomes
        ]
        table.add_row(machine, group, *cells, f"{sum(result.seconds for result in mine):.1f}")
    console = Console()
    console.print(table)
    _print_skipped(console, results)
    shown: set[tuple[str, str, str]] = set()
    for result in results:
        if result.outcome in (Outcome.PASSED, Outcome.SKIPPED):
            continue
        key = (result.group, result.test, result.detail)
        if result.outcome.is_good and key in shown:  # the same on the other machine
            continue
        shown.add(key)
        heading = f"[bold]{escape(_heading(result))}[/] ({result.group}, {result.machine})"
        console.print(heading, soft_wrap=True)
        if not result.outcome.is_good:
            for text in result.clauses:
                console.print(f"    the contract: {escape(text)}", soft_wrap=True)
        for line in result.detail.splitlines():
            console.print(f"    {escape(line)}", soft_wrap=True, highlight=False)


def _print_skipped(console: Console, results: list[CaseResult]) -> None:
    """The tests that were skipped, by the reason."""
    from rich.markup import escape

    from theseus_kit.testing.conformance.results import Outcome

    reasons: dict[str, dict[str, None]] = {}
    for result in results:
        if result.outcome is Outcome.SKIPPED:
            reasons.setdefault(result.detail, {})[_sentence(result.test)] = None
    for reason, tests in reasons.items():
        console.print(f"[bold]skipped:[/] {escape(reason)}", soft_wrap=True, highlight=False)
        for test in tests:
            console.print(f"    {escape(test)}", soft_wrap=True, highlight=False)
