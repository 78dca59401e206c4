"""Programs: streams, small writes, files, and a whole hello world; against wasmtime-py's.

Each run is a process of its own, as the library keeps its standard input for a process's life. It
runs the program from an artifact compiled with the same settings for both sides, and tells the
wall time of ``_start`` alone; input comes from a file, output goes to ``/dev/null``, so that what
is measured is what stands between. Small counts are used on the emulated machine. Files are in
memory here, and are compared with the same program without its files: what the platform's files
cost beside the work they are for.

Hello world is the command line's, from its cache, and is compared with a Python that does nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import wasi_programs
import wasmtime
from figures import Figure
from rounds import interleave
from whole_process import environment_of, run_process

from theseus_kit import assemble
from theseus_kit.runtime.artifacts import aim_at_guest, compiler_flags

_ROUNDS = 5
_SIZES = {"native": (100_000_000, 100_000, 200), "emulated": (8_000_000, 2_000, 100)}
"""Bytes through the streams, small writes, files."""
_PASSES = 8
"""How often each file is hashed: about a millisecond of the emulated machine's time."""

_HERE = """
import json, os, sys, time
from pathlib import Path
from theseus_kit import assemble
from theseus_kit.values.paths import MemoryMount, Mount
from theseus_kit.values.programs import Preopen, Surroundings
machine, artifact = sys.argv[1:]
with assemble(machine=machine) as platform:
    artifact = Path(artifact)
    platform.hooks.path_mount(mount=Mount(artifact, "/program"))
    platform.hooks.path_mount(mount=MemoryMount("/scratch"))
    given = Surroundings(directories=[Preopen("/scratch", "/")])
    program = platform.boot().program("/program", given)
    start = time.perf_counter()
    status = program.run()
    print(json.dumps([time.perf_counter() - start, status]), file=sys.stderr)
"""

_THERE = """
import json, sys, tempfile, time
import wasmtime
engine = wasmtime.Engine()
store = wasmtime.Store(engine)
wasi = wasmtime.WasiConfig()
wasi.inherit_stdin()
wasi.inherit_stdout()
scratch = tempfile.TemporaryDirectory(dir="/dev/shm")
wasi.preopen_dir(scratch.name, "/")
store.set_wasi(wasi)
linker = wasmtime.Linker(engine)
linker.define_wasi()
module = wasmtime.Module.deserialize_file(engine, sys.argv[2])
start = time.perf_counter()
status = 0
try:
    linker.instantiate(store, module).exports(store)["_start"](store)
except wasmtime.ExitTrap as error:
    status = error.code
print(json.dumps([time.perf_counter() - start, status]), file=sys.stderr)
"""

HERE, THERE, NOTHING = "here", "wasmtime-py", "python -c pass"
COMPUTE_ONLY = "without its files"


def measure(machine: str) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="theseus-kit-benchmark-") as name:
        return _Measurement(machine, Path(name)).figures()


class _Measurement:
    def __init__(self, machine: str, folder: Path) -> None:
        self._machine = machine
        self._folder = folder
        self._environment = environment_of(folder)
        size, self._writes, self._files = _SIZES[machine]
        self._size = size
        self._input = folder / "input"
        self._input.write_bytes(bytes(range(256)) * (size // 256))

    def figures(self) -> list[Figure]:
        copied, writes = self._size / 1e6, self._writes
        programs = {
            f"{copied:.0f} MB from stdin to stdout": wasi_programs.COPY,
            f"{writes:,} writes of 16 bytes": wasi_programs.small_writes(writes),
        }
        found = []
        for name, text in programs.items():
            artifact = self._compiled(name, text)
            taken = interleave(
                {
                    HERE: self._contestant(_HERE, artifact),
                    THERE: self._contestant(_THERE, artifact),
                },
                _ROUNDS,
            )
            found.append(Figure(name, taken[HERE], THERE, taken[THERE]))
        return [*found, *self._with_files(), self._hello()]

    def _with_files(self) -> list[Figure]:
        artifacts = {
            with_files: self._compiled(
                f"files {with_files}",
                wasi_programs.files(self._files, _PASSES, with_files=with_files),
            )
            for with_files in (True, False)
        }
        taken = interleave(
            {
                HERE: self._contestant(_HERE, artifacts[True]),
                COMPUTE_ONLY: self._contestant(_HERE, artifacts[False]),
                THERE: self._contestant(_THERE, artifacts[True]),
            },
            _ROUNDS,
        )
        name = f"{self._files} files of 64 KiB, hashed"
        return [
            Figure(name, taken[HERE], COMPUTE_ONLY, taken[COMPUTE_ONLY]),
            Figure(name, taken[HERE], THERE, taken[THERE]),
        ]

    def _hello(self) -> Figure:
        module = self._folder / "hello.wat"
        module.write_text(wasi_programs.HELLO)
        command = [
            *(sys.executable, "-m", "theseus_kit.cli", "assemble", "--quiet"),
            *("--machine", self._machine, "--cache", str(self._folder / "cache"), str(module)),
        ]

        def run(command: list[str], expected: str) -> Callable[[], float]:
            return lambda: run_process(command, self._environment, expected).wall

        taken = interleave(
            {HERE: run(command, "Hello, world"), NOTHING: run([sys.executable, "-c", "pass"], "")},
            11,
        )
        return Figure(f"hello world beyond {NOTHING}", taken[HERE] - taken[NOTHING])

    def _compiled(self, name: str, text: str) -> Path:
        """An artifact that both sides can run: with the features of the machine."""
        with assemble(machine=self._machine) as platform:
            flags = compiler_flags(platform.machine.cpu_features)
        config = wasmtime.Config()
        aim_at_guest(wasmtime._ffi, config, flags)
        artifact = self._folder / f"{name}.cwasm"
        artifact.write_bytes(wasmtime.Module(wasmtime.Engine(config), text).serialize())
        return artifact

    def _contestant(self, script: str, artifact: Path) -> Callable[[], float]:
        def run() -> float:
            with self._input.open("rb") as stdin, Path("/dev/null").open("wb") as stdout:
                done = subprocess.run(
                    [sys.executable, "-c", script, self._machine, str(artifact)],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=subprocess.PIPE,
                    env=self._environment,
                    check=False,
                )
            if done.returncode:
                raise RuntimeError(done.stderr.decode())
            taken, status = json.loads(done.stderr)
            if status:
                raise RuntimeError(f"{artifact.name} exits with {status}")
            return float(taken)

        return run
