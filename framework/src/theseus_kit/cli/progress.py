"""How far a long command is: a bar on a terminal, a line for each result in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Result = TypeVar("Result")


def with_progress(
    results: Iterable[Result],
    total: int,
    describe: Callable[[Result], str],
    *,
    is_quiet: Callable[[Result], bool] = lambda _: False,
    stays: Callable[[Result], bool] = lambda _: False,
) -> Iterator[Result]:
    """Pass results on, and show on stderr how far they are: ``total`` is how many there will be.

    ``describe`` makes a line of a result. ``is_quiet`` says which of them a log leaves out,
    ``stays`` for which of them the line stays above the bar.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        for number, result in enumerate(results, start=1):
            if not is_quiet(result):
                print(f"[{number}/{total}] {describe(result)}", file=sys.stderr, flush=True)
            yield result
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    # Text, not markup: names of tests and plugins may have brackets in them.
    text = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), text)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=total)
        for result in results:
            line = describe(result)
            progress.update(task, advance=1, description=line)
            if stays(result):
                progress.console.print(line, markup=False, highlight=False)
            yield result
