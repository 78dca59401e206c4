"""What is run again and again, and what one run's process tells of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from theseus_kit.values.record import NamedTuple

OUTCOME = "outcome.json"
"""The file in a run's directory that its process writes when it knows how the run ended."""
TRACE, INJECTED, STDOUT, STDERR = "trace.jsonl", "injected.jsonl", "stdout", "stderr"


class Target(NamedTuple):
    """A module, or a Python program that uses ``wasmtime``, and the platform it runs on."""

    path: str
    arguments: tuple[str, ...] = ()
    invoke: str | None = None
    machine: str = "emulated"
    plugins: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, object]] = {}
    directories: tuple[str, ...] = ()
    """``HOST[::GUEST]``, for a module."""
    compile_on: str = "host"
    cache: str | None = None
    seed: int = 0
    """Of the deterministic mode: the n-th call of one run is the n-th of another."""

    @property
    def is_program(self) -> bool:
        """Whether it is a Python program and not a module."""
        return self.path.endswith(".py")

    def command(self, rules: str) -> str:
        """The command line that runs it with a fault, for people."""
        options = [
            f"{owner}.{name}={value}"
            for owner, values in self.options.items()
            for name, value in values.items()
        ]
        words = ["theseus-kit", "python" if self.is_program else "assemble"]
        words += ["--machine", self.machine, "--plugins", ",".join(("inject", *self.plugins))]
        for option in (*options, f"inject.rules={rules}"):
            words += ["--option", option]
        words += ["--deterministic", str(self.seed)]
        if not self.is_program:
            words += ["--compile", self.compile_on]
            words += [word for text in self.directories for word in ("--dir", text)]
            words += [] if self.invoke is None else ["--invoke", self.invoke]
        return shlex.join([*words, self.path, *self.arguments])


class Job(NamedTuple):
    """One run: the target with plugins put before its own."""

    target: Target
    directory: str
    """Where the process finds its job and leaves what it has to tell."""
    seconds: float
    """After so long it says where it is and ends."""
    watchers: tuple[str, ...] = ()
    watcher_options: Mapping[str, Mapping[str, object]] = {}

    def write(self) -> Path:
        """Write it for the process; return the file."""
        path = Path(self.directory) / "job.json"
        path.write_text(json.dumps({**self._asdict(), "target": self.target._asdict()}))
        return path

    @classmethod
    def read(cls, path: str) -> Job:
        fields = json.loads(Path(path).read_text())
        target = fields["target"]
        for name in ("arguments", "plugins", "directories"):
            target[name] = tuple(target[name])
        fields["target"] = Target(**target)
        return cls(**{**fields, "watchers": tuple(fields["watchers"])})


class Outcome(NamedTuple):
    """How a run ended, as its own process saw it; there is none where the process died."""

    kind: str
    """``finished``, ``trap``, ``error`` (Wasmtime's), ``refused`` (a UsageError), ``killed``,
    ``raised``, ``hung``."""
    status: int = 0
    """Of what has finished."""
    type: str = ""
    """The Python error's."""
    message: str = ""
    frames: tuple[str, ...] = ()
    """The guest's functions, innermost first, where it was killed or hung."""
    assembled: bool = True
    """It got as far as a platform."""
    reports_errors: tuple[str, ...] = ()
    """The C functions that can report an error number to their callers."""

    def write(self, directory: str) -> None:
        """Write it whole or not at all."""
        path = Path(directory) / OUTCOME
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(self._asdict()))
        draft.replace(path)

    @classmethod
    def read(cls, directory: str) -> Outcome | None:
        """What the process wrote, None if it did not get so far."""
        path = Path(directory) / OUTCOME
        if not path.exists():
            return None
        fields: dict[str, Any] = json.loads(path.read_text())
        for name in ("frames", "reports_errors"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


def function_names(entries: Sequence[Any]) -> tuple[str, ...]:
    """The functions of a backtrace, innermost first, without what stands between calls."""
    return tuple(
        symbol.display_name
        for frame, symbols in entries
        if frame.kind.value != "transition"
        for symbol in symbols
    )
