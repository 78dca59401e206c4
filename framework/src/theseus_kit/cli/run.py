"""Running a module: mount it, load it, call it, print what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from theseus_kit.assembly.catalogue import closest
from theseus_kit.cli.exit_status import EXIT_TRAP
from theseus_kit.cli.wasm_values import format_result, parse_arguments
from theseus_kit.errors import ModuleError
from theseus_kit.values.paths import Mount

if TYPE_CHECKING:
    from theseus_kit.platform import Platform

MODULE_MOUNT = "/module"
CACHE_MOUNT = "/cache"


def run_module(
    platform: Platform,
    module: str,
    arguments: Sequence[str],
    *,
    invoke: str | None,
    compile_on: Literal["host", "guest"],
    cache: Path | None,
    strict: bool,
    wasmtime: Path | None,
    report: Callable[[Exception], None],
) -> int:
    """Run a module's export (``invoke``) or its ``_start``; return the exit status.

    ``report`` is told of the Trap or WasmtimeError that ends the call. A killed guest's error is
    the caller's.

    Nothing of the host is visible to the guest but the module and the cache of compiled modules.
    Raises ModuleError for a module, export or argument that cannot be run as asked.
    """
    path = _mount(platform, module, cache)
    runtime = platform.boot(wasmtime, strict=strict)
    api = runtime.wasmtime
    loaded = runtime.load_module(
        path,
        compile_on=compile_on,
        cache=None if cache is None else CACHE_MOUNT,
        display_name=module,
    )
    store = api.Store(runtime.engine)
    try:
        instance = _instantiate(api, store, loaded, module)
        function, name = _function(api, store, instance, loaded, module, invoke)
        type_ = function.type(store)
        values = parse_arguments(name, [str(t) for t in type_.params], arguments)
        results = function(store, *values)
    except (api.Trap, api.WasmtimeError) as error:
        # Only a trap has frames; another error of a call is the user's to read all the same.
        report(error)
        return EXIT_TRAP
    _print_results([str(t) for t in type_.results], results)
    return 0


def _mount(platform: Platform, module: str, cache: Path | None) -> str:
    """Make the module, and the cache if there is one, visible; return the module's path there."""
    source = Path(module)
    if not source.exists():
        raise ModuleError(f"{module}: no such file")
    if source.is_dir():
        raise ModuleError(f"{module} is a directory: name a .wat, .wasm or .cwasm file")
    target = f"{MODULE_MOUNT}/{source.name}"
    platform.hooks.path_mount(mount=Mount(source.absolute(), target))
    if cache is not None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModuleError(
                f"cannot keep compiled modules in {cache}: {error.strerror}: "
                "name another directory with --cache, or use --no-cache"
            ) from error
        platform.hooks.path_mount(mount=Mount(cache.absolute(), CACHE_MOUNT, writable=True))
    return target


def _instantiate(api: Any, store: Any, loaded: Any, module: str) -> Any:
    if loaded.imports:
        wanted = ", ".join(f"{i.module}.{i.name}" for i in loaded.imports)
        raise ModuleError(f"{module} imports {wanted}, which the command line does not offer")
    return api.Instance(store, loaded, [])


def _function(
    api: Any, store: Any, instance: Any, loaded: Any, module: str, invoke: str | None
) -> tuple[Any, str]:
    exports = instance.exports(store)
    functions = [e.name for e in loaded.exports if isinstance(e.type, api.FuncType)]
    name = invoke if invoke is not None else "_start"
    if name not in functions:
        if invoke is None:
            offered = f": name one with --invoke{closest('', functions)}" if functions else ""
            raise ModuleError(f"{module} exports no _start{offered}")
        raise ModuleError(f"{module} exports no function {name!r}{closest(name, functions)}")
    return exports[name], name


def _print_results(types: Sequence[str], results: Any) -> None:
    if not types:
        return
    values = results if len(types) > 1 else [results]
    for type_, value in zip(types, values, strict=True):
        print(format_result(type_, value))
