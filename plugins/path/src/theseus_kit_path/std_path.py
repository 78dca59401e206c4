"""Path and PathBuf: Rust's ``std::path`` on Unix, in Python.

Names, results and corner cases are std's (Rust 1.95), whose documentation is the source for each;
``OsStr`` and ``OsString`` are str. Three things are Python's own:

- A ``Path`` is immutable and hashable, a ``PathBuf`` is a ``Path`` that can be changed and cannot
  be hashed. What std returns as an owned PathBuf comes as a Path; ``to_path_buf()`` makes one.
- Names that are not UTF-8 stand as surrogate escapes, the way ``os.fsdecode`` makes them, so that
  every name a host can have survives the way in and out. ``to_str()`` is None for them.
- Look-ups take the hooks of the platform whose files are meant (``lookup.py``).
"""

from __future__ import annotations

from typing import Self

from theseus_kit_path.components import Ancestors, Components, Iter, component_texts, host_bytes
from theseus_kit_path.lookup import LookUps
from theseus_kit_path.text_path import TextPath, split_at_last_dot


class StripPrefixError(ValueError):
    """The prefix to be stripped does not start the path."""


class Path(TextPath, LookUps):
    """A path's text. Equal to another whose components are the same, and ordered by them."""

    __slots__ = ()

    @classmethod
    def new(cls, text: str | TextPath = "") -> Self:
        return cls(str(text))

    @classmethod
    def _sibling(cls, text: str) -> Self:
        # Parts of a PathBuf are not to be changed: &Path in std.
        return Path(text)  # type: ignore[return-value]

    # Its text.

    def as_os_str(self) -> str:
        return self._text

    def to_str(self) -> str | None:
        """The text if it is UTF-8, None if it is not."""
        try:
            self._text.encode()
        except UnicodeEncodeError:
            return None
        return self._text

    def to_string_lossy(self) -> str:
        """The text with U+FFFD for what is not UTF-8."""
        try:
            encoded = host_bytes(self._text)
        except UnicodeEncodeError:
            encoded = self._text.encode("utf-8", "surrogatepass")
        return encoded.decode("utf-8", "replace")

    def display(self) -> str:
        """The text to show to people; not every path comes back from it."""
        return self.to_string_lossy()

    def to_path_buf(self) -> PathBuf:
        return PathBuf(self._text)

    # What it is made of.

    def has_root(self) -> bool:
        return self.is_absolute()

    def is_relative(self) -> bool:
        return not self.is_absolute()

    def iter(self) -> Iter[Self]:
        """The components' texts, from both ends."""
        return Iter(self.components())

    def __iter__(self) -> Iter[Self]:
        return self.iter()

    def ancestors(self) -> Ancestors[Path]:
        """The path itself, its parent, the parent's parent, up to the root or the empty path."""
        return Ancestors(Path(self._text), Path.parent)

    def file_prefix(self) -> str | None:
        """The file name up to its first dot; a dot at its start does not count."""
        name = self.file_name()
        if name is None:
            return None
        dot = name.find(".", 1)
        return name if dot < 0 else name[:dot]

    # Against other paths.

    def starts_with(self, base: str | TextPath) -> bool:
        """Whether the components of ``base`` start these."""
        start = component_texts(str(base))
        return component_texts(self._text)[: len(start)] == start

    def ends_with(self, child: str | TextPath) -> bool:
        """Whether the components of ``child`` end these."""
        end = component_texts(str(child))
        texts = component_texts(self._text)
        return len(end) <= len(texts) and texts[len(texts) - len(end) :] == end

    def strip_prefix(self, base: str | TextPath) -> Path:
        """What joined to ``base`` gives this path. Raises StripPrefixError."""
        mine: Components[Path] = Components(self._text, Path)
        for theirs in Components(str(base), Path):
            if next(mine, None) != theirs:
                raise StripPrefixError(f"{str(base)!r} is no prefix of {self._text!r}")
        return mine.as_path()

    # New paths.

    def join(self, other: str | TextPath) -> Path:
        """Append a path; an absolute one replaces this one. Joining ``""`` adds a slash."""
        return Path(_pushed(self._text, str(other)))

    def with_file_name(self, name: str) -> Path:
        path = self.to_path_buf()
        path.set_file_name(name)
        return path.as_path()

    def with_extension(self, extension: str) -> Path:
        """The path with its extension replaced, or taken away by ``""``.

        Raises ValueError if the extension holds a slash.
        """
        old = self.extension()
        # As std does it: cut first, then look for the file name again ("..b" ends as "..").
        path = PathBuf(self._text[: len(self._text) - len(old)] if old else self._text)
        path.set_extension(extension)
        return path.as_path()

    def with_added_extension(self, extension: str) -> Path:
        """The path with one more extension. Raises ValueError if it holds a slash."""
        path = self.to_path_buf()
        path.add_extension(extension)
        return path.as_path()

    def __fspath__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Path):
            return NotImplemented
        return self._text == other._text or component_texts(self._text) == component_texts(
            other._text
        )

    def __hash__(self) -> int:
        return hash(component_texts(self._text))

    def __lt__(self, other: Path) -> bool:
        return list(self.components()) < list(other.components())

    def __le__(self, other: Path) -> bool:
        return list(self.components()) <= list(other.components())

    def __gt__(self, other: Path) -> bool:
        return list(self.components()) > list(other.components())

    def __ge__(self, other: Path) -> bool:
        return list(self.components()) >= list(other.components())


class PathBuf(Path):
    """A path that can be changed."""

    __slots__ = ()

    __hash__ = None  # type: ignore[assignment] # what changes cannot be hashed

    def __init__(self, text: str = "") -> None:
        super().__init__(text)

    @classmethod
    def with_capacity(cls, capacity: int) -> Self:
        """An empty path. Python's strings need no capacity; a negative one is a ValueError."""
        if capacity < 0:
            raise ValueError(f"a capacity of {capacity} bytes")
        return cls()

    def as_path(self) -> Path:
        """The path as it is now."""
        return Path(self._text)

    def into_os_string(self) -> str:
        return self._text

    def push(self, path: str | TextPath) -> None:
        """Append a path; an absolute one replaces this one."""
        self._text = _pushed(self._text, str(path))

    def pop(self) -> bool:
        """Cut to the parent; False if there is none."""
        parent = self.parent()
        if parent is None:
            return False
        self._text = self._text[: len(str(parent))]
        return True

    def clear(self) -> None:
        self._text = ""

    def set_file_name(self, name: str) -> None:
        """Replace the file name, or append one where there is none."""
        if self.file_name() is not None:
            self.pop()
        self.push(name)

    def set_extension(self, extension: str) -> bool:
        """Replace the extension, or take it away by ``""``; False if there is no file name.

        Raises ValueError if the extension holds a slash.
        """
        _check_extension(extension)
        name = self.file_name()
        if name is None:
            return False
        stem = split_at_last_dot(name)[0]
        self._text = self._up_to_name(name) + stem + ("." + extension if extension else "")
        return True

    def add_extension(self, extension: str) -> bool:
        """Append an extension to those there are; False if there is no file name.

        Raises ValueError if the extension holds a slash.
        """
        _check_extension(extension)
        name = self.file_name()
        if name is None:
            return False
        if extension:
            self._text = self._up_to_name(name) + name + "." + extension
        return True

    def _up_to_name(self, name: str) -> str:
        whole = Components(self._text, str).as_path()  # without slashes and dots at the end
        return whole[: len(whole) - len(name)]


def _pushed(text: str, other: str) -> str:
    if other.startswith("/"):
        return other
    if not text or text.endswith("/"):
        return text + other
    return f"{text}/{other}"


def _check_extension(extension: str) -> None:
    if "/" in extension:
        raise ValueError(f"extension {extension!r}: it cannot hold a slash")
