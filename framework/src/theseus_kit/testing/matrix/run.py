"""Runs a matrix: from its definition to the results, reusing what has not changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from theseus_kit.assembly.assemble import TASKS, choose
from theseus_kit.assembly.catalogue import closest
from theseus_kit.errors import AssemblyError, UsageError
from theseus_kit.machine import machine_names
from theseus_kit.testing.matrix.cells import Cell
from theseus_kit.testing.matrix.definition import INSTALLED, MatrixDefinition, matches
from theseus_kit.testing.matrix.executors import Executor
from theseus_kit.testing.matrix.fingerprint import Fingerprints
from theseus_kit.testing.matrix.job import Job
from theseus_kit.testing.matrix.results import CellResult, Outcome
from theseus_kit.testing.matrix.store import ResultStore
from theseus_kit.testing.matrix.wheels import find_package


def run_matrix(
    definition: MatrixDefinition,
    cells: Sequence[Cell],
    executor: Executor,
    store: ResultStore,
    *,
    again: bool = False,
) -> Iterator[CellResult]:
    """Yield a result for each cell: the skipped and the unchanged ones first, then as they come.

    Each result is kept as it comes, so that an interrupted run goes on where it was. ``again``
    runs what has not changed as well. Raises UsageError, AssemblyError, ImageError for what is
    wrong with a plugin, a test set or a package, before any cell runs.
    """
    jobs, known = plan(definition, cells, store, again=again)
    yield from known
    for result in executor.run(jobs):
        store.keep(result)
        yield result


def plan(
    definition: MatrixDefinition, cells: Sequence[Cell], store: ResultStore, *, again: bool = False
) -> tuple[list[Job], list[CellResult]]:
    """Return the jobs that have to be run, and the results that are known without."""
    check_assemblies(definition, cells)
    jobs, known = [], []
    fingerprints = Fingerprints(definition)
    packages: dict[str, Path] = {}
    for cell in cells:
        if cell.skip_reason:
            known.append(CellResult(dict(cell.choices), "", Outcome.SKIPPED, cell.skip_reason))
            continue
        if cell.wasmtime not in packages:
            packages[cell.wasmtime] = find_package(cell.wasmtime, store.directory / "wheels")
        package = packages[cell.wasmtime]
        key = fingerprints.key(cell, package)
        earlier = None if again else store.find(key)
        if earlier is not None:
            known.append(earlier)
        else:
            jobs.append(_job(definition, cell, key, package))
    return jobs, known


def check_assemblies(definition: MatrixDefinition, cells: Iterable[Cell]) -> None:
    """Check whose options there are, and what each cell assembles but for its machine.

    Raises UsageError for the first that cannot be assembled, with what is wrong.
    """
    plugins_of = (value.split("+") for values in definition.plugins.values() for value in values)
    owners = {*chain.from_iterable(plugins_of), *machine_names(), TASKS}
    for owner in definition.options:
        if owner not in owners:
            raise UsageError(f"[options.{owner}]: nothing has that name{closest(owner, owners)}")
    assemblies = {(cell.machine, cell.plugins): cell for cell in cells if not cell.skip_reason}
    for machine, plugins in assemblies:
        try:
            choose(plugins, machine, _options(definition, machine, plugins))
        except AssemblyError as error:
            raise UsageError(
                f"{','.join(plugins)} on the machine {machine!r}: {error} "
                "(or skip such cells, by [[skip]])"
            ) from error


def _options(
    definition: MatrixDefinition, machine: str, plugins: Iterable[str]
) -> dict[str, dict[str, object]]:
    """The options of those who are in a cell."""
    owners = dict.fromkeys((*plugins, machine, TASKS))
    return {owner: definition.options[owner] for owner in owners if owner in definition.options}


def _job(definition: MatrixDefinition, cell: Cell, key: str, package: Path) -> Job:
    return Job(
        choices=dict(cell.choices),
        key=key,
        machine=cell.machine,
        plugins=cell.plugins,
        options=_options(definition, cell.machine, cell.plugins),
        wasmtime=None if cell.wasmtime == INSTALLED else str(package),
        test_set=definition.test_set(cell.tests),
        expectations=tuple(rule for rule in definition.expect if matches(rule.when, cell.choices)),
        seconds=definition.limits.seconds,
        memory=definition.limits.bytes,
    )
