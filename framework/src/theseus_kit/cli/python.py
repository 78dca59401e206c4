"""``theseus-kit python``: run a Python program whose ``wasmtime`` is an assembled runtime.

The program is the host's, and sees what the host shows it. So does the platform it runs on, unless
it is told otherwise: the host's files at their own paths, environment and working directory.
"""

from __future__ import annotations

import atexit
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from theseus_kit.cli.exit_status import EXIT_INTERRUPTED
from theseus_kit.cli.options import (
    DEFAULT_PLUGINS,
    MachineOption,
    OptionsOption,
    PluginsOption,
    StrictOption,
    WasmtimeOption,
    assemble_platform,
)
from theseus_kit.errors import GuestError, UsageError
from theseus_kit.values.paths import Mount

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_UNCAUGHT = 1
"""What Python exits with after an error that the program did not catch."""

_RUNPY = "<frozen runpy>"
"""The code's file name of the standard module that runs the program."""


def python_command(
    program: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCRIPT|-m MODULE [ARGUMENTS]",
            help="A script, a directory or archive with a __main__.py, or a module's name.",
        ),
    ] = None,
    plugins: PluginsOption = DEFAULT_PLUGINS,
    machine: MachineOption = "emulated",
    option: OptionsOption = None,
    directory: Annotated[
        list[str] | None,
        typer.Option(
            "--dir",
            metavar="HOST[::GUEST]",
            help="Show the runtime this host directory instead of all the host's files.",
        ),
    ] = None,
    deterministic: Annotated[
        int | None,
        typer.Option(
            metavar="SEED", help="Run the same each time: a virtual clock, seeded randomness."
        ),
    ] = None,
    own_thread: Annotated[
        bool,
        typer.Option(
            "--own-thread",
            help="Make all calls on one thread of the runtime's own, whichever they come from.",
        ),
    ] = False,
    strict: StrictOption = False,
    wasmtime: WasmtimeOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the assembly.")] = False,
) -> int:
    """Run a Python program in which ``import wasmtime`` means the assembled runtime.

    Options come before the program; everything after it belongs to it. The program's errors and
    its exit status are shown as Python shows them.
    """
    run = _program(program or [])
    resources = ExitStack()
    # Not when the program's last line has run: its threads and exit handlers run after that.
    atexit.register(resources.close)
    platform = resources.enter_context(
        assemble_platform(
            *(plugins, machine, option, {"tlibc": _host_surroundings()}),
            deterministic=deterministic,
            own_thread=own_thread,
        )
    )
    if verbose:
        print(platform.report, file=sys.stderr)
    for mount in _mounts(directory or ["/"]):
        platform.hooks.path_mount(mount=mount)
    runtime = platform.boot(wasmtime, strict=strict)
    resources.enter_context(runtime.standing_in())
    return _run(run)


def _host_surroundings() -> dict[str, object]:
    """Options of the bundled C library that pass on what the program has from the host."""
    return {"environment": "*", "directory": str(Path.cwd())}


def _mounts(directories: list[str]) -> list[Mount]:
    """Turn ``HOST[::GUEST]`` texts into writable mounts. Raises UsageError."""
    mounts = []
    for text in directories:
        host, _, guest = text.partition("::")
        source = Path(host).absolute()
        if not source.is_dir():
            raise UsageError(f"--dir {text}: {host} is no directory")
        target = guest or str(source)
        if not target.startswith("/"):
            raise UsageError(f"--dir {text}: {guest} must be an absolute path")
        mounts.append(Mount(source, target, writable=True))
    return mounts


def _program(words: list[str]) -> Callable[[], Any]:
    """Return what runs the program, once it is called. Raises UsageError if there is none."""
    first = words[0] if words else ""
    if first == "-m":
        if len(words) < 2:
            raise UsageError("-m needs the name of a module to run")
        return lambda: _run_module(words[1], words[2:])
    if first.startswith("-"):
        raise UsageError(f"no option {first}: see theseus-kit python --help")
    if not first:
        raise UsageError("name a script to run, or a module with -m")
    if not Path(first).exists():
        raise UsageError(f"{first}: no such file or directory")
    return lambda: _run_script(first, words[1:])


def _run_script(script: str, arguments: list[str]) -> None:
    from runpy import run_path

    sys.argv[:] = [script, *arguments]
    if Path(script).is_file():
        _put_first_on_path(str(Path(script).resolve().parent))
    run_path(script, run_name="__main__")


def _run_module(name: str, arguments: list[str]) -> None:
    from runpy import run_module

    sys.argv[:] = ["-m", *arguments]  # runpy puts the module's file in place of the -m
    _put_first_on_path(str(Path.cwd()))
    run_module(name, run_name="__main__", alter_sys=True)


def _put_first_on_path(directory: str) -> None:
    """Do what the interpreter does for a program: its folder takes the place of this one's."""
    if not sys.flags.safe_path:
        sys.path[0] = directory


def _run(program: Callable[[], Any]) -> int:
    """Run it; show an error that it did not catch as Python would, and return the status.

    What became of the guest (GuestError) is shown that way and raised again: it says more.
    """
    try:
        program()
    except SystemExit:
        raise
    except BaseException as error:  # the program's own, whatever it is
        own = _own_frames(error.__traceback__)
        if own is None and isinstance(error, ImportError):
            raise UsageError(str(error)) from None  # runpy found nothing to run
        sys.excepthook(type(error), error.with_traceback(own), own)
        if isinstance(error, GuestError):
            raise
        return EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_UNCAUGHT
    return 0


def _own_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out the frames that led to the program."""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file not in (__file__, _RUNPY):
            return traceback
        traceback = traceback.tb_next
    return None
