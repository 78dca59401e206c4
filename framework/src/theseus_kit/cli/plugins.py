"""``theseus-kit plugins``: what is installed, and what is broken."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

import typer

from theseus_kit.assembly.catalogue import Catalogue, Installed
from theseus_kit.assembly.options import type_name


def plugins_command(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List the installed plugins, the groups they provide and their options."""
    found = [_describe(installed) for installed in Catalogue()]
    if json:
        import json as json_module

        print(json_module.dumps(found, indent=2))
    else:
        _show(found)
    return 0


def _describe(installed: Installed) -> dict[str, Any]:
    about: dict[str, Any] = {"name": installed.name, "distribution": installed.distribution}
    description = installed.description
    if description is None:
        return {**about, "problem": installed.problem}
    hints = get_type_hints(description.options)
    return {
        **about,
        "version": description.version,
        "summary": description.summary,
        "provides": sorted(group.value for group in description.provides),
        "needs": sorted(ability.value for ability in description.needs),
        "options": [
            {
                "name": field.name,
                "type": type_name(hints[field.name]),
                "default": None if field.default is MISSING else _plain(field.default),
                "help": field.metadata.get("help", ""),
            }
            for field in fields(description.options)
        ],
    }


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _show(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("plugin", "version", "provides", "options", "distribution")
    for about in found:
        if "problem" in about:
            table.add_row(
                about["name"], "", f"[red]broken[/]: {about['problem']}", "", about["distribution"]
            )
            continue
        options = "\n".join(f"{o['name']}={o['default']}: {o['help']}" for o in about["options"])
        table.add_row(
            about["name"],
            about["version"],
            "\n".join(about["provides"]) or "(wraps hooks)",
            options,
            about["distribution"],
        )
    Console().print(table)
