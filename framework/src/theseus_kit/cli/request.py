"""From the options of ``theseus-kit assemble`` to a :class:`~theseus_kit.cli.run.Run`.

Whatever can be found wrong on the host is found here, before a machine is started.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from theseus_kit.cli.quantities import check_seconds, parse_size
from theseus_kit.cli.run import Run, check_module
from theseus_kit.errors import UsageError
from theseus_kit.values.programs import Limits

if TYPE_CHECKING:
    from theseus_kit.cli.directories import Directory


def make_run(
    module: Sequence[str],
    *,
    invoke: str | None,
    argv0: str | None,
    environment: Sequence[str],
    directories: tuple[Sequence[str], Sequence[str], Sequence[str]],
    limits: tuple[int | None, float | None, float | None, str | None],
    config: Sequence[str],
    compile_on: Literal["host", "guest"],
    cache: Path | None,
) -> Run:
    """Make the request; raise UsageError for the first option that cannot be met."""
    check_module(module[0])
    fuel, epoch_timeout, timeout, memory = limits
    return Run(
        module[0],
        module[1:] if module[1:2] != ["--"] else module[2:],
        invoke,
        argv0,
        _environment(environment),
        _directories(*directories),
        Limits(
            fuel,
            check_seconds("--epoch-timeout", epoch_timeout),
            check_seconds("--timeout", timeout),
            None if memory is None else parse_size("--max-memory", memory),
        ),
        dict(_setting(text) for text in config),
        compile_on,
        cache,
    )


def _directories(*texts: Sequence[str]) -> list[Directory]:
    if not any(texts):
        return []
    from theseus_kit.cli.directories import parse_directories  # most programs are given none

    return parse_directories(*texts)


def _environment(texts: Sequence[str]) -> dict[str, str]:
    """``NAME`` alone passes the host's variable on, where it is set, as under wasmtime run."""
    variables: dict[str, str] = {}
    for text in texts:
        name, sets, value = text.partition("=")
        if not name:
            raise UsageError(f"--env {text}: write it as NAME=VALUE, or NAME to pass the host's on")
        if sets:
            variables[name] = value
        elif name in os.environ:
            variables[name] = os.environ[name]
    return variables


def _setting(text: str) -> tuple[str, bool | int | str]:
    name, sets, value = text.partition("=")
    if not sets or value in ("true", "false"):
        return name, value != "false"
    return name, int(value) if value.isdecimal() else value
