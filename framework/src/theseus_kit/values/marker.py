"""The base of values that have no fields: equal by their class alone.

The other values are NamedTuples (:mod:`.record`): immutable, cheap to make on hot paths, and cheap
to define, which counts because every start of the command line defines them all.
"""

from __future__ import annotations


class Marker:
    """A value whose class says everything."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
