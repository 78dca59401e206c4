"""``--dir``, ``--dir-ro`` and ``--memfs``: what a program finds open, and where that is mounted.

Each gets a mount of its own, out of sight of the others: what a program calls it (``.``, ``/``,
twice the same) is between the program and WASI, as under ``wasmtime run``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from theseus_kit.cli.quantities import parse_size
from theseus_kit.errors import UsageError
from theseus_kit.values.paths import MemoryMount, Mount
from theseus_kit.values.programs import Preopen
from theseus_kit.values.record import NamedTuple

PREOPENS = "/preopened"


class Directory(NamedTuple):
    """A directory that a program is given, and the mount it comes from."""

    mount: Mount | MemoryMount
    preopen: Preopen


def parse_directories(
    writable: Sequence[str], read_only: Sequence[str], memory: Sequence[str]
) -> list[Directory]:
    """Turn the options' texts into directories, checked on the host. Raises UsageError."""
    found: list[Directory] = []
    for option, texts in (("--dir", writable), ("--dir-ro", read_only)):
        for text in texts:
            found.append(_host_directory(option, text, f"{PREOPENS}/{len(found)}"))
    for text in memory:
        name, limited, limit = text.rpartition("=")
        if not limited:
            name = text
        if not name:
            raise UsageError(f"--memfs {text}: name the directory that the program is to see")
        target = f"{PREOPENS}/{len(found)}"
        mount = MemoryMount(target)
        if limited:
            mount = MemoryMount(target, parse_size(f"--memfs {name}=", limit))
        found.append(Directory(mount, Preopen(target, _utf8("--memfs", name))))
    return found


def _host_directory(option: str, text: str, target: str) -> Directory:
    host, _, guest = text.partition("::")
    name = _utf8(option, guest or host)
    if not host:
        raise UsageError(f"{option} {text}: name a directory of the host, as HOST or HOST::GUEST")
    writable = option == "--dir"
    source = Path(host).absolute()
    if not source.exists():
        raise UsageError(
            f"{option} {text}: {host}: no such directory: make it, or correct the name"
        )
    if not source.is_dir():
        raise UsageError(f"{option} {text}: {host} is a file: name the directory it is in")
    if not os.access(source, os.R_OK | os.X_OK):
        raise UsageError(f"{option} {text}: {host}: permission denied: it cannot be read")
    return Directory(Mount(source, target, writable), Preopen(target, name, writable))


def _utf8(option: str, name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{option} {os.fsencode(name)!r}: a program's names are UTF-8: "
            "give it another with HOST::GUEST"
        ) from None
    return name
