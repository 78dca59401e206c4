"""A path's parts: what ``components()``, ``iter()`` and ``ancestors()`` give.

The rules are those of Rust's ``std::path`` on Unix, whose documentation is the source for each.
Pure text: nothing here looks at a file system.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from theseus_kit_path.prefixes import PrefixComponent

SEPARATOR = "/"

_Path = TypeVar("_Path")


class ComponentKind(IntEnum):
    """The kinds of component, in the order in which std compares them."""

    PREFIX = 0
    ROOT_DIR = 1
    CUR_DIR = 2
    PARENT_DIR = 3
    NORMAL = 4


class Component:
    """One part of a path. Immutable; ordered by kind, then by the bytes of a name."""

    __slots__ = ("_text", "kind", "prefix")

    ROOT_DIR: ClassVar[Component]
    CUR_DIR: ClassVar[Component]
    PARENT_DIR: ClassVar[Component]

    def __init__(
        self, kind: ComponentKind, text: str, prefix: PrefixComponent | None = None
    ) -> None:
        self.kind = kind
        self._text = text
        self.prefix = prefix
        """What a component of kind PREFIX holds."""

    @classmethod
    def normal(cls, name: str) -> Component:
        return cls(ComponentKind.NORMAL, name)

    @classmethod
    def of_prefix(cls, prefix: PrefixComponent) -> Component:
        return cls(ComponentKind.PREFIX, prefix.text, prefix)

    def as_os_str(self) -> str:
        """Its text: ``/`` for the root, ``.``, ``..``, or the name."""
        return self._text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Component({self.kind.name}, {self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Component) and self._key() == other._key()

    def __lt__(self, other: Component) -> bool:
        return self._key() < other._key()

    def __le__(self, other: Component) -> bool:
        return self._key() <= other._key()

    def __gt__(self, other: Component) -> bool:
        return self._key() > other._key()

    def __ge__(self, other: Component) -> bool:
        return self._key() >= other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, bytes]:
        # By bytes, as std does it: surrogate escapes would sort elsewhere by code point.
        return self.kind, self._text.encode("utf-8", "surrogateescape")


Component.ROOT_DIR = Component(ComponentKind.ROOT_DIR, SEPARATOR)
Component.CUR_DIR = Component(ComponentKind.CUR_DIR, ".")
Component.PARENT_DIR = Component(ComponentKind.PARENT_DIR, "..")


def component_texts(text: str) -> tuple[str, ...]:
    """The texts of all components, ``/`` for the root; quicker than walking through them.

    ``..`` stays: only a look-up can resolve it. Repeated and trailing slashes vanish, and so does
    every ``.`` but one that starts the path: ``./a//b/.`` has the components ``.``, ``a``, ``b``.
    """
    names = text.split(SEPARATOR)
    kept = [name for name in names if name not in ("", ".")]
    if not names[0] and text:
        kept.insert(0, SEPARATOR)
    elif names[0] == ".":
        kept.insert(0, ".")
    return tuple(kept)


class _State(IntEnum):
    """How far iteration came, at either end."""

    BEFORE = 0
    START = 1
    BODY = 2
    DONE = 3


class Components(Generic[_Path]):
    """The components of a path, from both ends: ``next()`` and :meth:`next_back`, ``for`` and
    ``reversed()``. What is left can be asked at any time by :meth:`as_path`.
    """

    def __init__(self, text: str, make: Callable[[str], _Path]) -> None:
        self._text = text
        self._make = make
        self._has_root = text.startswith(SEPARATOR)
        self._front = _State.START
        self._back = _State.BODY

    def clone(self) -> Components[_Path]:
        """An iterator that goes on from here on its own."""
        twin = Components(self._text, self._make)
        twin._has_root = self._has_root
        twin._front = self._front
        twin._back = self._back
        return twin

    def as_path(self) -> _Path:
        """The path of the components that are left, in the spelling of the whole."""
        text = self._text
        if self._front is _State.BODY:
            text = _trimmed_left(text)
        if self._back is _State.BODY:
            text = _trimmed_right(text, self._before_body())
        return self._make(text)

    def __iter__(self) -> Iterator[Component]:
        return self

    def __next__(self) -> Component:
        found = self._next_front()
        if found is None:
            raise StopIteration
        return found

    def __reversed__(self) -> Iterator[Component]:
        while (found := self.next_back()) is not None:
            yield found

    def __eq__(self, other: object) -> bool:
        """Whether the same components are left."""
        return isinstance(other, Components) and list(self.clone()) == list(other.clone())

    __hash__ = None  # type: ignore[assignment] # it changes as it goes

    def _next_front(self) -> Component | None:
        while not self._finished():
            if self._front is _State.START:
                self._front = _State.BODY
                if (start := self._start()) is not None:
                    self._text = self._text[1:]
                    return start
            elif self._text:
                name, _, self._text = self._text.partition(SEPARATOR)
                if (found := _component(name)) is not None:
                    return found
            else:
                self._front = _State.DONE
        return None

    def next_back(self) -> Component | None:
        """The last component that is left, None if there is none."""
        while not self._finished():
            if self._back is _State.BODY:
                before = self._before_body()
                if len(self._text) > before:
                    body, _, name = self._text[before:].rpartition(SEPARATOR)
                    self._text = self._text[: before + len(body)]
                    if (found := _component(name)) is not None:
                        return found
                else:
                    self._back = _State.START
            elif self._back is _State.START:
                self._back = _State.BEFORE
                if (start := self._start()) is not None:
                    self._text = self._text[:-1]
                    return start
            else:
                self._back = _State.DONE
        return None

    def _finished(self) -> bool:
        return _State.DONE in (self._front, self._back) or self._front > self._back

    def _start(self) -> Component | None:
        """The root, or the ``.`` that starts the path."""
        if self._has_root:
            return Component.ROOT_DIR
        return Component.CUR_DIR if self._starts_with_dot() else None

    def _starts_with_dot(self) -> bool:
        return not self._has_root and (self._text == "." or self._text.startswith("./"))

    def _before_body(self) -> int:
        """How many characters before the body are still to come."""
        if self._front > _State.START:
            return 0
        return int(self._has_root or self._starts_with_dot())


class Iter(Generic[_Path]):
    """The texts of a path's components, from both ends, as :class:`Components` gives them."""

    def __init__(self, components: Components[_Path]) -> None:
        self._components = components

    def as_path(self) -> _Path:
        """The path of the components that are left."""
        return self._components.as_path()

    def next_back(self) -> str | None:
        """The last one that is left, None if there is none."""
        found = self._components.next_back()
        return None if found is None else found.as_os_str()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._components).as_os_str()

    def __reversed__(self) -> Iterator[str]:
        return (found.as_os_str() for found in reversed(self._components))


class Ancestors(Generic[_Path]):
    """A path and its parents, up to the root or the empty path."""

    def __init__(self, path: _Path, parent: Callable[[_Path], _Path | None]) -> None:
        self._next: _Path | None = path
        self._parent = parent

    def __iter__(self) -> Iterator[_Path]:
        return self

    def __next__(self) -> _Path:
        if self._next is None:
            raise StopIteration
        path = self._next
        self._next = self._parent(path)
        return path


def _component(name: str) -> Component | None:
    if name in ("", "."):
        return None
    return Component.PARENT_DIR if name == ".." else Component.normal(name)


def _trimmed_left(text: str) -> str:
    while text:
        name, _, rest = text.partition(SEPARATOR)
        if _component(name) is not None:
            break
        text = rest
    return text


def _trimmed_right(text: str, before: int) -> str:
    while len(text) > before:
        body, _, name = text[before:].rpartition(SEPARATOR)
        if _component(name) is not None:
            break
        text = text[: before + len(body)]
    return text


def host_bytes(text: str) -> bytes:
    """The bytes that a text stands for on the host.

    Raises UnicodeEncodeError for surrogates that escape no byte: no bytes stand for them.
    """
    return text.encode("utf-8", "surrogateescape")


def host_text(name: bytes) -> str:
    """The text that stands for a host's bytes; what is not UTF-8 as surrogate escapes."""
    return os.fsdecode(name) if name.isascii() else name.decode("utf-8", "surrogateescape")
