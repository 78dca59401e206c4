"""``theseus-kit plugins``: what is installed, what is broken, and what can be set."""

from __future__ import annotations

from dataclasses import MISSING, fields
from enum import Enum
from typing import Annotated, Any, get_type_hints

import typer

from theseus_kit.assembly.assemble import TASKS
from theseus_kit.assembly.catalogue import Catalogue, Installed
from theseus_kit.assembly.options import type_name
from theseus_kit.machine import machine_names, machine_options
from theseus_kit.task.options import TaskOptions

_LOG_WIDTH = 120
"""Columns of the tables where they are not shown on a terminal."""


def plugins_command(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List the installed plugins and the groups they provide, and every option there is."""
    plugins = [_describe(installed) for installed in Catalogue()]
    machines = [
        {"name": name, "options": _options(machine_options(name))} for name in machine_names()
    ]
    tasks = {"name": TASKS, "options": _options(TaskOptions)}
    if json:
        import json as json_module

        found = {"plugins": plugins, "machines": machines, "tasks": tasks}
        print(json_module.dumps(found, indent=2))
    else:
        _show(plugins, [*machines, tasks])
    return 0


def _describe(installed: Installed) -> dict[str, Any]:
    about: dict[str, Any] = {"name": installed.name, "distribution": installed.distribution}
    description = installed.description
    if description is None:
        return {**about, "problem": installed.problem, "options": []}
    return {
        **about,
        "version": description.version,
        "summary": description.summary,
        "provides": sorted(group.value for group in description.provides),
        "needs": sorted(ability.value for ability in description.needs),
        "options": _options(description.options),
    }


def _options(options: type[Any]) -> list[dict[str, object]]:
    hints = get_type_hints(options)
    return [
        {
            "name": field.name,
            "type": type_name(hints[field.name]),
            "default": None if field.default is MISSING else _plain(field.default),
            "help": field.metadata.get("help", ""),
        }
        for field in fields(options)
    ]


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        value = value.value  # as it is written in an option
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _show(plugins: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=_LOG_WIDTH)
    # Names are whole however narrow the terminal: they are there to be copied.
    table = Table(Column("plugin", no_wrap=True), "version", Column("provides", no_wrap=True), "")
    for about in plugins:
        if "problem" in about:
            table.add_row(
                about["name"], "", "[red]broken[/]", f"{about['distribution']}: {about['problem']}"
            )
        else:
            provides = "\n".join(about["provides"]) or "(wraps hooks)"
            table.add_row(about["name"], about["version"], provides, about["summary"])
    console.print(table)
    options = Table(Column("option", no_wrap=True), "")
    for owner in (*plugins, *others):
        for option in owner["options"]:
            name = f"{owner['name']}.{option['name']}"
            default = f"; {option['default']}" if option["default"] not in (None, "") else ""
            options.add_row(name, f"{option['help']} ({option['type']}{default})")
    console.print(options)
