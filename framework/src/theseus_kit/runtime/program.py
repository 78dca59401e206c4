"""Running a WebAssembly program on a platform: WASI set up, limits kept, an exit status at the end.

A *command* has ``_start`` and runs once; a *reactor* has ``_initialize`` and functions to call; any
other module is just functions. A component of the world ``wasi:cli/command`` is a command. WASI
preview 1 is linked where a module imports it, wasi-threads likewise, preview 2 for every component.
Compiling and caching are :class:`~theseus_kit.runtime.Runtime`'s, mounting is the path hooks'.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

from theseus_kit.assembly.catalogue import closest
from theseus_kit.errors import ModuleError
from theseus_kit.runtime.limits import LimitedRun
from theseus_kit.runtime.surroundings import wasi_config
from theseus_kit.runtime.wasi_threads import imports_of_threads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from theseus_kit.platform import Platform
    from theseus_kit.runtime.runtime import Runtime
    from theseus_kit.values.programs import Limits, Surroundings

ENTRIES = frozenset({"_start", "", "_initialize"})
"""What a module must export one of to be run without naming a function."""
_PREVIEW_1 = ("wasi_snapshot_preview1", "wasi_unstable")
_PREVIEW_2 = "wasi:"
_RUN = "wasi:cli/run@0.2."


class Program(ABC):
    """One run of a program, in a store of its own. Made by :meth:`Runtime.program`.

    Errors of every method, beside those it names: LimitReachedError; GuestKilled, GuestInterrupted
    and the other GuestErrors of a platform; Wasmtime's own ``Trap`` and ``WasmtimeError``, the
    runtime's classes.
    """

    def __init__(
        self,
        platform: Platform,
        runtime: Runtime,
        engine: Any,
        loaded: Any,
        name: str,
        surroundings: Surroundings,
        limits: Limits,
    ) -> None:
        """Set up a store. Raises UsageError for surroundings that cannot be had."""
        self.runtime = runtime
        self.loaded = loaded
        """The ``Module``, or the ``Component``."""
        self.name = name
        """What messages call it."""
        self.store = runtime.wasmtime.Store(engine)
        """The store it runs in."""
        self._api: Any = runtime.wasmtime
        self._limited = LimitedRun(platform.machine, self._api, limits, platform.interrupt)
        self._limited.prepare(self.store)
        own = surroundings.name
        called = name.rpartition("/")[2] if own is None else own
        self._wasi = partial(wasi_config, platform, self._api, called, surroundings)
        self._is_given_wasi = False
        self._is_given_wasi = self._link(engine)
        if self._is_given_wasi:
            self.store.set_wasi(self._wasi())

    def run(self) -> int:
        """Run a command to its end and return its exit status; of a reactor, initialise it.

        Raises ModuleError for what is neither.
        """
        self._check_runnable()
        with self._limited.running(self.store):
            try:
                return self._run()
            except self._api.ExitTrap as exit_:
                return int(exit_.code)

    @abstractmethod
    def functions(self) -> dict[str, Any]:
        """Return the types of a module's exported functions by name; none of a component's."""

    @abstractmethod
    def function_type(self, function: str) -> Any:
        """Return an exported function's ``FuncType``. Raises ModuleError for what is none."""

    @abstractmethod
    def call(self, function: str, *arguments: Any) -> Any:
        """Call an exported function of a module. A reactor is initialised before the first call.

        Raises ModuleError as :meth:`function_type`, and Wasmtime's ``ExitTrap``, which carries the
        status, where the program exits.
        """

    @abstractmethod
    def _link(self, engine: Any) -> bool:
        """Make a linker; say whether the program is given WASI. Raises ModuleError."""

    @abstractmethod
    def _check_runnable(self) -> None:
        """Raise ModuleError unless there is something to run."""

    @abstractmethod
    def _run(self) -> int:
        """Run it; return its status."""

    def _store_of_thread(self) -> Any:
        """Make a store like the program's own."""
        store = self._api.Store(self.store.engine)
        self._limited.prepare(store)
        if self._is_given_wasi:
            store.set_wasi(self._wasi())
        return store

    def _refuse(self, imports: Iterable[str]) -> None:
        strange = ", ".join(imports)
        if strange:
            raise ModuleError(f"{self.name} imports {strange}, which programs are not offered")


class ModuleProgram(Program):
    """A core module."""

    _instance: Any = None

    def functions(self) -> dict[str, Any]:
        kind = self._api.FuncType
        return {e.name: e.type for e in self.loaded.exports if isinstance(e.type, kind)}

    def function_type(self, function: str) -> Any:
        functions = self.functions()
        if function not in functions:
            near = closest(function, functions)
            raise ModuleError(f"{self.name} exports no function {function!r}{near}")
        return functions[function]

    def call(self, function: str, *arguments: Any) -> Any:
        self.function_type(function)
        with self._limited.running(self.store):
            return self._instantiated()[function](self.store, *arguments)

    def _link(self, engine: Any) -> bool:
        imports = [(wanted.module, wanted.name) for wanted in self.loaded.imports]
        threads = set(imports_of_threads(self._api, self.loaded))
        others = [wanted for wanted in imports if wanted not in threads]
        self._refuse(f"{module}.{name}" for module, name in others if module not in _PREVIEW_1)
        self._linker = self._api.Linker(engine)
        if others:
            self._linker.define_wasi()
        if threads:
            self.runtime.wasi_threads(self.loaded, self._linker, self._store_of_thread)
        return bool(others)

    def _check_runnable(self) -> None:
        functions = self.functions()
        if not functions.keys() & ENTRIES:
            raise ModuleError(
                f"{self.name} exports no _start: call one of its functions" + closest("", functions)
            )

    def _run(self) -> int:
        exports = self._instantiated()
        names = self.functions()
        entry = next((name for name in ("", "_start") if name in names), None)
        if entry is not None:
            exports[entry](self.store)
        return 0

    def _instantiated(self) -> Any:
        """Return the exports; make the instance, and initialise a reactor, the first time."""
        if self._instance is None:
            self._instance = self._linker.instantiate(self.store, self.loaded)
            if "_initialize" in self.functions():
                self._instance.exports(self.store)["_initialize"](self.store)
        return self._instance.exports(self.store)


class ComponentProgram(Program):
    """A component."""

    def functions(self) -> dict[str, Any]:
        return {}

    def function_type(self, function: str) -> Any:
        raise ModuleError(f"{self.name} is a component: it can be run, not called by function")

    def call(self, function: str, *arguments: Any) -> Any:
        return self.function_type(function)

    def _link(self, engine: Any) -> bool:
        kind = self.loaded.type
        self._refuse(name for name in kind.imports(engine) if not name.startswith(_PREVIEW_2))
        self._entry = next((n for n in kind.exports(engine) if n.startswith(_RUN)), None)
        component = self.runtime.load_submodule("wasmtime.component")
        self._linker = component.Linker(engine)
        self._linker.add_wasip2()
        return True

    def _check_runnable(self) -> None:
        if self._entry is None:
            raise ModuleError(
                f"{self.name} exports no wasi:cli/run: it is no component of the command world"
            )

    def _run(self) -> int:
        """The result of ``run: func() -> result``, as ``wasmtime run`` has it."""
        instance = self._linker.instantiate(self.store, self.loaded)
        interface = instance.get_export_index(self.store, self._entry)
        run = instance.get_func(self.store, instance.get_export_index(self.store, "run", interface))
        result = run(self.store)
        return 1 if result.tag == "err" else 0
