"""The wasmtime packages of a matrix: installed, in a directory, or a version from the index."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from theseus_kit.errors import UsageError
from theseus_kit.runtime.wheel import find_wheel
from theseus_kit.testing.matrix.definition import INSTALLED

_VERSION = re.compile(r"\d+(\.\d+)*")
_PLATFORM = "manylinux1_x86_64"


def find_package(choice: str, cache: Path) -> Path:
    """Return the directory of the wasmtime package that a value of the axis names.

    A version is downloaded with pip once, into ``cache``, and unpacked there; nothing of it is
    installed. Raises UsageError, ImageError.
    """
    if choice == INSTALLED:
        return find_wheel().package
    if not _VERSION.fullmatch(choice):
        return find_wheel(choice).package
    directory = cache / f"wasmtime-{choice}"
    if not directory.is_dir():
        _download(choice, directory)
    return find_wheel(directory).package


def _download(version: str, directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".") as name:
        temporary = Path(name)
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--platform", _PLATFORM, "--dest", name),
            f"wasmtime=={version}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(temporary.glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise UsageError(f"wasmtime {version} cannot be downloaded: {reason}")
        unpacked = temporary / "unpacked"
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(unpacked)
        os.rename(unpacked, directory)  # noqa: PTH104 - whole or not there
