"""The assembly options every command shares, and how text becomes them."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from theseus_kit.assembly import BUNDLED, assemble
from theseus_kit.assembly.assemble import TASKS
from theseus_kit.errors import UsageError
from theseus_kit.platform import Platform
from theseus_kit.plugin import Plugin

PluginsOption = Annotated[
    str, typer.Option("--plugins", help="Plugins, in order, separated by commas.")
]
MachineOption = Annotated[
    str, typer.Option("--machine", help="The machine to run on: emulated or native.")
]
OptionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option", metavar="OWNER.NAME=VALUE", help="An option of a plugin or of the machine."
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Refuse a library that needs a missing symbol.")
]
WasmtimeOption = Annotated[
    Path | None, typer.Option(help="Directory of another wasmtime package to boot.")
]
DEFAULT_PLUGINS = ",".join(BUNDLED)


def parse_options(texts: list[str]) -> dict[str, dict[str, object]]:
    """Turn ``region.guard=true`` texts into options by owner. Raises UsageError."""
    options: dict[str, dict[str, object]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        owner, dot, name = path.rpartition(".")
        if not (equals and dot and owner and name):
            raise UsageError(f"--option {text!r}: write it as OWNER.NAME=VALUE")
        options.setdefault(owner, {})[name] = value
    return options


def plugin_names(text: str) -> tuple[str, ...]:
    """The names in a ``--plugins`` option, in order."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def assemble_platform(
    plugins: str,
    machine: str,
    options: list[str] | None,
    defaults: Mapping[str, Mapping[str, object]] | None = None,
    watchers: Iterable[type[Plugin]] = (),
    deterministic: int | None = None,
    *,
    own_thread: bool = False,
    is_started: bool = True,
) -> Platform:
    """Assemble what the shared options say.

    ``defaults`` are options, by owner, for the tasks and for those of these plugins and machines
    that are assembled; ``watchers`` are plugins beside those that were named. That is the end of
    the start, but for a caller who has more to do for it, and ends it by :func:`end_start`.
    """
    names = plugin_names(plugins)
    chosen = parse_options(options or [])
    for owner, values in (defaults or {}).items():
        if owner in (*names, machine, TASKS):
            chosen[owner] = {**values, **chosen.get(owner, {})}
    platform = assemble(
        [*watchers, *names],
        machine=machine,
        options=chosen,
        deterministic=deterministic,
        own_thread=own_thread,
    )
    if is_started:
        end_start()
    return platform


def end_start() -> None:
    """Let the collector work from here on, on what is made from here on."""
    gc.freeze()
    gc.enable()
