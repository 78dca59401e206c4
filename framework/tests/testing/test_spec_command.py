"""``theseus-kit spec``: files in, a table or JSON out, the exit status tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from theseus_kit.cli.spec import spec_command
from theseus_kit.errors import AssemblyError, UsageError
from theseus_kit.machine import machine_names

GOOD = """(module (func (export "f") (result i32) (i32.const 1)))
(assert_return (invoke "f") (i32.const 1))
"""
BAD = GOOD + '(assert_return (invoke "f") (i32.const 2))\n(assert_suspension (invoke "f") "x")\n'


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    directory = tmp_path / "suite"
    directory.mkdir()
    (directory / "good.wast").write_text(GOOD)
    (directory / "bad.wast").write_text(BAD)
    (directory / "README.md").write_text("no script")
    return directory


def run(*arguments: object) -> int:
    app = typer.Typer()
    app.command()(spec_command)
    status = app([str(argument) for argument in arguments], standalone_mode=False)
    assert isinstance(status, int)
    return status


def test_success_is_status_0_and_a_line_of_totals(
    suite: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--host", suite / "good.wast") == 0
    captured = capfd.readouterr()
    assert "1 file: 2 passed, 0 failed, 0 skipped" in captured.out
    assert "[1/1] good.wast: 2 passed" in captured.err


def test_a_failure_is_status_1_and_shown_with_file_line_and_values(
    suite: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--host", suite) == 1
    out = capfd.readouterr().out
    assert f'{suite / "bad.wast"}:3: failed: (assert_return (invoke "f") (i32.const 2))' in out
    assert "expected (i32 0x00000002)" in out
    assert "got      (i32 0x00000001)" in out
    assert f"{suite / 'bad.wast'}:4: 1 skipped: the command 'assert_suspension'" in out
    assert "2 files: 4 passed, 1 failed, 1 skipped" in out


def test_json_has_every_file_and_the_totals(suite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--host", "--json", suite) == 1
    report = json.loads(capfd.readouterr().out)
    assert [Path(file["path"]).name for file in report["files"]] == ["bad.wast", "good.wast"]
    assert report["files"][0]["failures"][0]["line"] == 3
    assert report["files"][0]["skipped"][0]["line"] == 4
    assert (report["total"]["passed"], report["total"]["failed"]) == (4, 1)


@pytest.mark.parametrize("machine", machine_names())
@pytest.mark.parametrize("compile_on", ["host", "guest"])
def test_a_platform_is_assembled_shown_and_used(
    suite: Path, capfd: pytest.CaptureFixture[str], compile_on: str, machine: str
) -> None:
    assert run("--compile", compile_on, "--machine", machine, suite / "good.wast") == 0
    captured = capfd.readouterr()
    assert machine in captured.err
    assert "2 passed" in captured.out


def test_what_is_not_there_is_named(suite: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.wast: no such file or directory"):
        run("--host", suite / "gone.wast")
    empty = suite / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match=r"no \.wast file in this directory"):
        run("--host", empty)


def test_a_wrong_assembly_is_refused_before_anything_runs(suite: Path) -> None:
    with pytest.raises(AssemblyError, match="nowhere"):
        run("--machine", "nowhere", suite)
