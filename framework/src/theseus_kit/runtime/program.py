"""Running a WebAssembly program on a platform: WASI set up, limits kept, an exit status at the end.

A *command* has ``_start`` and runs once; a *reactor* has ``_initialize`` and functions to call; any
other module is just functions. WASI preview 1 is linked where a module imports it. Compiling and
caching are :class:`~theseus_kit.runtime.Runtime`'s, mounting is the path hooks'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theseus_kit.errors import ModuleError, PlatformError, UsageError
from theseus_kit.runtime.artifacts import one_line
from theseus_kit.runtime.limits import LimitedRun
from theseus_kit.values.paths import FileKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from theseus_kit.platform import Platform
    from theseus_kit.runtime.runtime import Runtime
    from theseus_kit.values.programs import Limits, Output, Surroundings

_PREVIEW_1 = ("wasi_snapshot_preview1", "wasi_unstable")


class Program:
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
        module: Any,
        name: str,
        surroundings: Surroundings,
        limits: Limits,
    ) -> None:
        """Set up a store for a module. Raises UsageError for surroundings that cannot be had."""
        self._api: Any = runtime.wasmtime
        self._platform = platform
        self.module = module
        self.name = name
        """What messages call it."""
        self.store = self._api.Store(engine)
        """The store it runs in."""
        self._limited = LimitedRun(platform.machine, self._api, limits, platform.interrupt)
        self._limited.prepare(self.store)
        self._linker = self._api.Linker(engine)
        self._instance: Any = None
        self._link(surroundings)

    def run(self) -> int:
        """Run a command to its end and return its exit status; of a reactor, ``_initialize``.

        Raises ModuleError for a module that is neither.
        """
        names = self.functions()
        entry = next((name for name in ("_start", "") if name in names), None)
        if entry is None and "_initialize" not in names:
            raise ModuleError(f"{self.name} exports no _start")
        with self._limited.running(self.store):
            try:
                instance = self._instantiated()
                if entry is not None:
                    instance.exports(self.store)[entry](self.store)
            except self._api.ExitTrap as exit_:
                return int(exit_.code)
        return 0

    def call(self, function: str, *arguments: Any) -> Any:
        """Call an exported function. A reactor is initialised before the first call.

        Raises ModuleError for a function that is not there, Wasmtime's ``ExitTrap``, which carries
        the status, where the program exits.
        """
        if function not in self.functions():
            raise ModuleError(f"{self.name} exports no function {function!r}")
        with self._limited.running(self.store):
            return self._instantiated().exports(self.store)[function](self.store, *arguments)

    def functions(self) -> dict[str, Any]:
        """Return the types of the exported functions by name."""
        kind = self._api.FuncType
        return {e.name: e.type for e in self.module.exports if isinstance(e.type, kind)}

    def _instantiated(self) -> Any:
        if self._instance is None:
            self._instance = self._linker.instantiate(self.store, self.module)
            if "_initialize" in self.functions():
                self._instance.exports(self.store)["_initialize"](self.store)
        return self._instance

    def _link(self, surroundings: Surroundings) -> None:
        imports = [(wanted.module, wanted.name) for wanted in self.module.imports]
        strange = [f"{module}.{name}" for module, name in imports if module not in _PREVIEW_1]
        if strange:
            raise ModuleError(
                f"{self.name} imports {', '.join(strange)}, which no program is offered"
            )
        if imports:
            self.store.set_wasi(self._wasi(surroundings))
            self._linker.define_wasi()

    def _wasi(self, surroundings: Surroundings) -> Any:
        """Make the ``WasiConfig``. Raises UsageError for what it cannot take."""
        wasi = self._api.WasiConfig()
        name = surroundings.name
        if name is None:
            name = self.name.rpartition("/")[2]
        wasi.argv = _arguments([name, *surroundings.arguments])
        wasi.env = _environment(surroundings.environment)
        if surroundings.stdin is None:
            wasi.inherit_stdin()
        else:
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
            self._check_directory(preopen.directory)
            try:
                wasi.preopen_dir(preopen.directory, preopen.name, preopen.writable)
            except self._api.WasmtimeError as error:
                problem = one_line(str(error))
                raise UsageError(f"{preopen.directory}: cannot be opened: {problem}") from error
        return wasi

    def _check_directory(self, directory: str) -> None:
        import os

        hooks = self._platform.hooks
        try:
            status = hooks.path_status(path=hooks.path_parse(text=directory), follow=True)
        except PlatformError as error:
            problem = os.strerror(error.errno)
            raise UsageError(f"{directory}: {problem}: mount it before the program runs") from error
        if status.kind is not FileKind.DIRECTORY:
            raise UsageError(f"{directory}: not a directory: a program can only be given those")


def _arguments(arguments: Sequence[str]) -> Sequence[str]:
    for position, argument in enumerate(arguments):
        problem = _problem(argument)
        if problem:
            raise UsageError(f"argument {position} of the program, {argument!r}, {problem}")
    return arguments


def _environment(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    for name, value in environment.items():
        problem = "must have a name without =" if not name or "=" in name else ""
        problem = problem or _problem(name) or _problem(value)
        if problem:
            raise UsageError(f"environment variable {name!r}: {problem}")
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
