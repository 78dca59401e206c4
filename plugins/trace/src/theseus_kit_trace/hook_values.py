"""What crosses the hooks, shown on one line."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from theseus_kit import Plugin, Task
from theseus_kit.values.exceptions import ExceptionContext, Registers
from theseus_kit.values.memory import (
    AddressRange,
    AnyAddress,
    AtAddress,
    MapRequest,
    Protection,
    Region,
    ZeroBacking,
)
from theseus_kit_trace.arguments import pointer

LONGEST = 200
"""Characters of a value that are shown."""

_ADDRESSES = frozenset(
    ("address", "text_start", "frame_table", "function", "argument", "destructor")
)
"""Integer arguments of hooks that are addresses; the others are counts and sizes."""


def _map_request(request: MapRequest) -> str:
    parts = [f"{request.size} bytes {_PROTECTIONS[request.protection]}"]
    placement = request.placement
    if isinstance(placement, AtAddress):
        parts.append(f"at {placement.address:#x}{' replacing' if placement.replace else ''}")
    elif not isinstance(placement, AnyAddress):
        parts.append(repr(placement))
    if not isinstance(request.backing, ZeroBacking):
        parts.append(repr(request.backing))
    if request.guard:
        parts.append("guard")
    if request.shared:
        parts.append("shared")
    if request.label:
        parts.append(repr(request.label))
    return f"<{' '.join(parts)}>"


_PROTECTIONS = tuple(str(Protection(bits)) for bits in range(8))
"""Made once: a flag's text takes as long as all the rest of a region's."""


def _region(region: Region) -> str:
    base = region.base
    label = f" {region.label!r}" if region.label else ""
    return f"{base:#x}-{base + region.size:#x} {_PROTECTIONS[region.protection]}{label}"


def _registers(registers: Registers) -> str:
    return f"<rip={registers.rip:#x} rsp={registers.rsp:#x}>"


_BY_TYPE: dict[type, Callable[[Any], str]] = {
    type(None): lambda value: "None",
    bool: lambda value: "true" if value else "false",
    int: str,
    str: repr,
    Task: lambda task: repr(task.name),
    MapRequest: _map_request,
    Region: _region,
    AddressRange: lambda bounds: f"{bounds.start:#x}-{bounds.end:#x}",
    Protection: _PROTECTIONS.__getitem__,
    Registers: _registers,
    ExceptionContext: str,
    Plugin: lambda plugin: plugin.description.name,
}


def show(value: Any) -> str:
    """Show any value that crosses a hook, within :data:`LONGEST` characters."""
    known = _BY_TYPE.get(type(value))
    if known is not None:
        text = known(value)
    elif isinstance(value, Enum):
        text = value.name
    elif isinstance(value, list | tuple) and type(value) in (list, tuple):
        first = ", ".join(show(item) for item in value[:4])
        text = f"[{first}{f', … {len(value)} in all' if len(value) > 4 else ''}]"
    else:
        text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


_ADDRESS_RESULTS = frozenset(("tls_create_area", "tls_address"))


def result_shower(hook: str) -> Callable[[Any], str]:
    """Return what shows a hook's result."""
    return _address if hook in _ADDRESS_RESULTS else show


def _system_call(number: Any) -> str:
    from theseus_kit.image.system_call_names import system_call_names

    return system_call_names().get(number, str(number))


_OF_HOOKS: dict[tuple[str, str], Callable[[Any], str]] = {
    ("system_call_unanswered", "number"): _system_call,
    ("system_call_unanswered", "arguments"): lambda words: (
        f"[{', '.join(pointer(word) for word in words)}]"
    ),
}


def argument_shower(hook: str, name: str) -> Callable[[Any], str]:
    """Return what shows a hook's argument."""
    known = _OF_HOOKS.get((hook, name))
    if known is not None:
        return known
    if name in _ADDRESSES:
        return _address
    return show


def _address(value: Any) -> str:
    return pointer(value) if type(value) is int else show(value)
