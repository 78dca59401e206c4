"""TheseusPath and TheseusPathBuf: the path type of Theseus, as it behaves.

Source: Theseus, ``kernel/path/src/lib.rs`` and ``component.rs`` (2024-01). Components, parent and
file name are std's; these are not:

- Equality and order are those of the text: ``a//b`` is not ``a/b``.
- ``push`` and ``join`` always insert a slash: ``""`` and ``a`` make ``/a``, ``/`` and ``a`` make
  ``//a``.
- A path is a Rust ``str``: a name that is not UTF-8 cannot be said, and is refused with EILSEQ.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import FileKind, FileStatus, OpenFile, PathAt
from theseus_kit_path.components import Component, ComponentKind
from theseus_kit_path.std_path import Path
from theseus_kit_path.text_path import TextPath

if TYPE_CHECKING:
    from pluggy import HookRelay


class TheseusPath(TextPath):
    """A Theseus path. Immutable; equal to another of the same text."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        """Raises PlatformError (EILSEQ) for a text that is not UTF-8."""
        super().__init__(_checked(text))

    @classmethod
    def new(cls, text: str | TextPath) -> Self:
        return cls(str(text))

    @classmethod
    def from_std(cls, path: Path) -> Self:
        """The same text as a Theseus path. Raises PlatformError (EILSEQ) if it is not UTF-8."""
        return cls(str(path))

    def to_std(self) -> Path:
        """The same text as a std path."""
        return Path(self._text)

    @classmethod
    def _sibling(cls, text: str) -> Self:
        return TheseusPath(text)  # type: ignore[return-value]

    def to_owned(self) -> TheseusPathBuf:
        return TheseusPathBuf(self._text)

    def join(self, other: str | TextPath) -> TheseusPath:
        """Append ``/`` and a path; an absolute one replaces this one."""
        return TheseusPath(_pushed(self._text, str(other)))

    def relative(self, base: str | TextPath) -> TheseusPath | None:
        """The path from the directory ``base`` to this one; None if there is no telling.

        An absolute path against a relative base is itself, a relative one against an absolute
        base is None, and so is every base that climbs by ``..`` where the two have parted.
        """
        other = TheseusPath(str(base))
        if self.is_absolute() != other.is_absolute():
            return TheseusPath(self._text) if self.is_absolute() else None
        mine, theirs = self.components(), other.components()
        steps: list[Component] = []
        while True:
            ours, base_step = next(mine, None), next(theirs, None)
            if ours is None:
                if base_step is None:
                    break
                steps.append(Component.PARENT_DIR)
            elif base_step is None:
                steps.extend([ours, *mine])
                break
            elif not steps and ours == base_step:
                continue
            elif base_step.kind is ComponentKind.CUR_DIR:
                steps.append(ours)
            elif base_step.kind is ComponentKind.PARENT_DIR:
                return None
            else:
                steps.extend([Component.PARENT_DIR] * (1 + len(list(theirs))))
                steps.extend([ours, *mine])
                break
        return TheseusPath("/".join(step.as_os_str() for step in steps))

    # Look-ups: what Theseus answers with a file or directory is told by its status here.

    def get(self, hooks: HookRelay, working_directory: OpenFile | None = None) -> FileStatus | None:
        """What is at the path, from a directory that ``path_open`` opened or from the root; None
        if nothing is."""
        path = self if working_directory is None else PathAt(working_directory, self)
        try:
            found: FileStatus = hooks.path_status(path=path, follow=True)
        except PlatformError:
            return None
        return found

    def get_file(
        self, hooks: HookRelay, working_directory: OpenFile | None = None
    ) -> FileStatus | None:
        """What is at the path if it is a file."""
        found = self.get(hooks, working_directory)
        return found if found is not None and found.kind is FileKind.FILE else None

    def get_dir(
        self, hooks: HookRelay, working_directory: OpenFile | None = None
    ) -> FileStatus | None:
        """What is at the path if it is a directory."""
        found = self.get(hooks, working_directory)
        return found if found is not None and found.kind is FileKind.DIRECTORY else None

    def get_absolute(self, hooks: HookRelay) -> FileStatus | None:
        """What is at the path if it is absolute."""
        return self.get(hooks) if self.is_absolute() else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TheseusPath):
            return NotImplemented
        return self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __lt__(self, other: TheseusPath) -> bool:
        return self._text < other._text

    def __le__(self, other: TheseusPath) -> bool:
        return self._text <= other._text

    def __gt__(self, other: TheseusPath) -> bool:
        return self._text > other._text

    def __ge__(self, other: TheseusPath) -> bool:
        return self._text >= other._text


class TheseusPathBuf(TheseusPath):
    """A Theseus path that can be changed, and therefore not hashed."""

    __slots__ = ()

    __hash__ = None  # type: ignore[assignment] # what changes cannot be hashed

    def __init__(self, text: str = "") -> None:
        super().__init__(text)

    @classmethod
    def from_iter(cls, paths: Iterable[str | TextPath]) -> Self:
        """The texts with a slash between every two, absolute ones too."""
        return cls("/".join(str(path) for path in paths))

    def as_path(self) -> TheseusPath:
        """The path as it is now."""
        return TheseusPath(self._text)

    def push(self, path: str | TextPath) -> None:
        """Append ``/`` and a path; an absolute one replaces this one."""
        self._text = _pushed(self._text, _checked(str(path)))

    def pop(self) -> bool:
        """Cut to the parent; False if there is none."""
        parent = self.parent()
        if parent is None:
            return False
        self._text = self._text[: len(str(parent))]
        return True


def _pushed(text: str, other: str) -> str:
    return other if other.startswith("/") else f"{text}/{other}"


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PlatformError(f"{text!r}: a Theseus path is UTF-8", errno.EILSEQ) from error
    return text
