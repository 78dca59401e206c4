"""What a Windows path may start with.

Paths of the platform have no such thing, as on every Unix; the types are there for programs that
ask. Rust's ``std::path::Prefix`` is the source for each.
"""

from __future__ import annotations

from enum import IntEnum

from theseus_kit.values.record import NamedTuple


class PrefixKind(IntEnum):
    """What a Windows path may start with, in the order of std's ``Prefix``."""

    VERBATIM = 0
    VERBATIM_UNC = 1
    VERBATIM_DISK = 2
    DEVICE_NS = 3
    UNC = 4
    DISK = 5


class Prefix(NamedTuple):
    """A Windows path's prefix, taken apart: server and share, device or drive."""

    kind: PrefixKind
    first: str = ""
    second: str = ""

    def is_verbatim(self) -> bool:
        r"""Whether it starts with ``\\?\``."""
        return self.kind <= PrefixKind.VERBATIM_DISK


class PrefixComponent(NamedTuple):
    """A prefix as it stands in a path, and taken apart."""

    text: str
    prefix: Prefix

    def kind(self) -> Prefix:
        return self.prefix

    def as_os_str(self) -> str:
        return self.text
