"""Turning what a user says of a plugin's or machine's options into its options dataclass."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

from theseus_kit.assembly.catalogue import closest
from theseus_kit.errors import AssemblyError

_BOOLEANS = ("true", "false", "yes", "no", "1", "0")


def make_options(owner: str, options: type[Any], values: Mapping[str, object]) -> Any:
    """Make an options object from values given in Python or as text.

    ``owner`` is whose options they are, for messages: ``plugin 'region'``. Text is converted to
    the option's type, as the command line needs it. Raises AssemblyError for an unknown option
    and for a value that does not fit its type.
    """
    if not values:
        return options()
    hints = typing.get_type_hints(options)
    known = {field.name for field in fields(options)}
    converted = {}
    for name, value in values.items():
        if name not in known:
            raise AssemblyError(f"{owner} has no option {name!r}{closest(name, sorted(known))}")
        try:
            converted[name] = _convert(value, hints[name])
        except (TypeError, ValueError) as error:
            raise AssemblyError(
                f"option {name!r} of {owner} must be {type_name(hints[name])}, not {value!r}"
            ) from error
    try:
        return options(**converted)
    except ValueError as error:  # a __post_init__ that checks a range
        raise AssemblyError(f"options of {owner}: {error}") from error


def type_name(hint: Any) -> str:
    """Show a type as people write it: ``int``, ``Path | None``, ``one of fast, precise``."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of {', '.join(str(member.value) for member in hint)}"
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(type_name(part) for part in typing.get_args(hint))
    if hint is types.NoneType:
        return "none"
    return getattr(hint, "__name__", str(hint))


def _convert(value: object, hint: Any) -> object:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return _convert_to_first(value, typing.get_args(hint))
    if hint is types.NoneType:
        if value is None or value == "none":
            return None
        raise TypeError
    if isinstance(value, bool) and hint is not bool:  # bool is an int, but True is no size
        raise TypeError
    if isinstance(value, hint):
        return value
    if hint is bool and isinstance(value, str):
        return _BOOLEANS.index(value.lower()) % 2 == 0
    if hint is int and isinstance(value, str):
        return int(value, 0)
    if hint is float and isinstance(value, str | int):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if issubclass(hint, Enum) and isinstance(value, str):
        return hint(value)
    raise TypeError


def _convert_to_first(value: object, hints: tuple[Any, ...]) -> object:
    # Any text fits str and Path, so what accepts less is asked first.
    for hint in sorted(hints, key=lambda hint: hint in (str, Path)):
        try:
            return _convert(value, hint)
        except (TypeError, ValueError):
            continue
    raise TypeError
