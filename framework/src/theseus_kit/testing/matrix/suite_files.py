"""Which files the paths of a test set name."""

from __future__ import annotations

import glob
from pathlib import Path

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix.definition import TestSet, missing_variable

# The files that a result depends on; a WASI program has others beside it.
_PATTERNS = {"spec": "*.wast", "wasi": "*", "pytest": "*.py"}


def suite_files(test_set: TestSet) -> list[Path]:
    """Return the files of a test set, in order. Raises UsageError where a path names nothing."""
    found: dict[Path, None] = {}
    for path in test_set.paths:
        file, _, _ = path.partition("::")  # of a pytest item
        matching = sorted(glob.glob(file, recursive=True)) or [file]  # noqa: PTH207 - a whole path
        for name in map(Path, matching):
            if name.is_dir():
                found_there = name.rglob(_PATTERNS[test_set.kind])
                inside = sorted(path for path in found_there if path.is_file())
            elif name.exists():
                inside = [name]
            else:
                raise UsageError(f"tests {test_set.name!r}: {name}: no such file or directory")
            found.update(dict.fromkeys(inside))
    return list(found)


def unset_variable(test_set: TestSet) -> str | None:
    """The environment variable that a test set's paths need and that is not set, or None."""
    return next(filter(None, map(missing_variable, test_set.paths)), None)
