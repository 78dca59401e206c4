"""What the commands that run a test suite on a platform have alike."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from theseus_kit.cli.options import assemble_platform, parse_options, plugin_names

if TYPE_CHECKING:
    from theseus_kit.runtime.artifacts import CompileOn
    from theseus_kit.testing.platform_choice import PlatformChoice

EXIT_FAILED = 1
"""A test of the suite failed."""

HostOption = Annotated[
    bool, typer.Option("--host", help="Run on the ordinary wasmtime package instead.")
]
CompileOption = Annotated[
    Literal["host", "guest"],
    typer.Option("--compile", help="Compile on the host's CPU, or inside the machine."),
]


def choose_platform(
    plugins: str, machine: str, option: list[str] | None, compile_on: CompileOn
) -> PlatformChoice:
    """Return what the processes are to assemble, which is tried here first: errors come once."""
    from theseus_kit.testing.platform_choice import PlatformChoice

    with assemble_platform(plugins, machine, option) as platform:
        print(platform.report, file=sys.stderr)
    return PlatformChoice(plugin_names(plugins), machine, parse_options(option or []), compile_on)


def worker_count(workers: int | None) -> int:
    """How many processes to run at once: as many as was said, or one for each processor."""
    return workers or len(os.sched_getaffinity(0))
