"""What a short run imports: half of its time, of which a new import takes its share in every run.

Python says it itself (``-X importtime``). Modules that it imports before any program starts, as the
environment's ``.pth`` files ask for, are nobody's here.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HELLO = r"""
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (data (i32.const 16) "hello\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""

UNWANTED = (
    *("asyncio", "bz2", "concurrent", "difflib", "email", "gettext", "hashlib", "http"),
    *("importlib.metadata", "json", "logging", "lzma", "multiprocessing", "pdb", "pickle"),
    *("platform", "socket", "subprocess", "unittest", "uuid", "xml", "zipfile"),
    *("capstone", "elftools", "hypothesis", "msgspec", "platformdirs", "pydantic"),
    *("pytest", "rich", "unicorn", "wasmtime"),
    *("theseus_kit.capabilities", "theseus_kit.cli.backtrace", "theseus_kit.cli.deaths"),
    *("theseus_kit.cli.directories", "theseus_kit.cli.progress", "theseus_kit.cli.python"),
    *("theseus_kit.cli.symbolicate", "theseus_kit.cli.wasm_values"),
    *("theseus_kit.image.needs", "theseus_kit.image.objects", "theseus_kit.interception"),
    *("theseus_kit.postmortem", "theseus_kit.runtime.prepared", "theseus_kit.runtime.specialised"),
    *("theseus_kit.runtime.substitution", "theseus_kit.testing", "theseus_kit.values.symbols"),
    *("theseus_kit_backtrace.dwarf_unwinder", "theseus_kit_backtrace.symbolizer"),
    *("theseus_kit_inject", "theseus_kit_trace"),
    *("theseus_kit_path.memory_tree", "theseus_kit_path.prefixes"),
    *("theseus_kit_path.theseus_path", "theseus_kit_path.theseus_plugin"),
    *("theseus_kit_region.operations", "theseus_kit_region.theseus"),
    "theseus_kit_signals.persistent",
    *("theseus_kit_tlibc.stdio_print", "theseus_kit_tlibc.theseus_tls"),
)
"""Modules, each with all that is inside it. What a switch of tasks needs is none of them: where the
host is busy, a quantum may end before the program does."""


def imported(*command: str | Path) -> set[str]:
    """What a Python process imports, by name."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.fixture(scope="module")
def at_once() -> set[str]:
    """What is imported before any program starts."""
    return imported("-c", "pass")


@pytest.fixture
def by_hello_world(machine: str, tmp_path: Path, at_once: set[str]) -> set[str]:
    """What a hello world imports that runs from its cached artifact."""
    program = tmp_path / "hello.wat"
    program.write_text(HELLO)
    command = [
        *("-m", "theseus_kit.cli", "assemble", "--quiet", "--machine", machine),
        *("--cache", tmp_path / "cache", program),
    ]
    imported(*command)
    return imported(*command) - at_once


def test_a_hello_world_imports_nothing_that_it_has_no_use_for(by_hello_world: set[str]) -> None:
    found = {
        name
        for name in by_hello_world
        if any(name == unwanted or name.startswith(f"{unwanted}.") for unwanted in UNWANTED)
    }
    assert "theseus_kit_tlibc.plugin" in by_hello_world
    assert not found


def test_a_hello_world_imports_one_machine_and_one_command(
    by_hello_world: set[str], machine: str
) -> None:
    machines = {f"theseus_kit.machine.{name}" for name in ("emulated", "native")}
    assert machines & by_hello_world == {f"theseus_kit.machine.{machine}"}
    commands = {"check", "inject", "matrix", "needs", "new_plugin", "plugins", "spec", "wasi_tests"}
    assert not {f"theseus_kit.cli.{name}" for name in commands} & by_hello_world
