"""``theseus-kit needs IMAGE``: what an image asks of the platform, and who answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from theseus_kit.cli.options import (
    DEFAULT_PLUGINS,
    MachineOption,
    OptionsOption,
    PluginsOption,
    assemble_platform,
)
from theseus_kit.image import Needs


def needs_command(
    image: Annotated[
        Path | None,
        typer.Argument(help="An ELF shared object; the installed Wasmtime library if left out."),
    ] = None,
    plugins: PluginsOption = DEFAULT_PLUGINS,
    machine: MachineOption = "emulated",
    option: OptionsOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    missing: Annotated[bool, typer.Option("--missing", help="Only what nobody answers.")] = False,
) -> int:
    """List every symbol and system call an image needs, with the plugin that answers it."""
    with assemble_platform(plugins, machine, option) as platform:
        found = platform.needs(image)
    shown = found.only_missing() if missing else found
    if json:
        import json as json_module

        print(json_module.dumps(shown.as_json(), indent=2))
    else:
        show_needs(shown)
        print(summary(found))
    return 0


def show_needs(needs: Needs) -> None:
    """Print two tables: symbols, and system calls."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    symbols = Table("symbol", "version", "answered by", title=f"symbols of {needs.image}")
    for symbol in needs.symbols:
        answer = symbol.provider or ("(weak)" if symbol.weak else "[red]missing[/]")
        symbols.add_row(symbol.name, symbol.version or "", answer)
    console.print(symbols)
    calls = Table("system call", "number", "sites", "answered by", title="inline system calls")
    for call in needs.system_calls:
        number = "?" if call.number is None else str(call.number)
        calls.add_row(call.name, number, str(len(call.sites)), call.provider or "[red]missing[/]")
    console.print(calls)


def summary(needs: Needs) -> str:
    """How much is answered, in one line; what the image can do without does not count."""
    missing = needs.only_missing()
    symbols = sum(symbol.provider is not None or not symbol.weak for symbol in needs.symbols)
    calls = len(needs.system_calls)
    return (
        f"{needs.image}: {symbols - len(missing.symbols)} of {symbols} symbols and "
        f"{calls - len(missing.system_calls)} of {calls} system calls are answered"
    )
