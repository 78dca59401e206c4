"""``theseus-kit assemble``: assemble a platform, show it, run a module on it.

Without ``from __future__ import annotations``: typer would compile every option's text, twice.
"""

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from theseus_kit.cli.exit_status import EXIT_TRAP
from theseus_kit.cli.options import (
    DEFAULT_PLUGINS,
    MachineOption,
    OptionsOption,
    PluginsOption,
    StrictOption,
    WasmtimeOption,
    assemble_platform,
)
from theseus_kit.errors import GuestKilled

if TYPE_CHECKING:
    from theseus_kit.cli.deaths import Reporter
    from theseus_kit.cli.run import Run
    from theseus_kit.platform import Platform
    from theseus_kit.plugin import Plugin
    from theseus_kit.postmortem.watch import ExceptionWatch


def assemble_command(
    module: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODULE [ARGUMENTS]",
            help="A .wat, .wasm or .cwasm file and what it is given.",
        ),
    ] = None,
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
    read_only_directories: Annotated[
        list[str] | None,
        typer.Option("--dir-ro", metavar="HOST[::GUEST]", help="Give it one it cannot change."),
    ] = None,
    memory_directories: Annotated[
        list[str] | None,
        typer.Option(
            "--memfs",
            metavar="GUEST[=LIMIT]",
            help="Give it an empty one in memory, of 64MiB or the limit.",
        ),
    ] = None,
    environment: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="NAME[=VALUE]",
            help="Set an environment variable of the program's, or pass the host's on.",
        ),
    ] = None,
    argv0: Annotated[
        str | None, typer.Option(help="What the program is called, instead of its file's name.")
    ] = None,
    fuel: Annotated[
        int | None, typer.Option(min=0, help="End the program after so many units of fuel.")
    ] = None,
    epoch_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="End it by a trap after so long, at a loop or a function."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="End it after so long, wherever it is."),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="Let each of its memories grow so far: 64MiB."),
    ] = None,
    max_open_files: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Let it have so many files open.")
    ] = None,
    max_tasks: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Let the guest have so many threads, Wasmtime's too."
        ),
    ] = None,
    deterministic: Annotated[
        int | None,
        typer.Option(
            metavar="SEED", help="Run the same each time: a virtual clock, seeded randomness."
        ),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]", help="A property of Wasmtime's Config: shared_memory=true."
        ),
    ] = None,
    compile_on: Annotated[
        Literal["host", "guest"],
        typer.Option("--compile", help="Compile on the host's CPU, cached, or inside the machine."),
    ] = "host",
    cache: Annotated[
        Path | None, typer.Option(help="Keep compiled modules here instead of the user's cache.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no compiled modules.")] = False,
    strict: StrictOption = False,
    wasmtime: WasmtimeOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not show the assembly.")] = False,
    backtrace: Annotated[
        Literal["wasm", "full"],
        typer.Option(help="Of a trap show WebAssembly's frames, or all of the machine's too."),
    ] = "wasm",
    core: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write an ELF core file if the run ends by a trap."),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Without a module: print the report as JSON. With one: print a trap as JSON, "
            "the last line of stderr.",
        ),
    ] = False,
) -> int:
    """Assemble a platform, show it on stderr, and run a module on it.

    Options come before the module; everything after it belongs to it. Without a module the
    assembly is checked against what the Wasmtime library needs.
    """
    run = None
    if module:
        from theseus_kit.cli.request import make_run

        run = make_run(
            module,
            invoke=invoke,
            argv0=argv0,
            environment=environment or [],
            directories=(directories or [], read_only_directories or [], memory_directories or []),
            limits=(fuel, epoch_timeout, timeout, max_memory),
            config=config or [],
            compile_on=compile_on,
            cache=None if no_cache else cache or _default_cache(),
        )
    watched = bool(module) and (backtrace == "full" or json or core is not None)
    watchers = _watchers() if watched else []
    kept: list[object] = []
    with assemble_platform(
        plugins,
        machine,
        option,
        {
            **_bounds(max_open_files, max_tasks),
            **(_prepared(run) if run is not None and wasmtime is None else {}),
        },
        watchers=watchers,
        deterministic=deterministic,
        is_started=False,
    ) as platform:
        if not quiet:
            print(platform.report, file=sys.stderr)
        if run is None:
            return _report(platform, wasmtime, json)
        if core is not None:
            _watch_of(platform).write_cores(platform, core)
        from theseus_kit.cli.run import run_module

        def reporter() -> "Reporter":
            from theseus_kit.cli.deaths import Reporter

            watch = _watch_of(platform) if watched else None
            return Reporter(platform, watch, backtrace, as_json=json, core=core)

        try:
            return run_module(
                platform,
                run,
                strict=strict,
                wasmtime=wasmtime,
                report=lambda error: reporter().error(error),
                kept=kept,
            )
        except GuestKilled as killed:
            limit = _limit_of(killed, max_open_files, max_tasks)
            if limit:
                print(f"theseus-kit: Wasmtime itself needs more than {limit}", file=sys.stderr)
            else:
                reporter().killed(killed)
            return EXIT_TRAP


def _limit_of(killed: GuestKilled, open_files: int | None, tasks: int | None) -> str:
    """The option that Wasmtime could not live with; empty if it died of something else.

    Where it gets no descriptor or thread for itself it panics, with std's error in the message.
    """
    message = str(killed.reason)
    bounds = ((errno.EMFILE, "--max-open-files", open_files), (errno.EAGAIN, "--max-tasks", tasks))
    for number, option, bound in bounds:
        signs = (f"Os {{ code: {number},", f"(os error {number})")
        if bound is not None and any(sign in message for sign in signs):
            return f"{option} {bound}"
    return ""


def _bounds(open_files: int | None, tasks: int | None) -> dict[str, dict[str, object]]:
    """What bounds the guest in the bundled C library and in the scheduler, as their options."""
    bounds: dict[str, dict[str, object]] = {}
    if open_files is not None:
        bounds["tlibc"] = {"max_open_files": open_files}
    if tasks is not None:
        bounds["tasks"] = {"max_tasks": tasks}
    return bounds


def _prepared(run: "Run") -> dict[str, dict[str, object]]:
    """Have the emulated machine keep, beside compiled modules, which code a start needs."""
    if run.cache is None:
        return {}
    return {"emulated": {"blocks": str(run.cache / "emulated.blocks")}}


def _watchers() -> "list[type[Plugin]]":
    from theseus_kit.postmortem.watch import ExceptionWatch

    return [ExceptionWatch]


def _watch_of(platform: "Platform") -> "ExceptionWatch":
    """The plugin that looks at exceptions on a platform assembled with it."""
    from theseus_kit.postmortem.watch import ExceptionWatch

    watch = platform.plugin(ExceptionWatch.description.name)
    assert isinstance(watch, ExceptionWatch)
    return watch


def _default_cache() -> Path:
    """Where the XDG base directory specification keeps what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "theseus-kit"


def _report(platform: "Platform", wasmtime: Path | None, json: bool) -> int:
    """Say what the library needs that the assembly lacks."""
    from theseus_kit.cli.needs import summary
    from theseus_kit.runtime.wheel import find_wheel

    needs = platform.needs(find_wheel(wasmtime).library)
    if json:
        import json as json_module

        report = {**platform.report.as_json(), "needs": needs.as_json()}
        print(json_module.dumps(report, indent=2))
        return 0
    print(summary(needs))
    missing = needs.only_missing()
    if missing.symbols:
        print("symbols without an answer:", ", ".join(need.name for need in missing.symbols))
    if missing.system_calls:
        print("system calls without:", ", ".join(need.name for need in missing.system_calls))
    return 0
