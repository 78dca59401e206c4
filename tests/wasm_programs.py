"""WebAssembly programs for tests: compiled from C once, run by the ordinary package as the oracle.

The compiler is PyPI's ``ziglang``, which needs no system compiler. What it makes is kept in the
system's directory for temporary files, by the source's digest: it builds its own C library the
first time, which takes half a minute.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCES = Path(__file__).parent / "programs"

_FLAGS = ("-target", "wasm32-wasi", "-O2", "-s", "-Wall", "-Werror")

_ORACLE = """
import json, sys
import wasmtime
request = json.loads(sys.argv[1])
config = wasmtime.Config()
engine = wasmtime.Engine(config)
wasi = wasmtime.WasiConfig()
wasi.argv = request["arguments"]
wasi.env = list(request["environment"].items())
for host, guest, writable in request["directories"]:
    wasi.preopen_dir(host, guest, writable)
wasi.inherit_stdin()
wasi.inherit_stdout()
wasi.inherit_stderr()
store = wasmtime.Store(engine)
store.set_wasi(wasi)
if request["memory"] is not None:
    store.set_limits(memory_size=request["memory"])
linker = wasmtime.Linker(engine)
linker.define_wasi()
instance = linker.instantiate(store, wasmtime.Module.from_file(engine, request["module"]))
try:
    instance.exports(store)["_start"](store)
except wasmtime.ExitTrap as error:
    sys.exit(error.code)
"""


class Done(NamedTuple):
    """How a process ended."""

    stdout: bytes
    stderr: bytes
    status: int


def is_long() -> bool:
    """Whether the tests may take as long as they like: THESEUS_KIT_LONG is set."""
    return bool(os.environ.get("THESEUS_KIT_LONG"))


def compiled(name: str, *flags: str) -> Path:
    """Return the program compiled from ``programs/<name>.c``; skip without the compiler."""
    return _built(_compiler(), name, [SOURCES / f"{name}.c"], flags)


def compiled_from(
    variable: str, name: str, files: Sequence[str], *flags: str, own: Sequence[str] = ()
) -> Path:
    """Return a program compiled from source files that are not the project's, in the directory that
    an environment variable names, and ``own`` ones; skip where it names none, and without the
    compiler."""
    directory = os.environ.get(variable)
    if not directory:
        pytest.skip(f"{variable} names no directory with the sources of {name}")
    sources = [*(Path(directory) / file for file in files), *(SOURCES / file for file in own)]
    return _built(_compiler(), name, sources, flags)


def _compiler() -> str:
    """The compiler's version."""
    try:
        return version("ziglang")
    except PackageNotFoundError:
        pytest.skip("ziglang is not installed")


def _built(compiler: str, name: str, sources: Sequence[Path], flags: Sequence[str]) -> Path:
    identity = hashlib.sha256("\0".join((compiler, *_FLAGS, *flags)).encode())
    for source in sources:
        identity.update(source.read_bytes())
    digest = identity.hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"theseus-kit-programs-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    program = folder / f"{name}-{digest}.wasm"
    if not program.exists():
        new = folder / f"{name}-{digest}-{os.getpid()}"
        command = [sys.executable, "-m", "ziglang", "cc", *_FLAGS, *flags, "-o", new, *sources]
        subprocess.run(command, check=True, timeout=280)
        new.replace(program)
    return program


def ordinary(
    module: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    directories: Sequence[tuple[Path, str]] = (),
    writable: bool = True,
    stdin: bytes = b"",
    memory: int | None = None,
) -> Done:
    """Run a program with the ordinary wasmtime package, in a process of its own."""
    request = {
        "module": str(module),
        "arguments": [module.name, *arguments],
        "environment": dict(environment or {}),
        "directories": [(str(host), guest, writable) for host, guest in directories],
        "memory": memory,
    }
    return finished([sys.executable, "-c", _ORACLE, json.dumps(request)], stdin)


class Kit:
    """``theseus-kit assemble`` on one machine, in a process of its own."""

    def __init__(self, machine: str, cache: Path) -> None:
        self._command = [
            *(sys.executable, "-m", "theseus_kit.cli", "assemble", "--quiet"),
            *("--machine", machine, "--cache", str(cache)),
        ]

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of a run."""
        return [*self._command, *map(str, arguments)]

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Done:
        """Run it to its end."""
        return finished(self.command(*arguments), stdin)

    def refuses(self, *arguments: str | Path, status: int = 2) -> str:
        """Run what must fail with one line on stderr; return the line."""
        done = self(*arguments)
        lines = done.stderr.decode().splitlines()
        assert (done.status, done.stdout, len(lines)) == (status, b"", 1), done
        assert lines[0].startswith("theseus-kit: ")
        return lines[0].removeprefix("theseus-kit: ")


def finished(command: Sequence[str | Path], stdin: bytes = b"") -> Done:
    """Run a command to its end."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=250, check=False)
    return Done(done.stdout, done.stderr, done.returncode)
