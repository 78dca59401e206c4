"""The two sides of a comparison: Wasmtime on a platform, and wasmtime-py in the same process.

Both get the same module compiled with the same settings: the target and the processor features
are the emulated machine's (or the native one's) on both sides, so that no side has instructions
that the other lacks, and compilation uses one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import wasmtime

from theseus_kit import Platform
from theseus_kit.runtime.artifacts import aim_at_guest, compiler_flags

ONE_THREAD = {"parallel_compilation": False}


@dataclass(frozen=True)
class Sizes:
    """How much work a machine is given, for a round to take a fraction of a second."""

    fib: int
    sieve: int
    simd: int
    functions: int
    rounds: int
    busy_thread: bool
    """Compile beside another busy thread too: asks how a machine shares Python's GIL."""


SIZES = {
    "emulated": Sizes(30, 1 << 20, 200, 60, 7, busy_thread=False),
    "native": Sizes(35, 1 << 21, 2000, 200, 9, busy_thread=True),
}


class Side:
    """An API of wasmtime-py's, and an engine of the common settings."""

    def __init__(self, api: Any, engine: Any) -> None:
        self.api = api
        self.engine = engine

    def function_type(self, parameters: int, results: int) -> Any:
        i32 = self.api.ValType.i32()
        return self.api.FuncType([i32] * parameters, [i32] * results)

    def instance(self, module: Any, imports: Callable[[Any], Sequence[Any]]) -> Instance:
        """Instantiate a module in a store of its own; ``imports`` makes what it imports."""
        store = self.api.Store(self.engine)
        made = self.api.Instance(store, module, list(imports(store)))
        return Instance(store, made.exports(store))


class Instance:
    """An instance and its store."""

    def __init__(self, store: Any, exports: Any) -> None:
        self.store = store
        self.exports = exports

    def ordinary(self, name: str) -> Callable[..., Any]:
        """An exported function called as wasmtime-py's users call it."""
        function, store = self.exports[name], self.store
        return lambda *arguments: function(store, *arguments)


class Contenders:
    """Both sides, for one platform."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.machine = platform.machine.name
        self.sizes = SIZES[self.machine]
        self.runtime = platform.boot()
        self.guest = Side(self.runtime.wasmtime, self.runtime.engine_with(ONE_THREAD))
        config = wasmtime.Config()
        config.parallel_compilation = False
        aim_at_guest(wasmtime._ffi, config, compiler_flags(platform.machine.cpu_features))
        self.host = Side(wasmtime, wasmtime.Engine(config))

    def modules(self, text: str) -> tuple[Any, Any]:
        """Return the guest's and the host's module of one text: the very same machine code."""
        module = wasmtime.Module(self.host.engine, text)
        artifact = bytes(module.serialize())
        return self.guest.api.Module.deserialize(self.guest.engine, artifact), module

    def prepared(self, instance: Instance, name: str) -> Callable[..., Any]:
        """An export of the guest's as a prepared function."""
        return self.platform.prepare(instance.store, instance.exports[name])
