"""Cells on a Dask cluster: a real one, on this host, whose workers are killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix import Outcome, ResultStore, cells_of, run_matrix
from theseus_kit.testing.matrix.dask_executor import DaskExecutor

from .conftest import Read

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask's own: what ends while others wait

MATRIX = """
[matrix]
machines = ["emulated", "native"]
[plugins]
all = ["region+signals+backtrace+path+tlibc"]
order = ["path", "signals"]
[limits]
seconds = 60
[[tests]]
name = "counting"
kind = "spec"
paths = ["counting.wast"]
"""
# Long enough to be caught in the middle, on the faster machine too.
COUNTING = """
(module (func (export "f") (param i64) (result i64)
  (loop (br_if 0 (i64.ne (i64.const 0) (local.tee 0 (i64.sub (local.get 0) (i64.const 1))))))
  (local.get 0)))
(assert_return (invoke "f" (i64.const 1500000000)) (i64.const 0))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        worker_dashboard_address=None,
        silence_logs=50,
    ) as cluster:
        yield cluster


def test_a_killed_worker_costs_its_cell_one_more_attempt_and_the_others_nothing(
    cluster: Any, read: Read, tmp_path: Path
) -> None:
    (tmp_path / "counting.wast").write_text(COUNTING, encoding="utf-8")
    definition = read(MATRIX)
    store = ResultStore(tmp_path / "results")
    killed: list[int] = []

    def kill_one_at_work() -> None:
        with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
            while not killed:
                busy = [name for name, tasks in client.processing().items() if tasks]
                if busy:
                    time.sleep(0.5)
                    pid = client.run(os.getpid, workers=busy[:1])[busy[0]]
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                time.sleep(0.05)

    killer = threading.Thread(target=kill_one_at_work, daemon=True)
    killer.start()
    with DaskExecutor(cluster.scheduler_address) as executor:
        results = list(run_matrix(definition, cells_of(definition), executor, store))
    killer.join()
    assert killed
    assert len(results) == 4
    assert {result.outcome for result in results} == {Outcome.PASSED}, results
    assert sorted(result.attempts for result in results) == [1, 1, 1, 2]


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        DaskExecutor("tcp://127.0.0.1:9", timeout=1.0)
