"""One WASI program, run in this process with this process's own standard streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

TRAPPED = 134
"""The status of a program that trapped, as ``wasmtime run`` has it."""


def run_program(
    api: Any,
    path: str,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] = {},
    root: str | None = None,
    *,
    load: Callable[[str], Any] | None = None,
    engine: Any = None,
) -> tuple[int, str]:
    """Run a program's ``_start`` on an object with wasmtime-py's API.

    ``path`` and ``root``, the directory that is preopened as ``/``, are as that object sees them;
    ``load`` makes a module of a path where ``Module.from_file`` is not wanted. Returns the exit
    status and, of a program that trapped, the trap's text.
    """
    engine = engine or api.Engine()
    module = load(path) if load is not None else api.Module.from_file(engine, path)
    linker = api.Linker(engine)
    linker.define_wasi()
    configuration = api.WasiConfig()
    configuration.argv = [path.rpartition("/")[2], *arguments]
    configuration.env = list(environment.items())
    configuration.inherit_stdin()
    configuration.inherit_stdout()
    configuration.inherit_stderr()
    if root is not None:
        configuration.preopen_dir(root, "/")
    store = api.Store(engine)
    store.set_wasi(configuration)
    instance = linker.instantiate(store, module)
    try:
        instance.exports(store)["_start"](store)
    except api.ExitTrap as exit_trap:
        return exit_trap.code, ""
    except (api.Trap, api.WasmtimeError) as error:
        return TRAPPED, str(error)
    return 0, ""
