"""Reads a matrix file: what varies, what is run, what makes no sense, what is known to fail.

::

    [matrix]
    machines = ["emulated", "native"]
    wasmtime = ["installed"]           # or versions, or directories of packages

    [plugins]                          # an axis a line; "a+b" is two plugins together
    memory-mapping = ["region", "region-theseus"]
    exceptions = ["signals", "signals-persistent"]
    backtraces = ["backtrace"]
    paths = ["path"]
    c-library = ["tlibc"]

    [options.region]                   # as assemble() takes them
    guard_gap = 2

    [limits]                           # of each cell's process
    seconds = 300
    memory = "4 GiB"

    [[tests]]
    name = "core"
    kind = "spec"                      # conformance, spec, wasi or pytest
    paths = ["$SUITE/*.wast"]          # from the file's directory; variables are filled in

    [[skip]]
    when = { machine = "native", tests = "wasi*" }
    reason = "why these cells make no sense"

    [[expect]]
    when = { memory-mapping = "region-theseus" }
    cases = ["*/memory_grow.wast"]
    reason = "why these cases fail, and are to fail"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from theseus_kit.assembly.catalogue import closest
from theseus_kit.errors import UsageError

Kind: TypeAlias = Literal["conformance", "spec", "wasi", "pytest"]

MACHINE, WASMTIME, TESTS = "machine", "wasmtime", "tests"
"""The axes every matrix has; those of plugins stand between the second and the third."""
INSTALLED = "installed"
"""The value of the axis ``wasmtime`` that means the package ``import wasmtime`` finds."""

SMOKE = "THESEUS_KIT_SMOKE"
"""The variable that leads to the kit's own .wast scripts where nobody sets it otherwise."""

_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_SIZE = re.compile(r"(\d+)\s*([A-Za-z]*)")
_VARIABLE = re.compile(r"\$(\w+)")


class Axes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[matrix]``."""

    machines: tuple[str, ...] = ("emulated",)
    wasmtime: tuple[str, ...] = (INSTALLED,)


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a cell's process may use."""

    seconds: float = 300.0
    memory: str = "4 GiB"

    @property
    def bytes(self) -> int:
        """The bound on memory. Raises UsageError."""
        match = _SIZE.fullmatch(self.memory.strip())
        if match is None or match[2].upper() not in _UNITS:
            raise UsageError(f"memory {self.memory!r}: write it as in '512 MiB' or '4 GiB'")
        return int(match[1]) * _UNITS[match[2].upper()]


class TestSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of ``[[tests]]``."""

    __test__: ClassVar[bool] = False  # it is no test class of pytest's

    name: str
    kind: Kind
    paths: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    """More arguments for pytest."""
    compile: Literal["host", "guest"] = "host"
    """Where the modules of ``.wast`` files are compiled."""


When: TypeAlias = Mapping[str, str | list[str]]
"""Patterns by axis, as in a shell; of several, one has to match."""


class Skip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cells that make no sense."""

    when: dict[str, str | list[str]]
    reason: str


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cases that are known to fail, in some cells."""

    when: dict[str, str | list[str]]
    reason: str
    cases: tuple[str, ...] = ("*",)


class MatrixDefinition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A matrix file, checked."""

    tests: tuple[TestSet, ...]
    matrix: Axes = Axes()
    plugins: dict[str, tuple[str, ...]] = {}
    options: dict[str, dict[str, object]] = {}
    limits: Limits = Limits()
    skip: tuple[Skip, ...] = ()
    expect: tuple[Expectation, ...] = ()

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """What varies, in order: axis → values."""
        return {
            MACHINE: self.matrix.machines,
            WASMTIME: self.matrix.wasmtime,
            **self.plugins,
            TESTS: tuple(test_set.name for test_set in self.tests),
        }

    def test_set(self, name: str) -> TestSet:
        """The test set of a name. Raises KeyError."""
        return {test_set.name: test_set for test_set in self.tests}[name]


def matches(when: When, cell: Mapping[str, str]) -> bool:
    """Whether a cell has, on every axis that is named, a value that one of the patterns fits.

    A value of several plugins fits where one of them does.
    """
    for axis, patterns in when.items():
        values = [cell[axis], *cell[axis].split("+")]
        wanted = [patterns] if isinstance(patterns, str) else patterns
        if not any(fnmatchcase(value, pattern) for value in values for pattern in wanted):
            return False
    return True


def read_matrix(path: Path) -> MatrixDefinition:
    """Read and check a matrix file. Raises UsageError, naming the place and what is wrong."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    return parse_matrix(content, path)


def parse_matrix(content: dict[str, Any], file: Path) -> MatrixDefinition:
    """Check the content of a matrix file; relative paths count from the file's directory."""
    try:
        definition = msgspec.convert(content, MatrixDefinition)
        _check(definition)
    except (msgspec.ValidationError, UsageError) as error:
        raise UsageError(f"{file}: {error}") from error
    directory = file.absolute().parent
    tests = tuple(
        msgspec.structs.replace(
            test_set, paths=tuple(_located(p, directory) for p in test_set.paths)
        )
        for test_set in definition.tests
    )
    return msgspec.structs.replace(definition, tests=tests)


def _check(definition: MatrixDefinition) -> None:
    definition.limits.bytes  # noqa: B018 - raises for what is no size
    axes = definition.axes
    for axis, values in axes.items():
        if not values:
            raise UsageError(f"the axis {axis!r} has no value")
        for value in values:
            if values.count(value) > 1:
                raise UsageError(f"the axis {axis!r} has {value!r} twice")
    for name in (MACHINE, WASMTIME, TESTS):
        if name in definition.plugins:
            raise UsageError(f"[plugins] cannot have an axis {name!r}: the name is taken")
    for table, rules in (("skip", definition.skip), ("expect", definition.expect)):
        for rule in rules:
            for axis in rule.when:
                if axis not in axes:
                    raise UsageError(f"[[{table}]] names the axis {axis!r}{closest(axis, axes)}")
    for test_set in definition.tests:
        if test_set.kind != "conformance" and not test_set.paths:
            raise UsageError(f"[[tests]] {test_set.name!r} has no paths")


def _located(path: str, directory: Path) -> str:
    """Fill in the variables, those that are set; make a path absolute."""
    known = {SMOKE: str(Path(__file__).parent / "smoke"), **os.environ}
    filled = _VARIABLE.sub(lambda match: known.get(match[1], match[0]), path)
    return filled if filled.startswith("$") else str(directory / filled)


def missing_variable(path: str) -> str | None:
    """The variable that a located path still needs, None if it is whole."""
    match = _VARIABLE.match(path)
    return None if match is None else match[1]
