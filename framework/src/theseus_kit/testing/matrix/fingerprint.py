"""The content address of a cell: a digest of everything that its result depends on.

That is the choices, the test set and its files, the code of the framework, of the chosen plugins'
packages and of the wasmtime package, the Python that runs them and, on a machine that uses it,
the host's CPU. Where nothing of it changed, an earlier result stands.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import msgspec

from theseus_kit.assembly.catalogue import Catalogue
from theseus_kit.testing.matrix.cells import Cell
from theseus_kit.testing.matrix.definition import MatrixDefinition, matches
from theseus_kit.testing.matrix.suite_files import suite_files

_CODE_SUFFIXES = frozenset((".py", ".toml", ".template"))


class Fingerprints:
    """Digests cells; reads each file once."""

    def __init__(self, definition: MatrixDefinition) -> None:
        self._definition = definition
        self._catalogue = Catalogue()
        self._files: dict[Path, str] = {}
        self._trees: dict[Path, str] = {}
        self._framework = self._package("theseus_kit")
        self._host = [sys.version, platform.platform(), _cpu_model()]

    def key(self, cell: Cell, wheel: Path) -> str:
        """Return a cell's content address, 32 hexadecimal digits.

        ``wheel`` is the directory of the wasmtime package that it boots.
        """
        definition = self._definition
        test_set = definition.test_set(cell.tests)
        parts = [
            dict(cell.choices),
            msgspec.to_builtins(test_set),
            msgspec.to_builtins(definition.limits),
            definition.options,
            [
                msgspec.to_builtins(rule)
                for rule in definition.expect
                if matches(rule.when, cell.choices)
            ],
            self._framework,
            [self._plugin(name) for name in cell.plugins],
            self._wheel(wheel),
            [self._file(path) for path in suite_files(test_set)],
            self._host,
        ]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _plugin(self, name: str) -> str:
        """The code of the top-level package that an entry point's class comes from."""
        return self._package(self._catalogue.plugin(name).__module__.partition(".")[0])

    def _package(self, name: str) -> str:
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            return "" if spec is None or spec.origin is None else self._file(Path(spec.origin))
        return self._tree(Path(spec.submodule_search_locations[0]))

    def _tree(self, root: Path) -> str:
        found = self._trees.get(root)
        if found is None:
            files = sorted(path for path in root.rglob("*") if path.suffix in _CODE_SUFFIXES)
            found = self._trees[root] = _digest(self._file(path) for path in files)
        return found

    def _file(self, path: Path) -> str:
        found = self._files.get(path)
        if found is None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "blake2b").hexdigest()
            self._files[path] = found = f"{path.name} {found}"
        return found

    def _wheel(self, package: Path) -> str:
        """The library is large: its size and time of change stand for its content."""
        entries = []
        for path in sorted(package.rglob("*.so")):
            status = path.stat()
            entries.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
        return _digest([*entries, self._tree(package)])


def _digest(texts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(texts).encode()).hexdigest()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.processor())
