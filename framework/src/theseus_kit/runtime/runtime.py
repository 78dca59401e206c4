"""Wasmtime running on a platform."""

from __future__ import annotations

import typing
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import ModuleError
from theseus_kit.runtime.artifacts import CompileOn, ModuleLoader, Settings, configure
from theseus_kit.runtime.callbacks import FunctionTypes
from theseus_kit.runtime.error_chains import AMENDMENTS
from theseus_kit.runtime.guest_ctypes import guest_ctypes, guest_platform, guest_sys
from theseus_kit.runtime.guest_function import let_stand_in
from theseus_kit.runtime.library import GuestLibrary
from theseus_kit.runtime.package import PrivatePackage
from theseus_kit.runtime.plain_calls import replace_hot_methods
from theseus_kit.runtime.wheel import find_wheel

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from theseus_kit.platform import Platform
    from theseus_kit.runtime.prepared import Preparer
    from theseus_kit.runtime.prepared_host import HostFunctionPreparer
    from theseus_kit.runtime.program import Program
    from theseus_kit.runtime.task_states import TaskStates
    from theseus_kit.runtime.wasi_threads import WasiThreads
    from theseus_kit.task import Task
    from theseus_kit.values.programs import Limits, Surroundings


class Runtime:
    """The Wasmtime library loaded into a platform, and wasmtime-py's API bound to it.

    Made by :meth:`Platform.boot`. Objects of one runtime mean nothing to another, nor to the
    ordinary ``wasmtime`` package, which may be used beside it.
    """

    def __init__(
        self, platform: Platform, wasmtime: str | Path | None = None, *, strict: bool = False
    ) -> None:
        """Load the library of a wheel, the installed one by default. Raises ImageError."""
        self._platform = platform
        self.wheel = find_wheel(wasmtime)
        """Where the library and its bindings come from."""
        self.image = platform.load(self.wheel.library, strict=strict)
        """The library, as loaded."""
        machine = platform.machine
        machine.idle()  # while the package is imported
        own_thread = self._own_thread = platform.own_thread
        self._library = GuestLibrary(
            machine,
            platform.hooks,
            self.image.name,
            self.image.symbols.__getitem__,
            own_thread=own_thread,
        )
        self._functions = FunctionTypes(self._library)
        self._package = PrivatePackage(
            "wasmtime",
            self.wheel.package,
            {
                "ctypes": guest_ctypes(self._library, self._functions),
                "platform": guest_platform(),
                "sys": guest_sys(),
            },
            {**AMENDMENTS, "wasmtime._bindings": let_stand_in}
            if own_thread is None
            else own_thread.amendments({**AMENDMENTS}),
        )
        self.wasmtime: ModuleType = self._package.load()
        """wasmtime-py's public API: ``Config, Engine, Store, Module, Linker, Func …``."""
        self._engines: dict[tuple[tuple[str, Any], ...], Any] = {}
        self._modules = ModuleLoader(
            platform.hooks, self.wheel, self.load_submodule, machine.cpu_features
        )
        replace_hot_methods(self._package, lambda: self._preparer)
        if own_thread is not None:
            own_thread.carry_methods(self._package)
        self._states: TaskStates | None = None
        self._library.tasks = platform.tasks
        platform.tasks.on_switch(self._switch)

    @cached_property
    def _preparer(self) -> Preparer:
        from theseus_kit.runtime.prepared import Preparer

        return Preparer(self._platform.machine, self._library, self._package)

    @cached_property
    def _host_preparer(self) -> HostFunctionPreparer:
        from theseus_kit.runtime.prepared_host import HostFunctionPreparer

        return HostFunctionPreparer(self._platform.machine, self._library, self._package)

    def _switch(self, left: Task, entered: Task) -> None:
        if self._states is None:  # the first time that there are two tasks
            self._states = self._library.states(self._package.load("wasmtime._func"))
        self._states.switch(left, entered)

    def load_submodule(self, name: str) -> ModuleType:
        """Return a module of the API by its ordinary name, such as ``wasmtime.component``.

        Raises ModuleNotFoundError.
        """
        return self._package.load(name)

    def standing_in(self) -> AbstractContextManager[None]:
        """While the context is open, ``import wasmtime`` imports this runtime's API.

        For programs that were written for the ordinary package. It concerns the whole process;
        modules that imported the ordinary package before keep it. See :mod:`.substitution`.
        """
        from theseus_kit.runtime.substitution import standing_in

        return standing_in(self._package)

    @property
    def engine(self) -> Any:
        """The engine with Wasmtime's default settings, made at its first use."""
        return self.engine_with({})

    def engine_with(self, settings: Settings) -> Any:
        """Return the engine with these settings; equal settings get the same engine.

        Raises ModuleError for a setting that ``Config`` does not have.
        """
        key = tuple(sorted(settings.items()))
        engine = self._engines.get(key)
        if engine is None:
            config = self.wasmtime.Config()
            configure(config, settings)
            engine = self._engines[key] = self.wasmtime.Engine(config)
        return engine

    def load_module(
        self,
        path: str,
        *,
        settings: Settings | None = None,
        compile_on: CompileOn = "host",
        cache: str | None = None,
        display_name: str | None = None,
    ) -> Any:
        """Return the ``Module`` in a file of the platform's namespace, for :meth:`engine_with`.

        The file is WebAssembly text or binary, or an artifact that Wasmtime compiled before.
        ``cache`` is a platform directory where artifacts compiled on the host are kept; one that
        cannot be used is no error. ``display_name`` is what messages call the file. Raises
        ModuleError, one line, with Wasmtime's own message where it refuses the module.
        """
        name = display_name or path
        content = self._modules.read(path, name)
        return self._module(self._load(content, settings, compile_on, cache, name), name)

    def compile_text(
        self,
        text: str,
        *,
        settings: Settings | None = None,
        compile_on: CompileOn = "host",
        display_name: str = "module",
    ) -> Any:
        """Return the ``Module`` of WebAssembly text, for :meth:`engine_with`; as load_module."""
        loaded = self._load(text.encode(), settings, compile_on, None, display_name)
        return self._module(loaded, display_name)

    def program(
        self,
        path: str,
        surroundings: Surroundings | None = None,
        limits: Limits | None = None,
        *,
        settings: Settings | None = None,
        compile_on: CompileOn = "host",
        cache: str | None = None,
        display_name: str | None = None,
    ) -> Program:
        """Return the program in a file of the platform's namespace, ready to run.

        The file is a module or a component of the world ``wasi:cli/command``.
        The rest is as :meth:`load_module` has it; ``limits`` add settings of their own. Raises
        ModuleError and UsageError, one line each.
        """
        from theseus_kit.runtime.limits import engine_settings
        from theseus_kit.runtime.program import ComponentProgram, ModuleProgram
        from theseus_kit.values.programs import Limits, Surroundings

        limits = limits or Limits()
        chosen = {**(settings or {}), **engine_settings(limits)}
        name = display_name or path
        content = self._modules.read(path, name)
        loaded = self._load(content, chosen, compile_on, cache, name)
        kind = ComponentProgram if self._modules.is_component(loaded) else ModuleProgram
        engine = self.engine_with(chosen)
        return kind(
            self._platform, self, engine, loaded, name, surroundings or Surroundings(), limits
        )

    def _module(self, loaded: Any, name: str) -> Any:
        if self._modules.is_component(loaded):
            raise ModuleError(f"{name}: is a component, not a module")
        return loaded

    def _load(
        self,
        content: bytes,
        settings: Settings | None,
        compile_on: CompileOn,
        cache: str | None,
        name: str,
    ) -> Any:
        chosen = settings or {}
        return self._modules.load(
            content,
            self.engine_with(chosen),
            settings=chosen,
            compile_on=compile_on,
            cache=cache,
            name=name,
        )

    def wasi_threads(self, module: Any, linker: Any, new_store: Callable[[], Any]) -> WasiThreads:
        """Give a module that imports its memory, shared, threads: ``wasi:thread-spawn``.

        ``linker`` has everything else it imports, in no store's name but WASI's, and is to be used
        to instantiate it; ``new_store`` makes a thread's store, with its WASI. Raises ModuleError.
        """
        from theseus_kit.runtime.wasi_threads import WasiThreads

        return WasiThreads(self._platform.tasks, self.wasmtime, module, linker, new_store)

    def prepare(self, store: Any, function: Any) -> Callable[..., Any]:
        """Return a callable that calls a wasm function with plain numbers, as fast as can be.

        See :meth:`Preparer.prepare`. Raises ModuleError for a function that takes references.
        """
        if self._own_thread is None:
            return self._preparer.prepare(store, function)
        prepared = self._own_thread.run(lambda: self._preparer.prepare(store, function))
        return self._own_thread.carry(prepared, "prepared call", deletes=False)

    def prepare_host_function(self, store: Any, kind: Any, function: Callable[..., Any]) -> Any:
        """Return a ``Func`` of a ``FuncType`` that calls Python with plain numbers.

        See :meth:`HostFunctionPreparer.prepare`. Raises ModuleError for a type with references.
        """
        if self._own_thread is None:
            return self._host_preparer.prepare(store, kind, function)
        return self._own_thread.run(lambda: self._host_preparer.prepare(store, kind, function))

    def close(self) -> None:
        """Let go of what the runtime itself holds in the guest; the platform closes next.

        Objects of the API that are left only lose their guest: their finalisers become nothing.
        """
        self._engines.clear()
        self._library.close()
        self._functions.close()
        # The package's annotations put its classes into typing's caches, where each of the last
        # few would keep a whole copy (2 MB) alive. What CPython's own leak tests clear:
        for clear in getattr(typing, "_cleanups", ()):
            clear()

    def __repr__(self) -> str:
        return f"<Runtime wasmtime {self.wheel.version} at {self.image.base:#x}>"
