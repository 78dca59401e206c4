"""The command line: ``theseus-kit …``."""

from __future__ import annotations

import gc
import sys

from theseus_kit.cli.exit_status import EXIT_FAILURE

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status.

    A start makes many objects and no garbage, and ends with the process: without the collector
    looking through them, in between and at the end, a short run takes a fifth less time. Once a
    platform is assembled the collector works as ever (:mod:`theseus_kit.cli.options`).
    """
    gc.disable()
    from theseus_kit.cli.commands import run

    status = run()
    status = _finish_output(status)
    gc.freeze()
    sys.exit(status)


def _finish_output(status: int) -> int:
    """Write out what is left of the results, while there is somebody to be told of an error.

    A reader that has gone (``| head``) wants no more, and no complaint either.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # it was closed when the process started
            continue
        try:
            stream.flush()
        except OSError as error:
            import os

            # The interpreter flushes again at its end, and would show a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if not isinstance(error, BrokenPipeError):
                print(f"theseus-kit: cannot write the results: {error.strerror}", file=sys.stderr)
            status = status or EXIT_FAILURE
    return status
