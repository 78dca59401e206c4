"""The exit statuses of the command line, for every command the same.

A program's own status is passed on. What ends it otherwise has the status it has under
``wasmtime run``, and time limits that of timeout(1).
"""

from __future__ import annotations

EXIT_FAILURE = 1
"""An error of Wasmtime's that is no trap; a component whose ``run`` answers an error; results that
cannot be written."""
EXIT_USAGE = 2
EXIT_SOFTWARE = 70  # EX_SOFTWARE of sysexits(3)
EXIT_TIMEOUT = 124
"""What timeout(1) exits with where the command took too long."""
EXIT_INTERRUPTED = 130
EXIT_TRAP = 134
"""What a shell reports of a process killed by SIGABRT, and what ``wasmtime run`` exits with."""
LIMITS = {"fuel": EXIT_TRAP, "epoch_timeout": EXIT_TRAP, "timeout": EXIT_TIMEOUT}
"""By the limit that was reached. Fuel and the epoch end a program by a trap of Wasmtime's."""
