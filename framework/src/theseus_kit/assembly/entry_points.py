"""The entry points of a group, read off the installed distributions' directories.

``importlib.metadata`` answers the same, and takes a tenth of a short run to be imported: it brings
the packages for mail, archives and sockets. What it finds in directories on ``sys.path`` is found
here by the same rules; where anything else may hold distributions (an archive on the path, another
finder) it is asked itself.

    PATH/NAME-VERSION.dist-info/entry_points.txt     [group]
                                                     name = module:attribute
    The first distribution of a name on the path is the one that counts.

Sources: the entry points specification and "Recording installed projects" (packaging.python.org);
importlib/metadata/__init__.py of Python 3.11, MetadataPathFinder.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

_METADATA = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}
"""The file that says a distribution's name and version, by the directory's suffix."""
_FILE = "entry_points.txt"
_NAME = attrgetter("name")


class EntryPoint:
    """An object that a distribution offers under a name."""

    __slots__ = ("_metadata", "_stem", "name", "value")

    def __init__(self, name: str, value: str, stem: str, metadata: Path | None = None) -> None:
        self.name = name
        self.value = value
        """``module:attribute``; an attribute may be followed by extras in brackets."""
        self._stem = stem
        self._metadata = metadata

    def load(self) -> Any:
        """Import the object. Raises whatever its module raises, AttributeError for no such one."""
        module, _, attributes = self.value.partition("[")[0].partition(":")
        names = filter(None, attributes.strip().split("."))
        return reduce(getattr, names, import_module(module.strip()))

    @property
    def distribution(self) -> str:
        """The distribution and its version, as its metadata has them."""
        try:
            text = self._metadata.read_text("utf-8", "replace") if self._metadata else ""
        except OSError:
            text = ""
        fields = dict(line.partition(": ")[::2] for line in text.split("\n\n")[0].splitlines())
        name, _, version = self._stem.rpartition("-")  # only the name may have others
        return f"{fields.get('Name', name)} {fields.get('Version', version)}".strip()


def entry_points(group: str) -> list[EntryPoint]:
    """Return a group's entry points, in the path's order."""
    if not _only_directories():
        return _ask_importlib(group)
    return [
        EntryPoint(name, value, directory.stem, directory / _METADATA[directory.suffix])
        for directory in _distributions()
        for name, value in _read(directory / _FILE, group)
    ]


def _only_directories() -> bool:
    """Whether all there is to be found lies in directories on the path."""
    for finder in sys.meta_path:
        finds = getattr(finder, "find_distributions", None)
        if finds is not None and getattr(finder, "__name__", "") != "PathFinder":
            return False
    return not any(Path(entry).is_file() for entry in sys.path)


def _ask_importlib(group: str) -> list[EntryPoint]:
    from importlib import metadata

    return [
        EntryPoint(
            entry.name,
            entry.value,
            "unknown" if entry.dist is None else f"{entry.dist.name}-{entry.dist.version}",
        )
        for entry in metadata.entry_points(group=group)
    ]


def _distributions() -> Iterator[Path]:
    """The directory of each distribution."""
    seen = set()
    for entry in dict.fromkeys(sys.path):
        try:
            with os.scandir(entry or ".") as found:
                names = [name for name in map(_NAME, found) if name.endswith(tuple(_METADATA))]
        except OSError:
            continue
        for name in names:
            distribution = re.sub(r"[-_.]+", "-", name.partition("-")[0]).lower()
            if distribution not in seen:
                seen.add(distribution)
                yield Path(entry, name)


def _read(path: Path, group: str) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text("utf-8")
    except OSError:  # it offers nothing
        return
    if group not in text:
        return
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == group and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()
