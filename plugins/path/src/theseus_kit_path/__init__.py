"""Paths and the file namespace they name, for theseus-kit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theseus_kit_path.components import (
    Ancestors,
    Component,
    ComponentKind,
    Components,
    Iter,
)
from theseus_kit_path.lookup import DirEntry
from theseus_kit_path.plugin import PathPlugin
from theseus_kit_path.std_path import Path, PathBuf, StripPrefixError

if TYPE_CHECKING:
    from theseus_kit_path.prefixes import Prefix, PrefixComponent, PrefixKind
    from theseus_kit_path.theseus_path import TheseusPath, TheseusPathBuf
    from theseus_kit_path.theseus_plugin import TheseusPathPlugin

__all__ = [
    "Ancestors",
    "Component",
    "ComponentKind",
    "Components",
    "DirEntry",
    "Iter",
    "Path",
    "PathBuf",
    "PathPlugin",
    "Prefix",
    "PrefixComponent",
    "PrefixKind",
    "StripPrefixError",
    "TheseusPath",
    "TheseusPathBuf",
    "TheseusPathPlugin",
]


def __getattr__(name: str) -> Any:
    """Import what few programs ask for where it is wanted: every start imports this package."""
    if name == "TheseusPathPlugin":
        from theseus_kit_path.theseus_plugin import TheseusPathPlugin

        return TheseusPathPlugin
    if name in ("TheseusPath", "TheseusPathBuf"):
        from theseus_kit_path import theseus_path

        return getattr(theseus_path, name)
    if name in ("Prefix", "PrefixComponent", "PrefixKind"):
        from theseus_kit_path import prefixes

        return getattr(prefixes, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
