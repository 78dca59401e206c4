"""``theseus-kit wasi-tests``: run WASI's test suite on a platform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from theseus_kit.cli.options import (
    DEFAULT_PLUGINS,
    MachineOption,
    OptionsOption,
    PluginsOption,
)
from theseus_kit.cli.progress import with_progress
from theseus_kit.cli.suite_options import (
    EXIT_FAILED,
    CompileOption,
    HostOption,
    choose_platform,
    worker_count,
)

if TYPE_CHECKING:
    from theseus_kit.testing.wasi import WasiResult


def wasi_tests_command(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Directories of the suite, or .wasm files."),
    ],
    plugins: PluginsOption = DEFAULT_PLUGINS,
    machine: MachineOption = "emulated",
    option: OptionsOption = None,
    host: HostOption = False,
    compile_on: CompileOption = "host",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Programs at a time; one for each processor if left out."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Give up a program after so many seconds.")
    ] = 60,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Run the programs of WebAssembly/wasi-testsuite and tell which of them passed.

    Each runs in a process of its own and in a copy of its directory. The exit status is 1 if any
    of them failed.
    """
    from theseus_kit.testing.wasi import read_suite, run_tests

    tests = read_suite(paths)
    choice = None if host else choose_platform(plugins, machine, option, compile_on)
    count = worker_count(workers)
    running = run_tests(tests, choice, workers=count, timeout=timeout)
    results = sorted(with_progress(running, len(tests), _described), key=lambda result: result.path)
    if json:
        _print_json(results)
    else:
        _print_table(results)
    return EXIT_FAILED if any(result.failed for result in results) else 0


def _described(result: WasiResult) -> str:
    return f"{Path(result.path).name}: {result.outcome} ({result.seconds:.2f} s)"


def _counts(results: list[WasiResult]) -> dict[str, int]:
    outcomes = [result.outcome for result in results]
    return {name: outcomes.count(name) for name in ("passed", "failed", "skipped")}


def _print_json(results: list[WasiResult]) -> None:
    import json

    report = {"programs": [result.as_json() for result in results], "total": _counts(results)}
    print(json.dumps(report, indent=2))


def _print_table(results: list[WasiResult]) -> None:
    for result in results:
        if result.failed:
            print(f"{result.path}: failed")
            for problem in (*result.problems, result.stderr):
                for line in problem.splitlines():
                    print(f"    {line}")
    reasons: dict[str, list[str]] = {}
    for result in results:
        if result.skipped:
            reasons.setdefault(result.skipped, []).append(result.path)
    for reason, skipped in reasons.items():
        print(f"{skipped[0]}: {len(skipped)} skipped: {reason}")
    counts = ", ".join(f"{count} {name}" for name, count in _counts(results).items())
    programs = "1 program" if len(results) == 1 else f"{len(results)} programs"
    print(f"{programs}: {counts}")
