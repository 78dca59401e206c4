"""The command line: ``theseus-kit …``."""

from __future__ import annotations

import gc

__all__ = ["main"]

_SIGINT = 2
"""signal.SIGINT, without the enumeration that its module makes."""


def main() -> None:
    """Run the command line and exit with its status.

    A start makes many objects and no garbage, and ends with the process: without the collector
    looking through them, in between and at the end, a short run takes a fifth less time. Once a
    program is loaded the collector works as ever (:mod:`theseus_kit.cli.options`).
    """
    gc.disable()
    from theseus_kit.cli.lean_typer import import_typer

    import_typer()
    from theseus_kit.cli.commands import named_command, run
    from theseus_kit.cli.ending import end

    status = run()
    end(status, at_once=named_command() == "assemble")
