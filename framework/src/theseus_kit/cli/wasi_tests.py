"""``theseus-kit wasi-tests``: run WASI's test suite on a platform."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from theseus_kit.cli.options import (
    DEFAULT_PLUGINS,
    MachineOption,
    OptionsOption,
    PluginsOption,
    assemble_platform,
    parse_options,
)
from theseus_kit.cli.progress import with_progress

if TYPE_CHECKING:
    from theseus_kit.runtime.artifacts import CompileOn
    from theseus_kit.testing.wasi import PlatformChoice, WasiResult

EXIT_FAILED = 1


def wasi_tests_command(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Directories of the suite, or .wasm files."),
    ],
    plugins: PluginsOption = DEFAULT_PLUGINS,
    machine: MachineOption = "emulated",
    option: OptionsOption = None,
    host: Annotated[
        bool, typer.Option("--host", help="Run on the ordinary wasmtime package instead.")
    ] = False,
    compile_on: Annotated[
        Literal["host", "guest"],
        typer.Option("--compile", help="Compile on the host's CPU, or inside the machine."),
    ] = "host",
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
    choice = None if host else _choice(plugins, machine, option, compile_on)
    count = workers or len(os.sched_getaffinity(0))
    running = run_tests(tests, choice, workers=count, timeout=timeout)
    results = sorted(with_progress(running, len(tests), _described), key=lambda result: result.path)
    if json:
        _print_json(results)
    else:
        _print_table(results)
    return EXIT_FAILED if any(result.failed for result in results) else 0


def _choice(
    plugins: str, machine: str, option: list[str] | None, compile_on: CompileOn
) -> PlatformChoice:
    """What the processes are to assemble, which is tried here first: errors come once."""
    from theseus_kit.testing.wasi import PlatformChoice

    with assemble_platform(plugins, machine, option) as platform:
        print(platform.report, file=sys.stderr)
    names = tuple(name.strip() for name in plugins.split(",") if name.strip())
    return PlatformChoice(names, machine, parse_options(option or []), compile_on)


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
