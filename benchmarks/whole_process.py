"""A whole process: from the command line to the result of fib(20), from a cached artifact.

Against a Python process that does the same with wasmtime-py as its users would write it: import,
deserialise a ``.cwasm`` compiled with default settings, instantiate, call, print. Both print the
result, which is checked. Wall time, the processor time of the process (user and system), and the
most memory that was resident, are the kernel's figures for the child (wait4). A Python process that
does nothing stands beside them, and one that imports and opens the libraries a run stands on, and
does nothing with them.

Children cache bytecode, whatever the environment says (PYTHONDONTWRITEBYTECODE): in a directory of
their own that a first run fills, as an installed package has it. The artifact is cached the same
way.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import wasmtime
from figures import Figure
from rounds import interleave

_ROUNDS = 11
_EXAMPLE = Path(__file__).parent.parent / "examples" / "fib.wat"
_ARGUMENT, _RESULT = "20", "6765"

_PEER = """
import sys
import wasmtime
store = wasmtime.Store()
module = wasmtime.Module.deserialize_file(store.engine, sys.argv[1])
instance = wasmtime.Instance(store, module, [])
print(instance.exports(store)["fib"](store, int(sys.argv[2])))
"""

_LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
printed = child.stdout.read().decode()
_, status, usage = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps({
    "wall": time.perf_counter() - start,
    "processor": usage.ru_utime + usage.ru_stime,
    "resident": usage.ru_maxrss * 1024,
    "status": child.returncode,
    "printed": printed,
}))
"""
"""Starts the child: a small process in between, because Linux counts the memory of the process
that a child was forked from as the child's own (exec_mmap in fs/exec.c)."""

_PARTS = """
import ctypes, importlib.util, pathlib
import pluggy, typer
if machine == "emulated":
    found = importlib.util.find_spec("unicorn").submodule_search_locations[0]
    unicorn = ctypes.CDLL(str(next(pathlib.Path(found, "lib").glob("libunicorn.so*"))))
    unicorn.uc_mem_map.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_int]
    engine = ctypes.c_void_p()
    assert unicorn.uc_open(4, 8, ctypes.byref(engine)) == 0  # x86, 64 bits
    assert unicorn.uc_mem_map(engine, 4096, 4096, 7) == 0
application = typer.Typer()
application.command()(lambda: None)
application(standalone_mode=False)
"""
"""The libraries a run stands on and nothing of ours: an empty typer command, pluggy, Unicorn
opened."""

HERE, NATIVE, NOTHING = "here", "wasmtime-py", "python -c pass"
PARTS = "the libraries alone"


class Usage(NamedTuple):
    """What a child used."""

    wall: float
    processor: float
    resident: int


def measure(machine: str) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="theseus-kit-benchmark-") as folder:
        commands = _commands(Path(folder), machine)
        environment = environment_of(Path(folder))
        usages: dict[str, list[Usage]] = {name: [] for name in commands}

        def contestant(name: str) -> Callable[[], float]:
            def run() -> float:
                expected = "" if name in (NOTHING, PARTS) else _RESULT
                usage = run_process(commands[name], environment, expected)
                usages[name].append(usage)
                return usage.wall

            return run

        interleave({name: contestant(name) for name in commands}, _ROUNDS)
    # The first run of each filled the caches.
    medians = {name: _medians(found[1:]) for name, found in usages.items()}
    here, native, nothing, parts = (medians[name] for name in (HERE, NATIVE, NOTHING, PARTS))
    return [
        Figure("process to fib(20), wall", here.wall, NATIVE, native.wall),
        Figure("process to fib(20), processor", here.processor, NATIVE, native.processor),
        Figure("process, resident", here.resident, NATIVE, native.resident, unit="B"),
        Figure("process to fib(20), wall", here.wall, NOTHING, nothing.wall),
        Figure("process to fib(20), processor", here.processor, PARTS, parts.processor),
        Figure(f"{PARTS}, processor", parts.processor, NATIVE, native.processor),
    ]


def _commands(folder: Path, machine: str) -> Mapping[str, Sequence[str]]:
    module = wasmtime.Module.from_file(wasmtime.Engine(), str(_EXAMPLE))
    artifact = folder / "fib.cwasm"
    artifact.write_bytes(module.serialize())
    peer = folder / "peer.py"
    peer.write_text(_PEER)
    script = Path(sys.executable).with_name("theseus-kit")
    program = [str(script)] if script.exists() else [sys.executable, "-m", "theseus_kit.cli"]
    return {
        HERE: [
            *(*program, "assemble", "--machine", machine, "--cache", str(folder / "cache")),
            *("--invoke", "fib", str(_EXAMPLE), _ARGUMENT),
        ],
        NATIVE: [sys.executable, str(peer), str(artifact), _ARGUMENT],
        NOTHING: [sys.executable, "-c", "pass"],
        PARTS: [sys.executable, "-c", f"machine = {machine!r}\n{_PARTS}"],
    }


def environment_of(folder: Path) -> Mapping[str, str]:
    """The environment of a child that caches bytecode below a folder."""
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    return environment


def run_process(command: Sequence[str], environment: Mapping[str, str], expected: str) -> Usage:
    """Run a command to its end. Raises RuntimeError if it does not print what it should."""
    launched = subprocess.run(
        [sys.executable, "-S", "-c", _LAUNCHER, *command],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(launched.stdout)
    if found["status"] or found["printed"].strip() != expected:
        raise RuntimeError(f"{command[0]} printed {found['printed']!r}, status {found['status']}")
    return Usage(found["wall"], found["processor"], found["resident"])


def _medians(usages: Sequence[Usage]) -> Usage:
    wall, processor, resident = (statistics.median(column) for column in zip(*usages, strict=True))
    return Usage(wall, processor, int(resident))
