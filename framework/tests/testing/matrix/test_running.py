"""Cells in processes of their own: what becomes of them, and what is done again."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix import (
    CaseOutcome,
    CellResult,
    LocalExecutor,
    MatrixDefinition,
    Outcome,
    ResultStore,
    cells_of,
    run_matrix,
)

from .conftest import Read, Run

MATRIX = """
[plugins]
all = ["region+signals+backtrace+path+tlibc"]
[limits]
seconds = 60
memory = "2 GiB"
[[tests]]
name = "own"
"""
SCRIPTS = MATRIX + 'kind = "spec"\npaths = ["*.wast"]\n'
ITEMS = MATRIX + 'kind = "pytest"\npaths = ["test_*.py"]\n'
PASSING = '(module (func (export "f") (result i32) i32.const 7))\n'
GOOD = PASSING + '(assert_return (invoke "f") (i32.const 7))\n'
BAD = PASSING + '(assert_return (invoke "f") (i32.const 8))\n'
ENDLESS = '(module (func (export "f") (loop (br 0))))\n(invoke "f")\n'


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    (tmp_path / "good.wast").write_text(GOOD, encoding="utf-8")
    return tmp_path


def only(results: list[CellResult]) -> CellResult:
    assert len(results) == 1
    return results[0]


def test_a_cell_passes_with_a_case_for_each_script(read: Read, run: Run, scripts: Path) -> None:
    result = only(run(read(SCRIPTS)))
    assert (result.outcome, result.log) == (Outcome.PASSED, "")
    assert [(case.name, case.outcome) for case in result.cases] == [
        ("good.wast", CaseOutcome.PASSED)
    ]
    assert result.cases[0].checks == 2
    assert result.peak_memory > 1 << 20


def test_a_failing_script_fails_its_cell_and_the_others_are_run(
    read: Read, run: Run, scripts: Path
) -> None:
    (scripts / "bad.wast").write_text(BAD, encoding="utf-8")
    result = only(run(read(SCRIPTS)))
    assert (result.outcome, result.reason) == (Outcome.FAILED, "1 of 2 failed, first bad.wast")
    assert "expected (i32.const 8)" in result.cases[0].message or "8" in result.cases[0].message


def test_an_expected_failure_needs_its_reason_and_has_to_fail(
    read: Read, run: Run, scripts: Path
) -> None:
    rule = '[[expect]]\nwhen = { machine = "emulated" }\ncases = ["%s"]\nreason = "seven is not"\n'
    (scripts / "bad.wast").write_text(BAD, encoding="utf-8")
    expected = only(run(read(SCRIPTS + rule % "bad*")))
    assert (expected.outcome, expected.reason) == (Outcome.EXPECTED_FAILURE, "seven is not")
    (scripts / "bad.wast").write_text(GOOD, encoding="utf-8")
    passes = only(run(read(SCRIPTS + rule % "bad*")))
    assert passes.outcome is Outcome.FAILED
    assert "'bad*' passes, though it was expected to fail: seven is not" in passes.reason


def test_a_cell_is_stopped_at_its_time_and_keeps_what_it_had(
    read: Read, run: Run, scripts: Path
) -> None:
    (scripts / "zzz.wast").write_text(ENDLESS, encoding="utf-8")
    result = only(run(read(SCRIPTS.replace("seconds = 60", "seconds = 4"))))
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "it was stopped after 4 s")
    assert [case.name for case in result.cases] == ["good.wast"]


def test_a_crash_names_its_signal_and_leaves_a_traceback_in_the_log(
    read: Read, run: Run, tmp_path: Path
) -> None:
    source = "import ctypes\n\ndef test_it() -> None:\n    ctypes.string_at(8)\n"
    (tmp_path / "test_crash.py").write_text(source, encoding="utf-8")
    result = only(run(read(ITEMS)))
    assert (result.outcome, result.reason) == (Outcome.CRASHED, "it died of SIGSEGV")
    assert "test_crash.py" in result.log


def test_a_cell_is_stopped_at_its_memory(read: Read, run: Run, tmp_path: Path) -> None:
    source = (
        "import time\n\ndef test_it() -> None:\n    held = b'x' * (600 << 20)\n    time.sleep(30)\n"
    )
    (tmp_path / "test_large.py").write_text(source, encoding="utf-8")
    result = only(run(read(ITEMS.replace("2 GiB", "500 MiB"))))
    assert (result.outcome, result.reason) == (Outcome.OUT_OF_MEMORY, "it held more than 500 MiB")


def test_pytest_items_get_the_cell_s_machine_and_plugins(
    read: Read, run: Run, tmp_path: Path
) -> None:
    source = """
import pytest

def test_of_the_platform(platform):
    assert platform.machine.name == "emulated"
    assert platform.report.providers[0].plugin == "region"

@pytest.mark.xfail(reason="known")
def test_known():
    assert False

@pytest.mark.skip(reason="not here")
def test_skipped():
    raise AssertionError
"""
    (tmp_path / "test_items.py").write_text(source, encoding="utf-8")
    result = only(run(read(ITEMS)))
    outcomes = {case.name.rpartition("::")[2].partition("[")[0]: case for case in result.cases}
    assert outcomes["test_of_the_platform"].outcome is CaseOutcome.PASSED, result.cases
    assert outcomes["test_known"].outcome is CaseOutcome.EXPECTED_FAILURE
    assert "not here" in outcomes["test_skipped"].message
    assert result.outcome is Outcome.EXPECTED_FAILURE


def test_pytest_items_run_where_the_user_s_configuration_makes_warnings_errors(
    read: Read, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    (tmp_path / "test_items.py").write_text("def test_one(platform): ...\n", encoding="utf-8")
    result = only(run(read(ITEMS)))
    assert result.outcome is Outcome.PASSED, result.reason


def test_plugins_that_make_no_platform_are_refused_before_anything_runs(
    read: Read, run: Run
) -> None:
    with pytest.raises(UsageError, match=r"backtrace,path,tlibc on .* provides exception-reg"):
        run(read(SCRIPTS.replace("+signals", "")))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[options.region]\ngard_gap = 1\n", "has no option 'gard_gap': did you mean 'guard_gap'"),
        ("[options.regoin]\nguard_gap = 1\n", "options.regoin.*did you mean 'region'"),
    ],
)
def test_options_that_mean_nothing_are_refused_before_anything_runs(
    read: Read, run: Run, table: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(read(table + SCRIPTS))


def test_what_did_not_change_is_not_run_again(read: Read, run: Run, scripts: Path) -> None:
    definition = read(SCRIPTS)
    first = only(run(definition))
    second = only(run(definition))
    assert (first.reused, second.reused) == (False, True)
    assert second == first
    (scripts / "good.wast").write_text(GOOD + GOOD, encoding="utf-8")
    third = only(run(definition))
    assert not third.reused
    assert third.key != first.key


def test_an_interrupted_run_goes_on_where_it_was(read: Read, scripts: Path) -> None:
    definition = read(
        SCRIPTS.replace("[plugins]", '[matrix]\nmachines = ["emulated", "native"]\n[plugins]')
    )
    store = ResultStore(scripts / "results")
    running = run_matrix(definition, cells_of(definition), LocalExecutor(1), store)
    first = next(running)
    running.close()  # type: ignore[attr-defined]
    rest = list(run_matrix(definition, cells_of(definition), LocalExecutor(1), store))
    assert [result.reused for result in rest] == [True, False]
    assert rest[0] == first


def test_stopping_a_run_stops_its_cells_at_once(read: Read, scripts: Path) -> None:
    (scripts / "good.wast").write_text(ENDLESS, encoding="utf-8")
    definition = read(SCRIPTS)
    (scripts / "quick").mkdir()
    (scripts / "quick" / "good.wast").write_text(GOOD, encoding="utf-8")
    both = read(SCRIPTS + '[[tests]]\nname = "quick"\nkind = "spec"\npaths = ["quick"]\n')
    running = run_matrix(both, cells_of(both), LocalExecutor(2), ResultStore(scripts / "results"))
    assert next(running).cell["tests"] == "quick"
    started = time.monotonic()
    running.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < definition.limits.seconds / 2


def test_a_test_set_that_is_not_there_is_refused_before_anything_runs(read: Read, run: Run) -> None:
    with pytest.raises(UsageError, match=r"'own': .*: no such file or directory"):
        run(read(SCRIPTS.replace("*.wast", "nothing.wast")))


def test_a_result_that_is_damaged_counts_as_none(
    read: Read, run: Run, scripts: Path, tmp_path: Path
) -> None:
    result = only(run(read(SCRIPTS)))
    stored = tmp_path / "results" / "cells" / f"{result.key}.json"
    stored.write_bytes(stored.read_bytes()[:20])
    assert not only(run(read(SCRIPTS))).reused


def test_the_conformance_suites_run_on_the_cell_s_plugins(read: Read, run: Run) -> None:
    definition = read(MATRIX + 'kind = "conformance"\n')
    result = only(run(definition))
    assert result.outcome.is_explained, result.reason
    assert any(case.name.startswith("region/memory-mapping/test_") for case in result.cases)


def test_python_is_the_one_that_runs_the_matrix(read: Read, run: Run, tmp_path: Path) -> None:
    source = (
        f"import sys\n\ndef test_it() -> None:\n    assert sys.executable == {sys.executable!r}\n"
    )
    (tmp_path / "test_python.py").write_text(source, encoding="utf-8")
    definition: MatrixDefinition = read(ITEMS)
    assert only(run(definition)).outcome is Outcome.PASSED
