"""Where a trace goes: a file or stderr, each piece written at once, by one system call.

Nothing is kept back: what was traced is there however the process ends. A reader that goes away
(``| head``) ends the trace, not the run.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

from theseus_kit import UsageError


class Output:
    """An open file. ``write`` is replaced by nothing at all once nobody reads any more."""

    def __init__(self, file: Path | None) -> None:
        try:
            if file is None:
                self._descriptor = os.dup(2)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(file, flags, 0o666)
        except OSError as error:
            where = "stderr" if file is None else str(file)
            raise UsageError(
                f"plugin 'trace' cannot write {where}: {error.strerror}: "
                "name another file with the option trace.file"
            ) from error
        self._name = "stderr" if file is None else str(file)
        self.is_open = True

    def write(self, text: str) -> None:
        """Write all of a text now."""
        if not self.is_open:
            return
        data = text.encode("utf-8", "backslashreplace")
        try:
            written = os.write(self._descriptor, data)
            if written != len(data):
                self._write_rest(data[written:])
        except BlockingIOError:
            self._write_rest(data)
        except OSError as error:
            self._give_up(error)

    def _write_rest(self, data: bytes) -> None:
        """Write what a pipe without room did not take."""
        while data and self.is_open:
            select.select([], [self._descriptor], [])
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                continue
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.close()
        if not isinstance(error, BrokenPipeError):
            print(
                f"theseus-kit: the trace ends here: {self._name}: {error.strerror}",
                file=sys.stderr,
            )

    def close(self) -> None:
        """Write no more."""
        if self.is_open:
            self.is_open = False
            os.close(self._descriptor)
