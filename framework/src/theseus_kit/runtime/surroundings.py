"""What a program sees, as a ``WasiConfig``: arguments, environment, directories, streams.

Wasmtime opens the directories through the platform, so they are paths of the platform's namespace.
What it would refuse without a word is checked here first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import PlatformError, UsageError
from theseus_kit.values.paths import FileKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from theseus_kit.platform import Platform
    from theseus_kit.values.programs import Output, Surroundings


def wasi_config(platform: Platform, api: Any, name: str, surroundings: Surroundings) -> Any:
    """Make the ``WasiConfig`` of a program called ``name``.

    Raises UsageError for a text that WASI cannot hold and a directory or file that is not there.
    """
    wasi = api.WasiConfig()
    wasi.argv = _arguments([name, *surroundings.arguments])
    wasi.env = _environment(surroundings.environment)
    if surroundings.stdin is None:
        wasi.inherit_stdin()
    else:
        _check(platform, surroundings.stdin, FileKind.FILE)
        wasi.stdin_file = surroundings.stdin
    if surroundings.stdout is None:
        wasi.inherit_stdout()
    else:
        wasi.stdout_custom = _whole(surroundings.stdout)
    if surroundings.stderr is None:
        wasi.inherit_stderr()
    else:
        wasi.stderr_custom = _whole(surroundings.stderr)
    for preopen in surroundings.directories:
        _check(platform, preopen.directory, FileKind.DIRECTORY)
        try:
            wasi.preopen_dir(preopen.directory, preopen.name, preopen.writable)
        except api.WasmtimeError as error:  # which does not say why
            raise UsageError(
                f"{preopen.name}: Wasmtime cannot open the directory {preopen.directory}"
            ) from error
    return wasi


def _check(platform: Platform, path: str, kind: FileKind) -> None:
    hooks = platform.hooks
    try:
        status = hooks.path_status(path=hooks.path_parse(text=path), follow=True)
    except PlatformError as error:
        problem = os.strerror(error.errno)
        raise UsageError(f"{path}: {problem}: mount it before the program runs") from error
    if status.kind is not kind:
        raise UsageError(f"{path} is a {status.kind.value}, where a {kind.value} must be named")


def _arguments(arguments: Sequence[str]) -> Sequence[str]:
    for position, argument in enumerate(arguments):
        problem = _problem(argument)
        if problem:
            raise UsageError(f"argument {position} of the program, {argument!r}, {problem}")
    return arguments


def _environment(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    for name, value in environment.items():
        problem = "needs a name without =" if not name or "=" in name else ""
        problem = problem or _problem(name) or _problem(value)
        if problem:
            raise UsageError(f"environment variable {name!r} {problem}")
    return list(environment.items())


def _problem(text: str) -> str:
    """Why WASI, whose texts are UTF-8 and end with a zero byte, cannot take one; "" if it can."""
    if "\0" in text:
        return "contains a zero byte, which ends a text in C"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8, as WASI wants all text"
    return ""


def _whole(output: Output) -> Output:
    """An output that takes all it is given, whatever it returns."""

    def write(content: bytes) -> None:
        output(content)

    return write
