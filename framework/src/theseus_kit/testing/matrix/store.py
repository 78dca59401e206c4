"""The results of a matrix on disk, by content address.

::

    DIRECTORY/
      cells/<key>.json     one result each, whole or not there
      matrix.json          the last run: what the reports are made of
      matrix.xml           the same for whoever reads JUnit
      matrix.html          the same for people
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix.results import CellResult, Outcome

_NOT_KEPT = (Outcome.LOST,)
"""What says nothing of the cell itself."""


class ResultStore:
    """A directory of results."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._cells = directory / "cells"
        try:
            self._cells.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{directory}: {error.strerror}") from error

    def find(self, key: str) -> CellResult | None:
        """Return an earlier result of exactly this cell; None if there is none that can be read."""
        try:
            content = (self._cells / f"{key}.json").read_bytes()
            result = msgspec.json.decode(content, type=CellResult)
        except (OSError, msgspec.DecodeError):
            return None
        return replace(result, reused=True)

    def keep(self, result: CellResult) -> None:
        """Write a result down."""
        if result.outcome not in _NOT_KEPT:
            self.write(f"cells/{result.key}.json", msgspec.json.encode(result))

    def write(self, name: str, content: bytes) -> Path:
        """Write a file, whole or not at all. Raises UsageError where it cannot."""
        path = self.directory / name
        try:
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink()
                raise
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
        return path
