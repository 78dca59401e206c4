"""``theseus-kit …`` as a user types it: output, exit statuses, and a line for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from theseus_kit import assemble

EXAMPLES = Path(__file__).parent.parent / "examples"


class CommandLine:
    """Runs ``theseus-kit`` in a process of its own, with a cache of its own."""

    def __init__(self, machine: str, cache: Path) -> None:
        self.machine = machine
        self.cache = cache

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "theseus_kit.cli", *map(str, arguments)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.cache), "COLUMNS": "200"}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=120, check=False
        )

    def assemble(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self("assemble", "--machine", self.machine, *arguments)

    def refuses(self, *arguments: str | Path, status: int = 2) -> str:
        """Run an assemble that must fail with one line; return the line."""
        done = self.assemble("--quiet", *arguments)
        assert done.returncode == status, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("theseus-kit: ")
        return done.stderr.removeprefix("theseus-kit: ").rstrip("\n")


@pytest.fixture
def run(machine: str, tmp_path: Path) -> CommandLine:
    return CommandLine(machine, tmp_path / "cache")


@pytest.fixture
def gcd(tmp_path: Path) -> Path:
    copy = tmp_path / "gcd.wat"
    copy.write_bytes((EXAMPLES / "gcd.wat").read_bytes())
    return copy


def test_the_main_job_prints_the_assembly_on_stderr_and_the_result_on_stdout(
    run: CommandLine,
) -> None:
    plugins = "region,signals,backtrace,path,tlibc"
    done = run.assemble(
        "--plugins", plugins, "--invoke", "gcd", EXAMPLES / "gcd.wat", "1071", "462"
    )
    assert (done.stdout, done.returncode) == ("21\n", 0), done.stderr
    for name in (*plugins.split(","), "memory-mapping", run.machine):
        assert name in done.stderr


def test_a_module_compiled_in_the_guest_gives_the_same_result(run: CommandLine, gcd: Path) -> None:
    done = run.assemble("--compile", "guest", "--invoke", "gcd", gcd, "1071", "462")
    assert (done.stdout, done.returncode) == ("21\n", 0), done.stderr


def test_negative_arguments_belong_to_the_module(run: CommandLine, tmp_path: Path) -> None:
    module = tmp_path / "negate.wat"
    module.write_text(
        '(module (func (export "negate") (param i64 f32) (result i64 f32)'
        " (i64.sub (i64.const 0) (local.get 0)) (f32.neg (local.get 1))))"
    )
    done = run.assemble("--invoke", "negate", module, "-5", "-0.1")
    assert (done.stdout, done.returncode) == ("5\n0.1\n", 0), done.stderr


def test_a_trap_prints_wasmtime_s_message_and_backtrace_and_exits_with_134(
    run: CommandLine,
) -> None:
    done = run.assemble("--quiet", "--invoke", "average", EXAMPLES / "trap.wat", "1", "0")
    assert done.returncode == 134
    assert done.stdout == ""
    assert "wasm trap: integer divide by zero" in done.stderr
    assert "divide" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_module_it_checks_what_the_library_needs(run: CommandLine) -> None:
    done = run.assemble()
    assert done.returncode == 0
    assert "symbols" in done.stdout
    assert "system calls are answered" in done.stdout


def test_the_check_is_json_on_request(run: CommandLine) -> None:
    report = json.loads(run.assemble("--json").stdout)
    assert report["machine"]["name"] == run.machine
    assert {p["group"] for p in report["providers"]} >= {"memory-mapping", "unwinding"}
    answered = {s["name"]: s["provider"] for s in report["needs"]["symbols"]}
    assert answered["malloc"] == "tlibc"


def test_needs_lists_symbols_and_system_calls_with_who_answers(run: CommandLine) -> None:
    found = json.loads(run("needs", "--json").stdout)
    calls = {call["name"]: call for call in found["system_calls"]}
    assert calls["mmap"]["number"] == 9
    assert calls["mmap"]["provider"] == "tlibc"
    assert calls["mmap"]["sites"]


def test_plugins_lists_the_five_and_what_they_provide(run: CommandLine) -> None:
    listed = json.loads(run("plugins", "--json").stdout)
    found = {p["name"]: p for p in listed["plugins"]}
    assert found["region"]["provides"] == ["memory-mapping"]
    assert {"signals", "backtrace", "path", "tlibc"} <= found.keys()
    assert run.machine in {machine["name"] for machine in listed["machines"]}
    assert "quantum_ms" in {option["name"] for option in listed["tasks"]["options"]}


def test_options_are_listed_by_their_whole_names_with_defaults_as_they_are_written(
    run: CommandLine,
) -> None:
    shown = run("plugins").stdout
    assert "backtrace-frame-pointers.clean_up_on_kill " in shown
    assert "(one of text, json, perfetto; text)" in " ".join(shown.replace("│", "").split())


def test_needs_counts_all_where_only_what_is_missing_is_shown(run: CommandLine) -> None:
    whole, missing = run("needs"), run("needs", "--missing")
    assert whole.stdout.splitlines()[-1] == missing.stdout.splitlines()[-1]
    assert "mmap" in whole.stdout
    assert "mmap" not in missing.stdout


def test_a_precompiled_module_runs_as_it_is(run: CommandLine, gcd: Path) -> None:
    precompiled = gcd.with_suffix(".cwasm")
    with assemble(machine=run.machine) as platform:
        module = platform.wasmtime.Module(platform.boot().engine, gcd.read_text())
        precompiled.write_bytes(module.serialize())
    done = run.assemble("--invoke", "gcd", precompiled, "1071", "462")
    assert (done.stdout, done.returncode) == ("21\n", 0), done.stderr


def test_an_artifact_for_a_cpu_the_machine_is_not_is_refused_with_wasmtime_s_reason(
    run: CommandLine, gcd: Path
) -> None:
    with assemble(machine=run.machine) as platform:
        if "has_avx512f" in platform.machine.cpu_features:
            pytest.skip("this machine has AVX-512")
    config = wasmtime.Config()
    config.target = "x86_64-unknown-linux-gnu"
    config.cranelift_flag_enable("has_avx512f")
    artifact = gcd.with_suffix(".cwasm")
    artifact.write_bytes(wasmtime.Module(wasmtime.Engine(config), gcd.read_text()).serialize())
    message = run.refuses("--invoke", "gcd", artifact, "4", "6")
    assert "gcd.cwasm" in message
    assert "has_avx512f" in message


@pytest.mark.parametrize("damage", ["truncated", "corrupt", "foreign", "empty"])
def test_a_damaged_cached_artifact_is_compiled_again(
    run: CommandLine, gcd: Path, damage: str
) -> None:
    assert run.assemble("--invoke", "gcd", gcd, "4", "6").returncode == 0
    (artifact,) = (run.cache / "theseus-kit").glob("*.cwasm")
    good = artifact.read_bytes()
    middle = len(good) // 2
    artifact.write_bytes(
        {
            "truncated": good[:middle],
            "corrupt": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
            "foreign": b"another program's file",
            "empty": b"",
        }[damage]
    )
    done = run.assemble("--invoke", "gcd", gcd, "4", "6")
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr
    assert artifact.read_bytes() == good


def test_a_missing_export_is_named_with_the_one_that_was_meant(run: CommandLine, gcd: Path) -> None:
    assert run.refuses("--invoke", "gdc", gcd).endswith(
        "gcd.wat exports no function 'gdc': did you mean 'gcd'?"
    )


def test_a_module_without_start_asks_for_an_export(run: CommandLine, gcd: Path) -> None:
    assert "exports no _start: name one with --invoke: there is gcd" in run.refuses(gcd)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["1"], "gcd takes 2 arguments (i32, i32), 1 given"),
        (["1", "2", "3"], "gcd takes 2 arguments (i32, i32), 3 given"),
        (["1", "two"], "argument 2 of gcd must be an i32, not 'two'"),
        (["1", "1.5"], "argument 2 of gcd must be an i32, not '1.5'"),
        (["1", "4294967296"], "argument 2 of gcd does not fit an i32: 4294967296"),
    ],
)
def test_wrong_arguments_are_refused_by_position_and_type(
    run: CommandLine, gcd: Path, arguments: list[str], expected: str
) -> None:
    assert run.refuses("--invoke", "gcd", gcd, *arguments) == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("garbage.wasm", b"\x7fELF this is not wasm"),
        ("empty.wasm", b""),
        ("truncated.wasm", b"\0asm\x01\0\0\0\x01\x05"),
        ("header.wasm", b"\0asm"),
        ("invalid.wat", b"(module (func (result i32)))"),
        ("syntax.wat", b"(module (func"),
        ("binary.wat", b"\xff\xfe\x00"),
        ("garbage.cwasm", b"not compiled"),
    ],
)
def test_a_bad_module_is_refused_by_name(
    run: CommandLine, tmp_path: Path, name: str, content: bytes
) -> None:
    module = tmp_path / name
    module.write_bytes(content)
    assert name in run.refuses("--invoke", "f", module)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == [name]


def test_a_missing_module_is_refused(run: CommandLine) -> None:
    assert run.refuses("nowhere.wasm") == "nowhere.wasm: no such file"


def test_a_directory_is_no_module(run: CommandLine, tmp_path: Path) -> None:
    assert "is a directory" in run.refuses(tmp_path)


@pytest.mark.usefixtures("bound_by_modes")
def test_an_unreadable_module_is_refused(run: CommandLine, gcd: Path) -> None:
    gcd.chmod(0)
    assert "Permission denied" in run.refuses("--invoke", "gcd", gcd)


def test_a_module_that_imports_something_is_refused_by_what_it_imports(
    run: CommandLine, tmp_path: Path
) -> None:
    module = tmp_path / "imports.wat"
    module.write_text('(module (import "host" "call" (func)))')
    assert "imports host.call" in run.refuses(module)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--plugins", "region,signals"], "no plugin of the assembly provides"),
        (["--plugins", "regoin"], "did you mean 'region'?"),
        (["--option", "region"], "write it as OWNER.NAME=VALUE"),
        (["--option", "region.nonsense=1"], "plugin 'region' has no option 'nonsense'"),
        (["--machine", "vax"], "no machine is named 'vax'"),
    ],
)
def test_a_wrong_assembly_is_refused_in_one_line(
    run: CommandLine, arguments: list[str], expected: str
) -> None:
    assert expected in run.refuses(*arguments)


def test_an_unknown_command_line_option_is_refused_without_a_traceback(run: CommandLine) -> None:
    done = run.assemble("--nonsense")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--nonsense" in done.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"#!/bin/sh\n", "not an ELF file"),
        (b"\x7fELF\x01\x01\x01" + bytes(57), "32-bit"),
    ],
)
def test_needs_refuses_what_is_no_image(
    run: CommandLine, tmp_path: Path, content: bytes, expected: str
) -> None:
    image = tmp_path / "image.so"
    image.write_bytes(content)
    done = run("needs", image)
    assert done.returncode == 2
    assert "image.so" in done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
