"""The suite's directories: programs, and the JSON beside each that says what is expected of it.

Read as the suite's own doc/specification.md has it, in both its forms: keys of one run, and a list
of operations, of which ``run``, ``read`` and ``wait`` are known here. What a program needs beyond
that (servers, proposals, components) makes it one to be skipped, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from theseus_kit.errors import UsageError

_KEYS = {"args", "root", "env", "exit_code", "stderr", "stdout"}
_OPERATION_KEYS = {"operations", "proposals", "world", "servers"}
_MAGIC = b"\0asm"
_MODULE = (1).to_bytes(4, "little")
"""The version and layer of a core module; a component has another layer."""


@dataclass(frozen=True)
class WasiTest:
    """One program, how it is to be run and what is expected of it."""

    path: Path
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None
    """The directory to be preopened as ``/``, None for none; a program gets a copy of it."""
    exit_code: int = 0
    stdout: str | None = None
    """What it has to write; None leaves it free."""
    stderr: str | None = None
    unsupported: str | None = None
    """Why it cannot be run here, None if it can."""

    @property
    def name(self) -> str:
        return self.path.stem


def read_suite(paths: Iterable[Path]) -> list[WasiTest]:
    """The tests of .wasm files and of all such files below directories, sorted by path.

    Raises UsageError for a path that does not exist, a directory without programs, and a
    specification that cannot be understood.
    """
    tests: dict[Path, WasiTest] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or directory")
        found = sorted(path.rglob("*.wasm")) if path.is_dir() else [path]
        if not found:
            raise UsageError(f"{path}: no .wasm file in this directory")
        for file in found:
            tests[file] = _test(file)
    return list(tests.values())


def _test(path: Path) -> WasiTest:
    test = WasiTest(path)
    with path.open("rb") as file:
        start = file.read(8)
    if start[:4] != _MAGIC:
        raise UsageError(f"{path} is no WebAssembly binary")
    if start[4:] != _MODULE:
        return replace(test, unsupported="it is a component")
    specification = path.with_suffix(".json")
    if not specification.exists():
        return test
    try:
        given = json.loads(specification.read_text())
    except ValueError as error:
        raise UsageError(f"{specification}: no JSON: {error}") from error
    if not isinstance(given, dict) or given.keys() - _KEYS - _OPERATION_KEYS:
        raise UsageError(f"{specification}: keys that no test specification has")
    if "operations" in given:
        return _of_operations(test, given)
    return _of_keys(test, given)


def _of_keys(test: WasiTest, given: Mapping[str, Any]) -> WasiTest:
    root = given.get("root")
    return replace(
        test,
        arguments=tuple(given.get("args", ())),
        environment=dict(given.get("env", {})),
        root=None if root is None else test.path.parent / root,
        exit_code=given.get("exit_code", 0),
        stdout=given.get("stdout"),
        stderr=given.get("stderr"),
    )


def _of_operations(test: WasiTest, given: Mapping[str, Any]) -> WasiTest:
    if given.get("proposals") or given.get("servers"):
        return replace(test, unsupported="it needs proposals or servers")
    keys: dict[str, Any] = {}
    for operation in given["operations"]:
        kind = operation.get("type")
        if kind == "run":
            keys |= {key: operation[key] for key in ("args", "env", "root") if key in operation}
        elif kind == "read":
            stream = operation.get("id", "stdout")
            keys[stream] = keys.get(stream, "") + operation.get("payload", "")
        elif kind == "wait":
            keys["exit_code"] = operation.get("exit_code", 0)
        else:
            return replace(test, unsupported=f"it needs the operation {kind!r}")
    return _of_keys(test, keys)
