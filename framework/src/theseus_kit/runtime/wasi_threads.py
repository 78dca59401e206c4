"""wasi-threads: ``wasi:thread-spawn`` for modules that import their memory, shared.

Source: the WebAssembly/wasi-threads proposal and Wasmtime's crate of that name, which its C API
leaves out. The engine needs ``Config.shared_memory``. Each thread is a task with a store and an
instance of its own; what they have in common is the memory::

    main store                      thread's store
    ┌─────────────┐                 ┌──────────────────────────────────────┐
    │ instance    │  thread-spawn   │ instance                             │
    │ _start      ├────────────────►│ wasi_thread_start(thread, argument)  │
    └──────┬──────┘                 └──────┬───────────────────────────────┘
           └─────────► shared memory ◄─────┘

A thread that traps or exits ends the program: the main task's caller gets the error. When the main
task's call returns, the threads that are left run no further.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import ModuleError, PlatformError

if TYPE_CHECKING:
    from theseus_kit.task import Task, Tasks

IMPORT = ("wasi", "thread-spawn")
ENTRY = "wasi_thread_start"
_LARGEST_ID = (1 << 29) - 1
"""Thread identifiers are 1 to this: the proposal keeps the upper bits free."""
_REFUSED = -1


class WasiThreads:
    """The threads of one module. Made by :meth:`Runtime.wasi_threads`."""

    def __init__(
        self, tasks: Tasks, api: Any, module: Any, linker: Any, new_store: Callable[[], Any]
    ) -> None:
        """Define the module's shared memories and thread-spawn in its linker.

        Raises ModuleError for a module that could not have threads.
        """
        memories = [wanted for wanted in module.imports if _is_shared_memory(api, wanted)]
        if not memories:
            raise ModuleError("a module with threads has to import a shared memory")
        if not any(export.name == ENTRY for export in module.exports):
            raise ModuleError(f"a module with threads has to export {ENTRY}")
        self._tasks = tasks
        self._module = module
        self._linker = linker
        self._new_store = new_store
        self._identifiers = count(1)
        self.memories: list[Any] = []
        """The ``SharedMemory`` objects, in the order they are imported."""
        store = new_store()
        for wanted in memories:
            memory = _shared_memory(api, linker.engine, wanted.type)
            self.memories.append(memory)
            linker.define(store, wanted.module, wanted.name, memory)
        i32 = api.ValType.i32()
        linker.define_func(*IMPORT, api.FuncType([i32], [i32]), self.spawn)

    def spawn(self, argument: int) -> int:
        """Start a thread; return its identifier, or a negative number where there is no room."""
        identifier = next(self._identifiers)
        if identifier > _LARGEST_ID:
            return _REFUSED
        try:
            self._start(identifier, argument)
        except PlatformError:
            return _REFUSED
        return identifier

    def _start(self, identifier: int, argument: int) -> Task:
        def run() -> None:
            store = self._new_store()
            instance = self._linker.instantiate(store, self._module)
            instance.exports(store)[ENTRY](store, identifier, argument)

        return self._tasks.start(run, f"wasi thread {identifier}")


def _shared_memory(api: Any, engine: Any, kind: Any) -> Any:
    """Make a ``SharedMemory`` that a linker takes.

    wasmtime-py (50.0.1) puts a pointer to the pointer where wasmtime_extern_union has the pointer,
    which ctypes refuses.
    """
    ffi = api._ffi

    class SharedMemory(api.SharedMemory):  # type: ignore[misc]
        def _as_extern(self) -> Any:
            union = ffi.wasmtime_extern_union(sharedmemory=self.ptr())
            return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)

    return SharedMemory(engine, kind)


def imports_of_threads(api: Any, module: Any) -> list[tuple[str, str]]:
    """The imports by which a ``Module`` has threads; none of one that imports no thread-spawn."""
    imports = list(module.imports)
    if not any((wanted.module, wanted.name) == IMPORT for wanted in imports):
        return []
    return [
        (wanted.module, wanted.name)
        for wanted in imports
        if (wanted.module, wanted.name) == IMPORT or _is_shared_memory(api, wanted)
    ]


def _is_shared_memory(api: Any, wanted: Any) -> bool:
    return isinstance(wanted.type, api.MemoryType) and bool(wanted.type.is_shared)
