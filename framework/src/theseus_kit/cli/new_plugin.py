"""``theseus-kit new-plugin``: a package with a working provider, ready to be made one's own."""

from __future__ import annotations

import keyword
import os
import re
import shutil
import sys
import tempfile
from datetime import date
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from theseus_kit.assembly import BUNDLED
from theseus_kit.assembly.catalogue import Catalogue, closest
from theseus_kit.errors import UsageError
from theseus_kit.values.record import NamedTuple

TEMPLATES = Path(__file__).with_name("templates")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 60


class Kind(NamedTuple):
    """What a package for one group of hooks has of its own."""

    template: str
    """The provider's template, without its ending."""
    suite: str
    summary: str
    replaces: tuple[str, ...]
    """The bundled plugins that an assembly with the provider leaves out."""
    beside: tuple[str, ...] = ()
    """What it takes for the other groups of those."""
    flags: str = ""
    """What the command line has to leave out on a platform with it, ending with a space."""


KINDS = {
    "memory-mapping": Kind(
        "memory_mapping", "MemoryMappingConformance", "a precise map in a list", ("region",)
    ),
    "thread-local-storage": Kind(
        "thread_local_storage",
        "ThreadLocalStorageConformance",
        "a mapping for each task",
        ("tlibc",),
        ("c-library",),
    ),
    "symbolication": Kind(
        "symbolication",
        "SymbolicationConformance",
        "names by exported symbols",
        ("backtrace",),
        ("backtrace-unwinding",),
    ),
    "unwinding": Kind(
        "unwinding",
        "UnwindingConformance",
        "stacks walked by frame pointers",
        ("backtrace",),
        ("backtrace-symbols",),
    ),
    "path-handling": Kind(
        "path_handling",
        "PathHandlingConformance",
        "host directories to be read",
        ("path",),
        flags="--no-cache ",  # compiled modules are kept in a writable mount
    ),
    "exception-registration": Kind(
        "exception_registration",
        "ExceptionRegistrationConformance",
        "handlers that stay",
        ("signals",),
    ),
}


def new_plugin_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin's name: my-maps.")],
    group: Annotated[
        str, typer.Option("--group", metavar="GROUP", help=f"One of {', '.join(KINDS)}.")
    ],
    directory: Annotated[
        Path | None,
        typer.Option("--directory", help="Where to make the package's folder; here if left out."),
    ] = None,
) -> int:
    """Write a package with a working provider of a group, its tests and a CI file.

    It passes ``theseus-kit check NAME``, ``mypy`` and ``python -m build`` as it is.
    """
    kind = KINDS.get(group)
    if kind is None:
        raise UsageError(f"no group is named {group!r}{closest(group, KINDS)}")
    _check_name(name)
    parent = directory or Path()
    target = parent / name
    if not parent.is_dir():
        raise UsageError(f"{parent}: no such directory; make it first")
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} exists already: choose another name or directory")
    write_package(target, name, group, kind)
    print(target)
    print(
        f"next: cd {target} && pip install -e '.[test]' && theseus-kit check {name}",
        file=sys.stderr,
    )
    return 0


def _check_name(name: str) -> None:
    package = name.replace("-", "_")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{name!r} is no name for a plugin: small letters, digits and single hyphens, "
            f"a letter first, {_LONGEST_NAME} characters at most"
        )
    if keyword.iskeyword(package) or package in sys.stdlib_module_names:
        raise UsageError(f"{name!r} is a name of Python's own: choose another, my-{name} say")
    if any(installed.name == name for installed in Catalogue()):
        raise UsageError(
            f"a plugin named {name!r} is installed already: choose another name, or uninstall it"
        )
    if package.startswith("theseus_kit"):
        raise UsageError(f"{name!r}: names that start with theseus-kit are the kit's own")


def write_package(target: Path, name: str, group: str, kind: Kind) -> None:
    """Write a package's files: all of them, or none."""
    package = name.replace("-", "_")
    words = {
        "name": name,
        "package": package,
        "class_name": "".join(word.capitalize() for word in name.split("-")) + "Plugin",
        "group": group,
        "summary": kind.summary,
        "suite": kind.suite,
        "flags": kind.flags,
        "assembly": ",".join(_assembly(name, kind)),
        "year": str(date.today().year),
    }
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "LICENSE": "LICENSE",
        ".gitignore": "gitignore",
        ".github/workflows/test.yml": "test.yml",
        f"src/{package}/__init__.py": "init.py",
        f"src/{package}/plugin.py": f"{kind.template}.py",
        "tests/test_conformance.py": "test_conformance.py",
    }
    texts = {path: _filled(template, words) for path, template in files.items()}
    try:
        # Beside the target, so that renaming it is one step of the same file system.
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        for path, text in {**texts, f"src/{package}/py.typed": ""}.items():
            file = scratch / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        scratch.chmod(0o777 & ~_umask())
        os.rename(scratch, target)  # noqa: PTH104 - Path.rename says no more
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _assembly(name: str, kind: Kind) -> list[str]:
    """An assembly with the plugin, in the order of the bundled one."""
    chosen: list[str] = []
    for bundled in BUNDLED:
        chosen += [name, *kind.beside] if bundled in kind.replaces else [bundled]
    return chosen


def _filled(template: str, words: dict[str, str]) -> str:
    text = (TEMPLATES / f"{template}.template").read_text(encoding="utf-8")
    return Template(text).substitute(words)
