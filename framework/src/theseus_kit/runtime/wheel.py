"""Finds the wasmtime wheel: where its package and its shared library are, and which version it is.

Nothing of the wheel is imported or executed here. Loading the library is
:meth:`theseus_kit.platform.Platform.load`'s work, the package :mod:`.package`'s.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from theseus_kit.errors import ImageError

GUEST_LIBRARY = Path("linux-x86_64", "_libwasmtime.so")
"""Where every wheel for Linux keeps the library, below its package: the guest's, whatever the host
is."""


SUPPORTED = range(30, 51)
"""The versions (their first numbers) whose bindings and library are known to work here. The same
range is declared in the distribution's metadata."""


class Wheel:
    """An installed, or merely unpacked, wasmtime wheel."""

    def __init__(self, package: Path, version: str) -> None:
        self.package = package
        """The directory of the Python package, the one named ``wasmtime``."""
        self.version = version
        """As its metadata says it, ``50.0.1``; ``unknown`` for a package without metadata."""

    @property
    def library(self) -> Path:
        """The shared library that becomes the guest."""
        return self.package / GUEST_LIBRARY

    def __repr__(self) -> str:
        return f"<Wheel wasmtime {self.version} at {self.package}>"


def find_wheel(path: str | Path | None = None) -> Wheel:
    """Return the wheel at ``path``, or else the one that ``import wasmtime`` would find.

    ``path`` is the package's directory, or the directory that holds it (the target of
    ``pip install --target``). Raises ImageError where there is no such wheel, or one of a version
    that is not :data:`SUPPORTED`; a package without metadata has no version to refuse.
    """
    if path is None:
        package = _installed_package()
        if package is None:
            raise ImageError("the wasmtime package is not installed: pip install wasmtime")
    else:
        package = Path(path)
        if (package / "wasmtime").is_dir():
            package = package / "wasmtime"
    if package.name != "wasmtime" or not (package / "_bindings.py").is_file():
        raise ImageError(
            f"{package}: no wasmtime package here; name the directory of an installed one "
            "(pip install --target DIRECTORY wasmtime)"
        )
    wheel = Wheel(package.absolute(), _version_beside(package))
    _check_version(wheel)
    if not wheel.library.is_file():
        raise ImageError(
            f"{wheel.library}: missing; the guest needs the wheel for Linux on x86-64 "
            "(pip install --platform manylinux1_x86_64 --only-binary :all: --target DIRECTORY "
            "wasmtime)"
        )
    return wheel


def _check_version(wheel: Wheel) -> None:
    major = wheel.version.partition(".")[0]
    if major.isdecimal() and int(major) not in SUPPORTED:
        first, last = SUPPORTED[0], SUPPORTED[-1]
        raise ImageError(
            f"wasmtime {wheel.version} is not supported, {first} to {last} are: "
            f"pip install 'wasmtime>={first},<{last + 1}'"
        )


def _installed_package() -> Path | None:
    # importlib.util.find_spec would do the same after importing importlib.util, and importlib's
    # metadata reader costs ten times as much as the whole search.
    for entry in sys.path:
        candidate = Path(entry or ".", "wasmtime")
        if (candidate / "__init__.py").is_file():
            return candidate
    return None


def _version_beside(package: Path) -> str:
    """Read the version off the name of the ``wasmtime-VERSION.dist-info`` next to the package."""
    with os.scandir(package.absolute().parent) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("wasmtime-") and name.endswith(".dist-info"):
                return name[len("wasmtime-") : -len(".dist-info")]
    return "unknown"
