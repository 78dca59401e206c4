"""How the command line ends its process.

The interpreter's own end takes every object apart, one after the other, for memory that goes with
the process anyway: a twentieth of a short run's time. A run leaves it out where nobody can tell.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from typing import NoReturn

from theseus_kit.cli.exit_status import EXIT_FAILURE


def end(status: int, *, at_once: bool = False) -> NoReturn:
    """Write out what is left of the results and exit.

    With ``at_once`` the interpreter is not taken apart. Exit handlers are called all the same;
    and where another thread is left to wait for, or somebody watches the process from inside, it
    ends as any does.
    """
    if at_once and threading.active_count() == 1 and not _is_watched():
        atexit._run_exitfuncs()  # what the interpreter calls first
        os._exit(_finish_output(status))
    status = _finish_output(status)
    gc.freeze()
    sys.exit(status)


def _is_watched() -> bool:
    """Whether a debugger, a profiler or a developer may want the interpreter's own end."""
    if sys.flags.inspect or sys.flags.dev_mode or sys.gettrace() or sys.getprofile():
        return True
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    return monitoring is not None and any(monitoring.get_tool(tool) for tool in range(6))


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
            # The interpreter flushes again at its end, and would show a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if not isinstance(error, BrokenPipeError):
                print(f"theseus-kit: cannot write the results: {error.strerror}", file=sys.stderr)
            status = status or EXIT_FAILURE
    return status
