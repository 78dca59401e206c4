"""``theseus-kit inject --sweep``: fail each platform call of a run, and say what came of it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from theseus_kit.cli.options import (
    DEFAULT_PLUGINS,
    MachineOption,
    OptionsOption,
    PluginsOption,
    parse_options,
    plugin_names,
)
from theseus_kit.cli.progress import with_progress
from theseus_kit.errors import UsageError

if TYPE_CHECKING:
    from theseus_kit.testing.sweep import FaultResult, Target

EXIT_FOUND = 1
"""A run was aborted, hung or misbehaved."""
_NEEDED = ("trace", "inject")


def inject_command(
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE|PROGRAM.py [ARGUMENTS]",
            help="A .wat, .wasm or .cwasm file, or a Python program that imports wasmtime.",
        ),
    ],
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Fail each platform call once, one run each.")
    ] = False,
    plugins: PluginsOption = DEFAULT_PLUGINS,
    machine: MachineOption = "emulated",
    option: OptionsOption = None,
    invoke: Annotated[
        str | None, typer.Option(help="Call this exported function with the arguments.")
    ] = None,
    directories: Annotated[
        list[str] | None,
        typer.Option("--dir", metavar="HOST[::GUEST]", help="Give the program a directory."),
    ] = None,
    compile_on: Annotated[
        Literal["host", "guest"],
        typer.Option("--compile", help="Compile on the host's CPU, cached, or inside the machine."),
    ] = "host",
    deterministic: Annotated[
        int, typer.Option(metavar="SEED", help="The seed that makes all the runs alike.")
    ] = 0,
    calls: Annotated[
        str, typer.Option(metavar="PATTERNS", help="Fail only these calls: mmap, c.*, hook.path_*.")
    ] = "*",
    error: Annotated[
        str | None,
        typer.Option("--errno", metavar="NAME", help="Fail all with this; else what suits each."),
    ] = None,
    per_site: Annotated[
        int, typer.Option(min=1, metavar="N", help="Calls tried of each place in the guest.")
    ] = 1,
    per_phase: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Places tried of each call in each function of Wasmtime's API."
        ),
    ] = 4,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Time limit of one run.")
    ] = 30.0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at once; one a processor if left out.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write the report, in Markdown.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> int:
    """Make platform calls fail on purpose and say what became of the runtime.

    A traced run without a fault tells which calls are made and from where; each is then failed in
    a run of its own. The exit status is 1 if a run was aborted, hung or misbehaved. A single fault
    is the plugin's: --plugins inject,… --option inject.rules=mmap:3=ENOMEM.
    """
    if not sweep:
        raise UsageError(
            "inject needs --sweep; for chosen faults run the module with "
            "--plugins inject,… --option inject.rules=mmap:3=ENOMEM"
        )
    chosen = _target(
        target, plugins, machine, option, invoke, directories, compile_on, deterministic
    )
    from theseus_kit.testing.sweep import Sweep
    from theseus_kit.testing.sweep.report import as_json, in_order, markdown, print_table, totals

    if output is not None:
        _check_writable(output)
    count = jobs or len(os.sched_getaffinity(0))
    with Sweep(chosen, seconds=timeout, jobs=count) as running:
        print(f"running {chosen.path} without a fault …", file=sys.stderr)
        plan = running.plan(per_site=per_site, per_phase=per_phase, error=error, only=calls)
        results = in_order(
            plan, list(with_progress(running.results(plan), len(plan.faults), _described))
        )
    if output is not None:
        wasmtime, command = _wasmtime_version(), _command()
        output.write_text(markdown(chosen, plan, results, wasmtime=wasmtime, command=command))
    if json:
        import json as json_module

        print(json_module.dumps(as_json(chosen, plan, results), indent=2))
    else:
        print_table(results)
        found = ", ".join(f"{number} {v.value}" for v, number in totals(results).items())
        print(f"{len(results)} faults: {found}")
    return EXIT_FOUND if any(result.verdict.wants_backtrace for result in results) else 0


def _target(
    words: list[str],
    plugins: str,
    machine: str,
    option: list[str] | None,
    invoke: str | None,
    directories: list[str] | None,
    compile_on: str,
    seed: int,
) -> Target:
    from theseus_kit.assembly.catalogue import Catalogue
    from theseus_kit.assembly.check import check_plugins
    from theseus_kit.cli.directories import parse_directories
    from theseus_kit.cli.run import check_module
    from theseus_kit.machine import machine_names
    from theseus_kit.testing.sweep import Target

    check_module(words[0])
    parse_directories(directories or (), (), ())
    names = plugin_names(plugins)
    catalogue = Catalogue()
    check_plugins([catalogue.plugin(name) for name in (*_NEEDED, *names)], catalogue)
    if machine not in machine_names():
        known = " and ".join(machine_names())
        raise UsageError(f"no machine is named {machine!r}: there is {known}")
    return Target(
        words[0],
        tuple(words[1:]),
        invoke,
        machine,
        names,
        parse_options(option or []),
        tuple(directories or ()),
        compile_on,
        seed=seed,
    )


def _check_writable(file: Path) -> None:
    """Find out before the work is done."""
    if not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        raise UsageError(f"--output {file}: cannot be written: name another file")


def _described(result: FaultResult) -> str:
    return f"{result.fault.rule}: {result.verdict.value}"


def _wasmtime_version() -> str:
    from importlib.metadata import version

    return version("wasmtime")


def _command() -> str:
    return shlex.join(["theseus-kit", *sys.argv[1:]])
