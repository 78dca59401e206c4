"""What both kinds of path are: a text and the questions its components answer.

Rust's ``std::path`` and Theseus's ``path`` crate agree on everything here; where they differ
(equality, joining, what a text may hold) each has its own: ``std_path.py``, ``theseus_path.py``.
"""

from __future__ import annotations

from pathlib import Path as HostPath
from typing import Self

from theseus_kit_path.components import (
    Component,
    ComponentKind,
    Components,
    host_bytes,
    host_text,
)


class TextPath:
    """Base of paths: pure text, nothing is looked up."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def from_host_bytes(cls, name: bytes) -> Self:
        """The path of a host's bytes; what is not UTF-8 stands as surrogate escapes."""
        return cls(host_text(name))

    def to_host_bytes(self) -> bytes:
        """The host's bytes, exactly those of :meth:`from_host_bytes`.

        Raises UnicodeEncodeError for a text that no bytes stand for.
        """
        return host_bytes(self._text)

    @classmethod
    def from_pathlib(cls, path: HostPath) -> Self:
        """The path of a host path's text."""
        return cls(str(path))

    def to_pathlib(self) -> HostPath:
        """The host path of this text. pathlib drops the slashes and dots that mean nothing to it,
        a ``.`` at the start among them, and reads the empty path as ``.``."""
        return HostPath(self._text)

    def components(self) -> Components[Self]:
        """The components, from both ends."""
        return Components(self._text, type(self)._sibling)

    @classmethod
    def _sibling(cls, text: str) -> Self:
        """A path of the kind that parts of this one are."""
        return cls(text)

    def is_absolute(self) -> bool:
        return self._text.startswith("/")

    def parent(self) -> Self | None:
        """The path without its last component; None for the root and for the empty path.

        The parent of a lone name is the empty path. Textual: the parent of ``a/..`` is ``a``.
        """
        components = self.components()
        last = components.next_back()
        if last is None or last.kind is ComponentKind.ROOT_DIR:
            return None
        return components.as_path()

    def file_name(self) -> str | None:
        """The last component if it is a name; None for ``/``, ``..`` and a lone ``.``."""
        last = self._last()
        return last.as_os_str() if last is not None and last.kind is ComponentKind.NORMAL else None

    def file_stem(self) -> str | None:
        """The file name without what follows its last dot; a dot at its start does not count."""
        name = self.file_name()
        return None if name is None else split_at_last_dot(name)[0]

    def extension(self) -> str | None:
        """What follows the file name's last dot; None if there is none but one at the start."""
        name = self.file_name()
        return None if name is None else split_at_last_dot(name)[1]

    def _last(self) -> Component | None:
        return self.components().next_back()

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._text!r})"


def split_at_last_dot(name: str) -> tuple[str, str | None]:
    """A file name's stem and extension."""
    before, dot, after = name.rpartition(".")
    return (before, after) if dot and before else (name, None)
