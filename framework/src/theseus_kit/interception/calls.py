"""What can be called on a platform, by kind and name, and how people say which they mean.

A call is written ``hook.memory_map``, ``c.malloc`` or ``syscall.mmap``. Who intercepts calls is
:mod:`theseus_kit.interception.interceptor`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from theseus_kit.errors import UsageError
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.values.linkage import CFunction


class CallKind(Enum):
    """The ways something is asked of a platform's plugins."""

    HOOK = "hook"
    C_FUNCTION = "c"
    SYSTEM_CALL = "syscall"


class PlatformCall(NamedTuple):
    """Something that can be called, as an :class:`Interceptor` gets to know it."""

    kind: CallKind
    name: str
    parameters: tuple[str, ...] = ()
    """A hook's arguments; a C function's are in its prototype."""
    plugin: str | None = None
    """Who offers the C function or the system call; None for a hook."""
    function: CFunction | None = None
    """The C function, or the system call's, as it was offered; None for a hook."""

    def __str__(self) -> str:
        return f"{self.kind.value}.{self.name}"


class CallPattern(NamedTuple):
    """Calls by kind and glob: ``hook.memory_*``, ``syscall.mmap``; ``mmap`` is any kind's."""

    kind: CallKind | None
    glob: str

    @classmethod
    def parse(cls, text: str) -> CallPattern:
        """Read a pattern. Raises UsageError for a kind there is not, and for an empty name."""
        kind_text, dot, glob = text.strip().rpartition(".")
        if not glob:
            raise UsageError(f"{text!r} names no call: write it as mmap, hook.memory_map, c.str*")
        if not dot:
            return cls(None, glob)
        try:
            return cls(CallKind(kind_text), glob)
        except ValueError:
            kinds = ", ".join(kind.value for kind in CallKind)
            raise UsageError(
                f"{text!r}: no kind of call is {kind_text!r}: there is {kinds}"
            ) from None

    def matches(self, call: PlatformCall) -> bool:
        """Whether a call is meant."""
        return (self.kind is None or self.kind is call.kind) and fnmatchcase(call.name, self.glob)

    def __str__(self) -> str:
        return self.glob if self.kind is None else f"{self.kind.value}.{self.glob}"

    def check(self, calls: Iterable[PlatformCall], owner: str) -> None:
        """Raise UsageError, with the nearest name there is, if the pattern means none of ``calls``.

        ``owner`` says for whom: ``plugin 'trace'``.
        """
        known = set()
        for call in calls:
            if self.matches(call):
                return
            if self.kind is None or self.kind is call.kind:
                known.add(call.name)
        import difflib  # only what is misspelt needs it

        near = difflib.get_close_matches(self.glob, sorted(known), n=1)
        prefix = "" if self.kind is None else f"{self.kind.value}."
        meant = f": did you mean {prefix + near[0]!r}?" if near else ""
        raise UsageError(f"{owner}: no call of this platform is named {str(self)!r}{meant}")


def parse_patterns(text: str) -> tuple[CallPattern, ...]:
    """Read patterns separated by commas. Raises UsageError."""
    return tuple(CallPattern.parse(part) for part in text.split(",") if part.strip())
