"""The command line: ``theseus-kit …``."""

from __future__ import annotations

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status.

    A start makes many objects and no garbage, and ends with the process: without the collector
    looking through them, in between and at the end, a short run takes a fifth less time. Once a
    program is loaded the collector works as ever (:mod:`theseus_kit.cli.options`).
    """
    try:
        gc.disable()
        sys.unraisablehook = _keep_interrupt
        from theseus_kit.cli.lean_typer import import_typer

        import_typer()
        from theseus_kit.cli.commands import named_command, run

        at_once = named_command() == "assemble"
        status = run()
    except KeyboardInterrupt:  # where no command runs yet that would say so
        from theseus_kit.cli.exit_status import EXIT_INTERRUPTED

        print("theseus-kit: interrupted", file=sys.stderr)
        status, at_once = EXIT_INTERRUPTED, False
    from theseus_kit.cli.ending import end

    end(status, at_once=at_once)


def _keep_interrupt(dropped: sys.UnraisableHookArgs) -> None:
    """Have Ctrl-C come again where Python has nobody to raise it to: it has struck in a finaliser,
    or in a callback of ctypes'. A guest that loops would loop on, and a traceback be shown.

    The last step is no call: after one Python looks for signals, and would drop what it raised in
    here as well.
    """
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    from _thread import interrupt_main
    from itertools import starmap

    again = starmap(interrupt_main, ((),))
    _ = [*again]
