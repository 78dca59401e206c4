"""``theseus-kit spec``: run the WebAssembly specification's test suite on a platform."""

from __future__ import annotations

import os
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
from theseus_kit.errors import UsageError

if TYPE_CHECKING:
    from theseus_kit.testing.wast.results import FileResult

SHOWN_FAILURES = 10
"""How many failures of a file are shown; ``--json`` has them all."""


def spec_command(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help=".wast files, or directories of such files."),
    ],
    plugins: PluginsOption = DEFAULT_PLUGINS,
    machine: MachineOption = "emulated",
    option: OptionsOption = None,
    host: HostOption = False,
    compile_on: CompileOption = "host",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Worker processes; one for each processor if left out."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Give up a file after so many seconds.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Run .wast scripts and count what passed, failed and was skipped, file by file.

    The exit status is 1 if anything failed.
    """
    files = _files(paths)
    choice = None if host else choose_platform(plugins, machine, option, compile_on)
    from theseus_kit.testing.wast.workers import run_files

    count = worker_count(workers)
    results = list(
        with_progress(
            run_files(files, choice, workers=count, timeout=timeout), len(files), _summary
        )
    )
    results.sort(key=lambda result: result.path)
    if json:
        _print_json(results)
    else:
        _print_table(results)
    return EXIT_FAILED if any(result.failed for result in results) else 0


def _files(paths: list[Path]) -> list[str]:
    """Return the scripts, the largest first: the last to finish is then a small one."""
    files: dict[Path, int] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or directory")
        found = sorted(path.rglob("*.wast")) if path.is_dir() else [path]
        if not found:
            raise UsageError(f"{path}: no .wast file in this directory")
        for file in found:
            if not os.access(file, os.R_OK):
                raise UsageError(f"{file}: cannot be read")
            files[file] = file.stat().st_size
    return [str(file) for file in sorted(files, key=lambda file: -files[file])]


def _summary(result: FileResult) -> str:
    parts = [f"{result.passed} passed"]
    if result.failed:
        parts.append(f"{result.failed} failed")
    if result.skipped:
        parts.append(f"{len(result.skipped)} skipped")
    return f"{Path(result.path).name}: {', '.join(parts)} ({result.seconds:.2f} s)"


def _print_json(results: list[FileResult]) -> None:
    import json

    report = {"files": [result.as_json() for result in results], "total": _totals(results)}
    print(json.dumps(report, indent=2))


def _totals(results: list[FileResult]) -> dict[str, float]:
    return {
        "files": len(results),
        "passed": sum(result.passed for result in results),
        "failed": sum(result.failed for result in results),
        "skipped": sum(len(result.skipped) for result in results),
        "cpu_seconds": round(sum(result.cpu_seconds for result in results), 3),
    }


def _print_table(results: list[FileResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file")
    for heading in ("passed", "failed", "skipped", "seconds"):
        table.add_column(heading, justify="right")
    for result in results:
        failed = f"[red]{result.failed}[/]" if result.failed else ""
        skipped = str(len(result.skipped) or "")
        name = Path(result.path).name
        table.add_row(name, str(result.passed), failed, skipped, f"{result.seconds:.2f}")
    Console().print(table)
    for result in results:
        _print_details(result)
    totals = _totals(results)
    files = "1 file" if len(results) == 1 else f"{len(results)} files"
    print(
        f"{files}: {totals['passed']} passed, {totals['failed']} failed, "
        f"{totals['skipped']} skipped, {totals['cpu_seconds']:.1f} s of CPU time"
    )


def _print_details(result: FileResult) -> None:
    for failure in result.failures[:SHOWN_FAILURES]:
        print(f"{result.path}:{failure.line}: failed: {failure.command}")
        print(f"    expected {failure.expected}\n    got      {failure.got}")
    if result.failed > SHOWN_FAILURES:
        print(f"{result.path}: {result.failed - SHOWN_FAILURES} more failures")
    reasons: dict[str, list[int]] = {}
    for skip in result.skipped:
        reasons.setdefault(skip.reason, []).append(skip.line)
    for reason, lines in reasons.items():
        print(f"{result.path}:{lines[0]}: {len(lines)} skipped: {reason}")
    if result.aborted:
        print(f"{result.path}: the rest of the file was not run: {result.aborted}")
