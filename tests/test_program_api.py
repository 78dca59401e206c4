"""Programs run from Python: what they are given, where their output goes, how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wasmtime

from theseus_kit import LimitReachedError, ModuleError, Platform, UsageError, assemble
from theseus_kit.values.paths import MemoryMount, Mount, OpenMode
from theseus_kit.values.programs import Limits, Preopen, Surroundings

from .wasm_programs import compiled

EXIT = """
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const {status}))))
"""

REACTOR = """
(module
  (global $ready (mut i32) (i32.const 0))
  (func (export "_initialize")
    (global.set $ready (i32.add (global.get $ready) (i32.const 1))))
  (func (export "ready") (result i32) (global.get $ready)))
"""

COMMAND = """
(component
  (import "wasi:cli/exit@0.2.0" (instance $exit
    (export "exit" (func (param "status" (result))))))
  (core module $code
    (import "host" "exit" (func $exit (param i32)))
    (func (export "run") (result i32) {body}))
  (core func $exit (canon lower (func $exit "exit")))
  (core instance $made (instantiate $code (with "host" (instance (export "exit" (func $exit))))))
  (func $run (result (result)) (canon lift (core func $made "run")))
  (component $interface (import "f" (func $f (result (result)))) (export "run" (func $f)))
  (instance $exported (instantiate $interface (with "f" (func $run))))
  (export "wasi:cli/run@0.2.0" (instance $exported)))
"""
"""A component of the world wasi:cli/command, without what a language would add."""


@pytest.fixture
def folder(platform: Platform, tmp_path: Path) -> Any:
    """A host directory that is mounted at /programs."""
    platform.hooks.path_mount(mount=Mount(tmp_path, "/programs", writable=True))
    yield tmp_path
    platform.hooks.path_unmount(target="/programs")


def put(folder: Path, text: str) -> str:
    (folder / "program.wat").write_text(text)
    return "/programs/program.wat"


@pytest.mark.parametrize("status", [0, 1, 99, 125])
def test_a_program_exits_with_its_status(platform: Platform, folder: Path, status: int) -> None:
    path = put(folder, EXIT.format(status=status))
    assert platform.run_program(path) == status


def test_an_exit_status_that_wasi_does_not_know_is_wasmtimes_error(
    platform: Platform, folder: Path
) -> None:
    path = put(folder, EXIT.format(status=126))
    with pytest.raises(platform.wasmtime.WasmtimeError, match="invalid exit status"):
        platform.run_program(path)


def test_a_program_runs_again_from_the_start(platform: Platform, folder: Path) -> None:
    path = put(folder, EXIT.format(status=3))
    assert [platform.run_program(path) for _ in range(3)] == [3, 3, 3]


def test_a_reactor_is_initialised_once_and_called_often(platform: Platform, folder: Path) -> None:
    program = platform.boot().program(put(folder, REACTOR))
    assert [program.call("ready"), program.call("ready")] == [1, 1]
    assert program.run() == 0


def test_a_module_that_is_no_program_says_what_it_has(platform: Platform, folder: Path) -> None:
    program = platform.boot().program(put(folder, '(module (func (export "work")))'))
    with pytest.raises(ModuleError, match="no _start: call one of its functions: there is work"):
        program.run()
    with pytest.raises(ModuleError, match="no function 'wrok': did you mean 'work'"):
        program.call("wrok")
    assert program.call("work") is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("(i32.const 0)", 0),
        ("(i32.const 1)", 1),
        ("(call $exit (i32.const 0)) (i32.const 1)", 0),
        ("(call $exit (i32.const 1)) (i32.const 0)", 1),
    ],
)
@pytest.mark.parametrize("compile_on", ["host", "guest"])
def test_a_component_of_the_command_world_runs(
    platform: Platform, folder: Path, body: str, status: int, compile_on: Any
) -> None:
    path = put(folder, COMMAND.format(body=body))
    assert platform.boot().program(path, compile_on=compile_on).run() == status


def test_a_component_comes_from_the_cache_as_one(platform: Platform, folder: Path) -> None:
    path = put(folder, COMMAND.format(body="(i32.const 1)"))
    for _ in range(2):
        assert platform.boot().program(path, cache="/programs").run() == 1
    assert len(list(folder.glob("*.cwasm"))) == 1


def test_a_component_that_is_no_command_is_refused(platform: Platform, folder: Path) -> None:
    program = platform.boot().program(put(folder, "(component)"))
    with pytest.raises(ModuleError, match="exports no wasi:cli/run"):
        program.run()
    with pytest.raises(ModuleError, match="can be run, not called by function"):
        program.call("run")


def test_a_component_that_asks_for_more_is_refused_by_name(
    platform: Platform, folder: Path
) -> None:
    path = put(folder, '(component (import "my:own/thing" (instance)))')
    with pytest.raises(ModuleError, match="imports my:own/thing, which programs are not offered"):
        platform.boot().program(path)


def test_output_goes_where_python_wants_it(platform: Platform, folder: Path) -> None:
    (folder / "surroundings.wasm").write_bytes(compiled("surroundings").read_bytes())
    out, err = bytearray(), bytearray()
    surroundings = Surroundings(["x"], "name", {"EXIT": "5"}, stdout=out.extend, stderr=err.extend)
    assert platform.run_program("/programs/surroundings.wasm", surroundings) == 5
    assert bytes(out) == b"argument 0: name\nargument 1: x\nvariable: EXIT=5\n"
    assert bytes(err) == b"to stderr\n"


def test_input_comes_from_a_file_of_the_namespace(platform: Platform, folder: Path) -> None:
    (folder / "words.wasm").write_bytes(compiled("words").read_bytes())
    (folder / "input").write_bytes(b"three short words\n")
    out = bytearray()
    surroundings = Surroundings(stdin="/programs/input", stdout=out.extend)
    assert platform.run_program("/programs/words.wasm", surroundings) == 0
    assert bytes(out) == b"1 3 18\n"


def test_what_a_program_leaves_in_memory_is_there_afterwards(
    platform: Platform, folder: Path
) -> None:
    (folder / "fill.wasm").write_bytes(compiled("fill").read_bytes())
    hooks, out = platform.hooks, bytearray()
    hooks.path_mount(mount=MemoryMount("/scratch", 50_000))
    try:
        surroundings = Surroundings(
            ["/d"], directories=[Preopen("/scratch", "/d")], stdout=out.extend
        )
        assert platform.run_program("/programs/fill.wasm", surroundings) == 0
        path = hooks.path_parse(text="/scratch/full")
        file = hooks.path_open(path=path, mode=OpenMode.READ, permissions=0)
        assert file.read() == b"x" * 10_000
        file.close()
    finally:
        hooks.path_unmount(target="/scratch")


def test_a_directory_that_is_not_mounted_is_the_callers_mistake(
    platform: Platform, folder: Path
) -> None:
    path = put(folder, EXIT.format(status=0))
    wrong = {
        "/absent": "/absent: No such file or directory: mount it before the program runs",
        "/programs/program.wat": "is a file, where a directory must be named",
    }
    for directory, message in wrong.items():
        surroundings = Surroundings(directories=[Preopen(directory, "/d")])
        with pytest.raises(UsageError, match=message):
            platform.run_program(path, surroundings)


@pytest.mark.parametrize(
    ("surroundings", "message"),
    [
        (Surroundings(["a", "b\0c"]), "argument 2 of the program, .* contains a zero byte"),
        (Surroundings(["\udcff"]), "argument 1 of the program, .* is not UTF-8"),
        (Surroundings(environment={"A=B": "c"}), "'A=B' needs a name without ="),
        (Surroundings(environment={"A": "\0"}), "'A' contains a zero byte"),
    ],
)
def test_a_text_that_wasi_cannot_hold_is_the_callers_mistake(
    platform: Platform, folder: Path, surroundings: Surroundings, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        platform.run_program(put(folder, EXIT.format(status=0)), surroundings)


ENDLESS = """
(module
  (func (export "_start") (loop (br 0)))
  (func (export "answer") (result i32) (i32.const 42)))
"""


@pytest.mark.parametrize(
    ("limits", "code"),
    [(Limits(fuel=1000), "OUT_OF_FUEL"), (Limits(epoch_timeout=0.1), "INTERRUPT")],
    ids=["fuel", "epoch"],
)
def test_a_limit_that_wasmtime_checks_leaves_the_platform_in_order(
    platform: Platform, folder: Path, limits: Limits, code: str
) -> None:
    path = put(folder, ENDLESS)
    with pytest.raises(LimitReachedError) as caught:
        platform.run_program(path, None, limits)
    trap = caught.value.__cause__
    assert isinstance(trap, platform.wasmtime.Trap)
    assert trap.trap_code.name == code
    assert platform.boot().program(path, None, Limits(fuel=100)).call("answer") == 42
    assert platform.boot().program(path).call("answer") == 42


def test_a_timeout_interrupts_the_machine(machine: str, tmp_path: Path) -> None:
    with assemble(machine=machine) as platform:
        platform.hooks.path_mount(mount=Mount(tmp_path, "/programs"))
        with pytest.raises(LimitReachedError, match=r"longer than 0\.1 seconds") as caught:
            platform.run_program(put(tmp_path, ENDLESS), None, Limits(timeout=0.1))
        assert caught.value.limit == "timeout"


def test_a_trap_is_wasmtimes_own(platform: Platform, folder: Path) -> None:
    path = put(folder, '(module (func (export "_start") unreachable))')
    with pytest.raises(platform.wasmtime.Trap) as caught:
        platform.run_program(path, None, Limits(fuel=1000, epoch_timeout=100))
    assert caught.value.trap_code.name == wasmtime.TrapCode.UNREACHABLE.name
