"""Expected failures: what a provider is known to get wrong, each with its reason.

They live in ``expected-failures.toml`` in the plugin's package, or beside its tests::

    [my-maps.memory-mapping]
    test_a_guard_says_so_and_allows_nothing = "guards are mapped like anything else"

    [my-maps.memory-mapping.test_reserving_a_terabyte_costs_nothing_until_a_page_is_touched]
    reason = "the host's overcommit is off where this runs"
    machines = ["native"]

A table for each plugin, in it one for each group, in it the tests. An entry whose test passes is a
failure, and so is a name that means nothing: the file says what is so, or is mended.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theseus_kit.assembly.catalogue import closest
from theseus_kit.errors import UsageError
from theseus_kit.machine import machine_names
from theseus_kit.testing.conformance.suite import Conformance, names_of_tests
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.plugin import Plugin

FILE_NAME = "expected-failures.toml"


class ExpectedFailure(NamedTuple):
    """Why a test fails, and on which machines."""

    reason: str
    machines: tuple[str, ...]


def file_beside(plugin: type[Plugin]) -> Path | None:
    """The file in a plugin's package, None if it has none."""
    import sys

    module = sys.modules.get(plugin.__module__)
    source = getattr(module, "__file__", None)
    path = None if source is None else Path(source).with_name(FILE_NAME)
    return path if path is not None and path.is_file() else None


def read_expected_failures(
    path: Path, plugin: str, suites: Sequence[type[Conformance]]
) -> dict[tuple[str, str], ExpectedFailure]:
    """What a file says of a plugin, by group and test.

    Raises UsageError, which names the file and the entry, for what does not belong there.
    """
    try:
        contents = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    by_group = {suite.group.value: suite for suite in suites}
    found: dict[tuple[str, str], ExpectedFailure] = {}
    for group, entries in _table(path, plugin, contents.get(plugin, {})).items():
        where = f"{plugin}.{group}"
        if group not in by_group:
            raise UsageError(f"{path}: {where} is no group of it{closest(group, by_group)}")
        tests = names_of_tests(by_group[group])
        for test, entry in _table(path, where, entries).items():
            if test not in tests:
                raise UsageError(f"{path}: {where} has no test {test!r}{_near(test, tests)}")
            found[group, test] = _expected(path, f"{where}.{test}", entry)
    return found


def _near(test: str, tests: Sequence[str]) -> str:
    return closest(test, tests) if len(closest(test, tests)) < 200 else ""


def _table(path: Path, name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{path}: {name} must be a table, not {value!r}")
    return value


def _expected(path: Path, name: str, entry: object) -> ExpectedFailure:
    if isinstance(entry, str):
        entry = {"reason": entry}
    table = dict(_table(path, name, entry))
    reason = table.pop("reason", "")
    machines = table.pop("machines", list(machine_names()))
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(f"{path}: {name} gives no reason: say why the test fails")
    for machine in machines:
        if machine not in machine_names():
            raise UsageError(
                f"{path}: {name} names no machine {machine!r}{closest(machine, machine_names())}"
            )
    if table:
        raise UsageError(f"{path}: {name} has no {next(iter(table))!r}: reason and machines")
    return ExpectedFailure(reason, tuple(machines))
