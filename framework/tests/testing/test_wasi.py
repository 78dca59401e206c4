"""The runner of WASI's test suite: its reading of the suite, and its judgement."""

import json
import sys
from pathlib import Path

import pytest
import wasmtime

from theseus_kit.cli.commands import run
from theseus_kit.errors import UsageError
from theseus_kit.machine import machine_names
from theseus_kit.testing.wasi import PlatformChoice, read_suite
from theseus_kit.testing.wasi.runner import run_test, run_tests

PLUGINS = ("region", "signals", "backtrace", "path", "tlibc")

EXITS = """(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const {status}))))"""

SAYS = """(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello")
  (data (i32.const 0) "\\10\\00\\00\\00\\05\\00\\00\\00")
  (func (export "_start")
    (drop (call $write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)))))"""

MAKES_A_DIRECTORY = """(module
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $make (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "made")
  (func (export "_start")
    (call $exit (call $make (i32.const 3) (i32.const 0) (i32.const 4)))))"""

TRAPS = '(module (memory (export "memory") 1) (func (export "_start") unreachable))'
HANGS = '(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'


@pytest.fixture
def suite(tmp_path):
    """Adds programs to a suite: ``suite(name, text, specification)`` is the test read from it."""

    def add(name, text, specification=None):
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(wasmtime.wat2wasm(text))
        if specification is not None:
            path.with_suffix(".json").write_text(json.dumps(specification))
        return read_suite([path])[0]

    return add


def test_the_programs_of_all_directories_are_found_in_order(suite, tmp_path):
    suite("b", TRAPS)
    suite("a", TRAPS)
    (tmp_path / "c").mkdir()
    (tmp_path / "b.wasm").rename(tmp_path / "c" / "b.wasm")

    assert [test.name for test in read_suite([tmp_path])] == ["a", "b"]


def test_a_specification_says_how_to_run_a_program_and_what_to_expect(suite, tmp_path):
    given = {"args": ["x"], "env": {"A": "b"}, "root": "d", "exit_code": 3, "stdout": "hello"}
    test = suite("p", TRAPS, given)

    assert (test.arguments, test.environment, test.root) == (("x",), {"A": "b"}, tmp_path / "d")
    assert (test.exit_code, test.stdout, test.stderr) == (3, "hello", None)


def test_operations_say_the_same(suite):
    operations = [
        {"type": "run", "args": ["x"]},
        {"type": "read", "payload": "hel"},
        {"type": "read", "id": "stdout", "payload": "lo"},
        {"type": "wait", "exit_code": 3},
    ]
    test = suite("p", TRAPS, {"operations": operations})

    assert (test.arguments, test.stdout, test.exit_code) == (("x",), "hello", 3)


@pytest.mark.parametrize(
    ("specification", "reason"),
    [
        ({"proposals": ["http"], "operations": []}, "proposals"),
        ({"operations": [{"type": "run"}, {"type": "connect"}]}, "'connect'"),
    ],
)
def test_what_a_program_needs_beyond_that_makes_it_skipped(suite, specification, reason):
    result = run_test(suite("p", TRAPS, specification), None)

    assert reason in result.skipped
    assert not result.passed
    assert not result.failed


def test_components_are_skipped(tmp_path):
    (tmp_path / "c.wasm").write_bytes(b"\0asm\x0d\0\1\0")

    assert run_test(read_suite([tmp_path])[0], None).skipped == "it is a component"


@pytest.mark.parametrize("text", ["no json", "[]", '{"argv": []}'])
def test_a_specification_that_makes_no_sense_is_the_users_to_mend(suite, tmp_path, text):
    suite("p", TRAPS)
    (tmp_path / "p.json").write_text(text)

    with pytest.raises(UsageError, match=r"p\.json"):
        read_suite([tmp_path])


def test_a_directory_without_programs_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no \.wasm file"):
        read_suite([tmp_path])
    with pytest.raises(UsageError, match="no such file"):
        read_suite([tmp_path / "absent"])


@pytest.mark.parametrize("fd", [1, 2])
def test_what_is_written_is_compared(suite, fd):
    stream = {1: "stdout", 2: "stderr"}[fd]
    text = SAYS.format(fd=fd)

    assert run_test(suite("right", text, {stream: "hello"}), None).passed
    wrong = run_test(suite("wrong", text, {stream: "hallo"}), None)
    assert wrong.problems == (f"its {stream} is 'hello', expected 'hallo'",)


def test_a_wrong_exit_status_and_a_trap_are_failures(suite):
    wrong = run_test(suite("wrong", EXITS.format(status=4), {"exit_code": 3}), None)
    assert wrong.problems == ("its exit status is 4, expected 3",)

    trapped = run_test(suite("trap", TRAPS), None)
    assert "unreachable" in trapped.problems[0]
    assert trapped.exit_status == 134


def test_what_hangs_is_stopped(suite):
    result = run_test(suite("hang", HANGS), None, timeout=1)

    assert result.problems == ("it was stopped after 1 s",)
    assert result.exit_status is None


def test_a_program_works_in_a_copy_of_its_directory(suite, tmp_path):
    (tmp_path / "root").mkdir()
    test = suite("p", MAKES_A_DIRECTORY, {"root": "root"})

    assert run_test(test, None).passed
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize("machine", machine_names())
def test_a_platform_is_held_to_the_same(suite, machine, tmp_path):
    tests = [
        suite("right", EXITS.format(status=3), {"exit_code": 3}),
        suite("wrong", EXITS.format(status=4), {"exit_code": 3}),
        suite("says", SAYS.format(fd=1), {"stdout": "hello"}),
        suite("makes", MAKES_A_DIRECTORY, {"root": "root"}),
    ]
    (tmp_path / "root").mkdir()

    results = {
        Path(result.path).stem: result.problems
        for result in run_tests(tests, PlatformChoice(PLUGINS, machine), timeout=60)
    }

    wrong = ("its exit status is 4, expected 3",)
    assert results == {"right": (), "wrong": wrong, "says": (), "makes": ()}
    assert list((tmp_path / "root").iterdir()) == []


def test_the_command_counts_and_its_status_tells(suite, tmp_path, monkeypatch, capsys):
    suite("right", EXITS.format(status=0))
    suite("wrong", EXITS.format(status=1))
    monkeypatch.setattr(sys, "argv", ["theseus-kit", "wasi-tests", "--host", str(tmp_path)])
    assert run() == 1
    written = capsys.readouterr()
    assert written.out.endswith("2 programs: 1 passed, 1 failed, 0 skipped\n")
    assert "[2/2]" in written.err

    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    assert run() == 1
    report = json.loads(capsys.readouterr().out)
    assert report["total"] == {"passed": 1, "failed": 1, "skipped": 0}
    assert [program["outcome"] for program in report["programs"]] == ["passed", "failed"]
