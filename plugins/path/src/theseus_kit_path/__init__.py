"""Paths and the file namespace they name, for theseus-kit."""

from theseus_kit_path.components import (
    Ancestors,
    Component,
    ComponentKind,
    Components,
    Iter,
    Prefix,
    PrefixComponent,
    PrefixKind,
)
from theseus_kit_path.lookup import DirEntry
from theseus_kit_path.plugin import PathPlugin, TheseusPathPlugin
from theseus_kit_path.std_path import Path, PathBuf, StripPrefixError
from theseus_kit_path.theseus_path import TheseusPath, TheseusPathBuf

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
