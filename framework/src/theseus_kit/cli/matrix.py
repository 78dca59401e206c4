"""``theseus-kit matrix``: every test set on every combination."""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from theseus_kit.cli.progress import with_progress
from theseus_kit.errors import UsageError

if TYPE_CHECKING:
    from theseus_kit.testing.matrix import CellResult, Executor
    from theseus_kit.testing.matrix.reports import RunReport

EXIT_FAILED = 1
_LOG_WIDTH = 200
"""Columns of the table where it is not shown on a terminal."""
_RUN, _JUNIT, _PAGE = "matrix.json", "matrix.xml", "matrix.html"


def matrix_command(
    matrix: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MATRIX.toml]", help="What varies and what is run; the kit's own if left out."
        ),
    ] = None,
    machine: Annotated[
        list[str] | None, typer.Option("--machine", help="Only on this machine; may be repeated.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Cells at once; one a processor if left out."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="AXIS=PATTERN", help="Only such cells; may be repeated."),
    ] = None,
    pairwise: Annotated[
        bool,
        typer.Option("--pairwise", help="Only so many cells that every two values meet in one."),
    ] = False,
    output: Annotated[Path, typer.Option(help="The directory of results and reports.")] = Path(
        "matrix-results"
    ),
    compare: Annotated[
        Path | None,
        typer.Option(help="An earlier matrix.json to compare with; else the last one in OUTPUT."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Run what has not changed, too.")] = False,
    executor: Annotated[
        Literal["local", "dask"], typer.Option(help="Run here, or on a Dask cluster.")
    ] = "local",
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The Dask scheduler's address.")
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Print the cells and run none.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> int:
    """Run every test set on every combination of plugins, machines and Wasmtime versions.

    Results that still hold are reused: a rerun does what changed, an interrupted run goes on.
    OUTPUT gets matrix.json, matrix.xml (JUnit) and matrix.html. The exit status is 1 if a cell
    failed without the matrix saying why it would.
    """
    from theseus_kit.testing.matrix import ResultStore, cells_of, read_matrix, run_matrix
    from theseus_kit.testing.matrix.reports import RunReport

    with _matrix_file(matrix) as path:
        definition = read_matrix(path)
    wanted = list(filters or [])
    if machine:
        wanted.append(f"machine={','.join(machine)}")
    cells = cells_of(definition, pairwise=pairwise, filters=wanted)
    if list_only:
        for cell in cells:
            reason = f"  (skipped: {cell.skip_reason})" if cell.skip_reason else ""
            print(" · ".join(cell.choices.values()) + reason)
        return 0
    store = ResultStore(output)
    earlier = _earlier(compare, output / _RUN)
    started, clock = datetime.now(UTC), time.monotonic()
    with _executor(executor, scheduler, jobs) as chosen:
        found = run_matrix(definition, cells, chosen, store, again=again)
        results = list(
            with_progress(
                found,
                len(cells),
                _summary,
                stays=lambda result: not result.outcome.is_explained,
            )
        )
    order = {tuple(cell.choices.values()): number for number, cell in enumerate(cells)}
    results.sort(key=lambda result: order[tuple(result.cell.values())])
    report = RunReport(
        matrix=path.name,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - clock,
        axes=definition.axes,
        cells=tuple(results),
    )
    _write(report, earlier, store)
    _print(report, store.directory, json)
    return EXIT_FAILED if report.unexplained else 0


def _matrix_file(given: Path | None) -> AbstractContextManager[Path]:
    """The file, or else the one that comes with the framework."""
    if given is not None:
        return nullcontext(given)
    return as_file(files("theseus_kit.testing.matrix") / "bundled.toml")


def _earlier(compare: Path | None, last: Path) -> RunReport | None:
    from theseus_kit.testing.matrix.reports import read_run

    if compare is not None:
        return read_run(compare)
    try:
        return read_run(last) if last.exists() else None
    except UsageError as error:  # of another version of the kit, say: nothing to compare with
        print(f"theseus-kit: no comparison: {error}", file=sys.stderr)
        return None


def _executor(
    kind: str, scheduler: str | None, jobs: int | None
) -> AbstractContextManager[Executor]:
    if kind == "local":
        if scheduler is not None:
            raise UsageError("--scheduler is for --executor dask")
        from theseus_kit.testing.matrix import LocalExecutor

        return nullcontext(LocalExecutor(jobs or len(os.sched_getaffinity(0))))
    if scheduler is None:
        raise UsageError("--executor dask needs --scheduler ADDRESS, such as tcp://10.0.0.1:8786")
    from theseus_kit.testing.matrix.dask_executor import DaskExecutor

    return DaskExecutor(scheduler)


def _summary(result: CellResult) -> str:
    how = "reused" if result.reused else f"{result.seconds:.1f} s"
    reason = f": {result.reason.splitlines()[0]}" if result.reason else ""
    return f"{result.title}: {result.outcome.value} ({how}){reason}"


def _write(report: RunReport, earlier: RunReport | None, store: Any) -> None:
    from theseus_kit.testing.matrix.reports import html_page, junit_xml, run_json

    store.write(_JUNIT, junit_xml(report))
    store.write(_PAGE, html_page(report, earlier))
    store.write(_RUN, run_json(report))


def _print(report: RunReport, directory: Path, as_json: bool) -> None:
    from theseus_kit.testing.matrix.reports import result_table, run_json

    if as_json:
        print(run_json(report).decode())
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    console.print(result_table(report))
    for result in report.unexplained:
        print(f"{result.title}: {result.outcome.value}: {result.reason}")
    totals = ", ".join(f"{number} {outcome}" for outcome, number in report.totals.items())
    print(f"{len(report.cells)} cells: {totals}, {report.seconds:.1f} s")
    print(f"reports: {directory / _PAGE}, {directory / _JUNIT}, {directory / _RUN}")
