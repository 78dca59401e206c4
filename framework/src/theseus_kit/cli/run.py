"""Running a module or program: mount what it is given, load it, run it, print what it returns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from theseus_kit.assembly.catalogue import closest
from theseus_kit.cli.exit_status import EXIT_FAILURE, EXIT_TRAP, LIMITS
from theseus_kit.cli.options import end_start
from theseus_kit.errors import LimitReachedError, ModuleError
from theseus_kit.values.paths import Mount
from theseus_kit.values.programs import Limits, Surroundings
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.cli.directories import Directory
    from theseus_kit.platform import Platform
    from theseus_kit.runtime.program import Program

MODULE_MOUNT = "/module"
CACHE_MOUNT = "/cache"


class Run(NamedTuple):
    """What the command line asks to be run, and how."""

    module: str
    arguments: Sequence[str]
    invoke: str | None = None
    name: str | None = None
    environment: Mapping[str, str] = {}
    directories: Sequence[Directory] = ()
    limits: Limits = Limits()
    settings: Mapping[str, bool | int | str] = {}
    compile_on: Literal["host", "guest"] = "host"
    cache: Path | None = None


def check_module(module: str) -> None:
    """Raise ModuleError unless a module's path names a file; asked before anything is started."""
    source = Path(module)
    if not source.exists():
        raise ModuleError(f"{module}: no such file")
    if source.is_dir():
        raise ModuleError(f"{module} is a directory: name a .wat, .wasm or .cwasm file")


def run_module(
    platform: Platform,
    run: Run,
    *,
    strict: bool,
    wasmtime: Path | None,
    report: Callable[[Exception], None],
    kept: list[object] | None = None,
) -> int:
    """Run a module's export (``run.invoke``) or the program it is; return the exit status.

    ``report`` is told of the Trap or WasmtimeError that ends the call. A killed guest's error is
    the caller's.

    ``kept`` gets what is to be dropped after the platform is closed: the guest ends with that, and
    deleting a store and an engine just before takes as long as running a small module. A
    component's is dropped here: its writes may still be under way.

    Nothing of the host is visible to the guest but the module, the cache of compiled modules and
    the directories it is given. Raises ModuleError for a module, export or argument that cannot
    be run as asked.
    """
    from theseus_kit.runtime.program import ModuleProgram

    path = _mount(platform, run)
    runtime = platform.boot(wasmtime, strict=strict)
    api = runtime.wasmtime
    arguments = run.arguments if run.invoke is None else ()
    try:
        program = runtime.program(
            path,
            Surroundings(
                arguments,
                run.name,
                run.environment,
                [directory.preopen for directory in run.directories],
            ),
            run.limits,
            settings=run.settings,
            compile_on=run.compile_on,
            cache=None if run.cache is None else CACHE_MOUNT,
            display_name=run.module,
        )
        if kept is not None and isinstance(program, ModuleProgram):
            kept.append(program)
        end_start()
        if run.invoke is None:
            return _run_command(program)
        _invoke(program, run.invoke, run.arguments)
    except api.ExitTrap as exit_:
        return int(exit_.code)
    except LimitReachedError as error:
        print(f"theseus-kit: {error}", file=sys.stderr)
        return LIMITS[error.limit]
    except api.Trap as error:
        report(error)
        return EXIT_TRAP
    except api.WasmtimeError as error:
        # Only a trap has frames; another error of a call is the user's to read all the same.
        report(error)
        return EXIT_FAILURE
    return 0


def _mount(platform: Platform, run: Run) -> str:
    """Make all that is to be seen visible; return the module's path there."""
    source = Path(run.module)
    target = f"{MODULE_MOUNT}/{source.name}"
    platform.hooks.path_mount(mount=Mount(source.absolute(), target))
    for directory in run.directories:
        platform.hooks.path_mount(mount=directory.mount)
    if run.cache is not None:
        try:
            run.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModuleError(
                f"cannot keep compiled modules in {run.cache}: {error.strerror}: "
                "name another directory with --cache, or use --no-cache"
            ) from error
        platform.hooks.path_mount(mount=Mount(run.cache.absolute(), CACHE_MOUNT, writable=True))
    return target


def _run_command(program: Program) -> int:
    from theseus_kit.runtime.program import ENTRIES

    functions = program.functions()
    if functions and not functions.keys() & ENTRIES:
        raise ModuleError(
            f"{program.name} exports no _start: name one with --invoke{closest('', functions)}"
        )
    return program.run()


def _invoke(program: Program, name: str, arguments: Sequence[str]) -> None:
    from theseus_kit.cli.wasm_values import parse_arguments

    type_ = program.function_type(name)
    values = parse_arguments(name, [str(kind) for kind in type_.params], arguments)
    _print_results([str(kind) for kind in type_.results], program.call(name, *values))


def _print_results(types: Sequence[str], results: Any) -> None:
    if not types:
        return
    from theseus_kit.cli.wasm_values import format_result

    values = results if len(types) > 1 else [results]
    for type_, value in zip(types, values, strict=True):
        print(format_result(type_, value))
