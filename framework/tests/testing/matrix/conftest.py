"""Definitions and runs that the matrix's tests share."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from theseus_kit.testing.matrix import (
    CellResult,
    LocalExecutor,
    MatrixDefinition,
    ResultStore,
    cells_of,
    read_matrix,
    run_matrix,
)

Run = Callable[[MatrixDefinition], list[CellResult]]
Read = Callable[[str], MatrixDefinition]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a matrix file of this text."""

    def read_text(text: str) -> MatrixDefinition:
        path = tmp_path / "matrix.toml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return read_matrix(path)

    return read_text


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs every cell of a matrix, here."""
    store = ResultStore(tmp_path / "results")

    def run_cells(definition: MatrixDefinition) -> list[CellResult]:
        return list(run_matrix(definition, cells_of(definition), LocalExecutor(2), store))

    return run_cells
