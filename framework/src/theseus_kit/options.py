"""How options are declared: as fields of a dataclass, each with a default and a help text.

Nobody changes them once they are made. What refuses it, ``frozen=True``, and comparison and
representation take many times as long to make as the rest of a dataclass, which counts where every
start makes it: ``@dataclass(eq=False, repr=False)`` does without.

Used by plugins and by machines alike; reading them from a command line is left to the command
line, checking them to the assembly.
"""

from __future__ import annotations

from dataclasses import field
from typing import TypeVar

_Value = TypeVar("_Value")


def option(default: _Value, *, help: str) -> _Value:
    """Declare an option as a field of its options dataclass.

    Types an option may have: bool, int, float, str, pathlib.Path, an Enum, and any of these
    or None.
    """
    value: _Value = field(default=default, metadata={"help": help})
    return value
