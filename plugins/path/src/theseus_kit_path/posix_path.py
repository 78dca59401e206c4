"""What a path is: text, compared by its components, as Rust's ``std::path`` has it on Unix.

Pure text: nothing here looks at a file system (``namespace.py`` does). The rules and their corner
cases are those of ``std::path::Path``, whose documentation is the source for each; where a POSIX
system reads a path differently (a trailing slash asks for a directory), the text still says so,
because a path keeps the text it was made of.
"""

from __future__ import annotations

ROOT = "/"
"""The component that starts an absolute path."""


class Path:
    """A path's text. Immutable; equal to another whose components are the same.

    Names that are not UTF-8 stand as surrogate escapes, the way ``os.fsdecode`` makes them, so
    that every name a host can have survives the way in and out.
    """

    __slots__ = ("_components", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._components: tuple[str, ...] | None = None

    def components(self) -> tuple[str, ...]:
        """``/`` for the root, then the names. ``..`` stays: only a look-up can resolve it.

        Repeated and trailing slashes vanish, and so does every ``.`` but one that starts the
        path: ``./a//b/.`` has the components ``.``, ``a``, ``b``.
        """
        if self._components is None:
            names = self._text.split("/")
            kept = [name for name in names if name not in ("", ".")]
            if not names[0] and self._text:
                kept.insert(0, ROOT)
            elif names[0] == ".":
                kept.insert(0, ".")
            self._components = tuple(kept)
        return self._components

    def is_absolute(self) -> bool:
        return self._text.startswith("/")

    def parent(self) -> Path | None:
        """The path without its last component; None for the root and for the empty path.

        The parent of a lone name is the empty path, as in Rust. Textual: the parent of ``a/..``
        is ``a``.
        """
        components = self.components()
        if not components or components == (ROOT,):
            return None
        if len(components) == 1:
            return Path("")
        # The text up to the last component, without the slashes and dots before that: the
        # parent keeps the spelling of what is left, as Rust's does.
        text = _without_trailing_noise(self._text)
        text = text[: len(text) - len(components[-1])]
        return Path(_without_trailing_noise(text))

    def file_name(self) -> str | None:
        """The last component if it is a name; None for ``/``, ``..`` and a lone ``.``."""
        components = self.components()
        if not components or components[-1] in (ROOT, "..") or components == (".",):
            return None
        return components[-1]

    def join(self, other: str) -> Path:
        """Append a path; an absolute one replaces this one. Joining ``""`` adds a slash."""
        if other.startswith("/"):
            return Path(other)
        if not self._text or self._text.endswith("/"):
            return Path(self._text + other)
        return Path(f"{self._text}/{other}")

    def __str__(self) -> str:
        return self._text

    def __fspath__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Path({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and self.components() == other.components()

    def __hash__(self) -> int:
        return hash(self.components())


def _without_trailing_noise(text: str) -> str:
    """Drop trailing slashes and ``.`` components, but neither the root nor a leading ``.``."""
    while len(text) > 1:
        if not text.endswith(("/", "/.")):
            break
        text = text[:-1]
    return text
