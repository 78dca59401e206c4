"""The command line: ``theseus-kit …``."""

from theseus_kit.cli.main import main

__all__ = ["main"]
