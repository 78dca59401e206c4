"""The matrix: every test set on every combination of plugins, machines and Wasmtime versions.

A *cell* is one choice of each axis. It runs in a process of its own with limits of time and
memory, and its result is kept by content address.

    definition ─→ cells ─→ plan ──→ jobs ─→ executor ─→ supervise ─→ fork server ─→ kinds
     (TOML)               (run)     │         (here, or Dask)          (a process a cell)
                            ↑       │             │
                            └ store ┴─── results ←┘ ─→ reports
"""

from theseus_kit.testing.matrix.cells import Cell, cells_of
from theseus_kit.testing.matrix.definition import MatrixDefinition, read_matrix
from theseus_kit.testing.matrix.executors import Executor, LocalExecutor
from theseus_kit.testing.matrix.results import CaseOutcome, CaseResult, CellResult, Outcome
from theseus_kit.testing.matrix.run import plan, run_matrix
from theseus_kit.testing.matrix.store import ResultStore

__all__ = [
    "CaseOutcome",
    "CaseResult",
    "Cell",
    "CellResult",
    "Executor",
    "LocalExecutor",
    "MatrixDefinition",
    "Outcome",
    "ResultStore",
    "cells_of",
    "plan",
    "read_matrix",
    "run_matrix",
]
