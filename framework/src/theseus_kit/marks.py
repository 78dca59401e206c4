"""The marks on hooks: what declares one, what implements one, and what may be left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pluggy

PROJECT = "theseus_kit"
"""pluggy's project name, and the entry point group in which plugins are found."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's method as the implementation of the hook of the same name."""

_Hook = TypeVar("_Hook", bound=Callable[..., Any])
OPTIONAL = "theseus_kit_optional"


def optional(hook: _Hook) -> _Hook:
    """Mark a hook that a provider of its group may leave out; it then answers None."""
    setattr(hook, OPTIONAL, True)
    return hook
