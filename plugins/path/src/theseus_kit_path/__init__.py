"""Paths and the file namespace they name, for theseus-kit."""

from theseus_kit_path.plugin import PathPlugin
from theseus_kit_path.posix_path import Path

__all__ = ["Path", "PathPlugin"]
