"""``python -m theseus_kit.testing.wasi.process FD JOB``: what a test's own process does.

``JOB`` is JSON made by :mod:`.runner`; the answer, JSON too, is written to the descriptor ``FD``.
The program has this process's standard streams.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from theseus_kit.errors import TheseusKitError
from theseus_kit.testing.wasi.program import run_program

_LONGEST_PROBLEM = 4096
"""Characters: the answer must fit a pipe, which nobody reads before the process has ended."""


def main(descriptor: str, text: str) -> None:
    """Run one job and tell what became of it."""
    job = json.loads(text)
    # So that nothing the program writes to a stray descriptor can be taken for the answer.
    answer = os.dup(int(descriptor))
    status: int | None = None
    try:
        status, problem = _on_platform(job) if job["platform"] else _on_host(job)
    except TheseusKitError as error:
        problem = f"{type(error).__name__}: {error}"
    report = json.dumps({"status": status, "problem": problem[:_LONGEST_PROBLEM]})
    os.write(answer, report.encode())


def _on_host(job: Mapping[str, Any]) -> tuple[int, str]:
    import wasmtime

    return run_program(wasmtime, job["path"], job["arguments"], job["environment"], job["root"])


def _on_platform(job: Mapping[str, Any]) -> tuple[int, str]:
    from theseus_kit.assembly import assemble
    from theseus_kit.values.paths import Mount

    choice = job["platform"]
    with assemble(choice["plugins"], choice["machine"], choice["options"]) as platform:
        directory = str(Path(job["path"]).parent)
        platform.hooks.path_mount(mount=Mount(Path(directory), directory))
        if job["root"] is not None:
            platform.hooks.path_mount(mount=Mount(Path(job["root"]), job["root"], writable=True))
        runtime = platform.boot()
        return run_program(
            runtime.wasmtime,
            job["path"],
            job["arguments"],
            job["environment"],
            job["root"],
            engine=runtime.engine,
            load=lambda path: runtime.load_module(path, compile_on=choice["compile_on"]),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
