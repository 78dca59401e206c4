"""The exit statuses of the command line, for every command the same."""

from __future__ import annotations

EXIT_USAGE = 2
EXIT_SOFTWARE = 70  # EX_SOFTWARE of sysexits(3)
EXIT_INTERRUPTED = 130
EXIT_TRAP = 134
"""What a shell reports of a process killed by SIGABRT, and what ``wasmtime run`` exits with."""
