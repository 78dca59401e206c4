"""Running ``.wast`` scripts against any object with wasmtime-py's API.

The object may be the ``wasmtime`` package itself or what ``platform.wasmtime`` gives: it has the
package's public names and its ``_ffi``. Scripts are read by :mod:`theseus_kit.testing.wast.script`;
:mod:`theseus_kit.testing.wast.calls` calls with exact bits; :mod:`theseus_kit.testing.wast.workers`
runs many files at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from theseus_kit.errors import TheseusKitError
from theseus_kit.testing.wast.calls import (
    Calls,
    ExportedFunction,
    MissingExport,
    Results,
    Unsupported,
)
from theseus_kit.testing.wast.configuration import spec_config
from theseus_kit.testing.wast.messages import THROWN_EXCEPTION, cause, says
from theseus_kit.testing.wast.reader import ScriptError, line_of, skip_form
from theseus_kit.testing.wast.results import Failure, FileResult, Skip
from theseus_kit.testing.wast.script import (
    Action,
    AssertException,
    AssertExhaustion,
    AssertInvalid,
    AssertMalformed,
    AssertReturn,
    AssertTrap,
    AssertUnlinkable,
    Command,
    Encoding,
    Get,
    Invoke,
    Module,
    ModuleInstance,
    Register,
    Unknown,
    read_script,
)
from theseus_kit.testing.wast.spectest import define_spectest

SHOWN_COMMAND = 160
"""How many characters of a command a failure shows."""


class SpecRunner:
    """Runs the files of the specification's test suite on one engine, a fresh store per file.

    ``api`` is the ``wasmtime`` package or an object with its names. ``engine`` is one made with
    :func:`spec_config`'s Config; made here if left out. ``compile_module`` makes a ``Module`` of
    a valid binary, ``convert_text`` a binary of text: a caller may compile and convert elsewhere
    and deserialise here; ``errors`` are the errors these may raise beside the package's own.
    """

    def __init__(
        self,
        api: Any,
        *,
        engine: Any = None,
        compile_module: Callable[[bytes], Any] | None = None,
        convert_text: Callable[[bytes], bytes] | None = None,
        errors: tuple[type[Exception], ...] = (),
    ) -> None:
        self.api = api
        self.engine = api.Engine(spec_config(api)) if engine is None else engine
        self.compile_module = compile_module or (lambda wasm: api.Module(self.engine, wasm))
        self.convert_text = convert_text or (lambda text: bytes(api.wat2wasm(text)))
        self.errors = (api.WasmtimeError, *errors)

    def run_file(self, path: str | Path) -> FileResult:
        """Run a file. Raises OSError for one that cannot be read; the rest is in the result."""
        return self.run_source(Path(path).read_bytes(), str(path))

    def run_source(self, source: bytes, path: str = "<script>") -> FileResult:
        """Run a script. What a command raises becomes a failure; a dead platform ends the run."""
        started, cpu_started = time.perf_counter(), time.process_time()
        passed = 0
        failures: list[Failure] = []
        skipped: list[Skip] = []
        aborted = None
        offset = 0

        def fail(expected: str, got: str) -> None:
            failures.append(Failure(line_of(source, offset), _shown(source, offset), expected, got))

        try:
            script = _Script(self)
            try:
                for command in read_script(source):
                    offset = command.offset
                    try:
                        script.run(command)
                    except _Mismatch as mismatch:
                        fail(mismatch.expected, mismatch.got)
                    except Unsupported as reason:
                        skipped.append(Skip(line_of(source, offset), str(reason)))
                    else:
                        passed += 1
            finally:
                script.close()
        except _SetupError as error:
            aborted = str(error)
            failures.append(Failure(0, path, "the spectest module", aborted))
        except ScriptError as error:
            aborted = str(error)
            failures.append(Failure(0, path, "a script", aborted))
        except TheseusKitError as error:
            # The platform's own: the guest was killed, a plugin broke its contract.
            aborted = f"{type(error).__name__}: {error}"
            fail("the platform to go on", aborted)
        return FileResult(
            path,
            passed,
            tuple(failures),
            tuple(skipped),
            aborted,
            seconds=time.perf_counter() - started,
            cpu_seconds=time.process_time() - cpu_started,
        )


class _Mismatch(Exception):
    """A command did not do what the script says."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class _SetupError(Exception):
    """What every script needs cannot be had: the module spectest does not compile or link."""


class _Script:
    """The state of one run: the store, the instances by name, what is offered to imports."""

    def __init__(self, runner: SpecRunner) -> None:
        self._runner = runner
        api = runner.api
        self._api = api
        self._store = api.Store(runner.engine)
        self._linker = api.Linker(runner.engine)
        # Scripts register one name again and again; the last counts.
        self._linker.allow_shadowing = True
        self._calls = Calls(api, self._store, self._compile_text)
        self._instances: dict[str | None, _Instance] = {}
        self._definitions: dict[str | None, Any] = {}
        self._current: _Instance | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            AssertReturn: self._assert_return,
            AssertTrap: self._assert_trap,
            AssertExhaustion: self._assert_trap,
            AssertException: self._assert_exception,
            AssertInvalid: self._assert_refused,
            AssertMalformed: self._assert_refused,
            AssertUnlinkable: self._assert_unlinkable,
            Module: self._module,
            ModuleInstance: self._module_instance,
            Register: self._register,
            Invoke: self._act,
            Get: self._act,
            Unknown: self._unknown,
        }
        try:
            define_spectest(api, self._linker, self._store, self._compile_text)
        except (api.Trap, *runner.errors) as error:
            raise _SetupError(cause(error)) from error

    def run(self, command: Command) -> None:
        """Carry a command out. Raises _Mismatch and Unsupported."""
        try:
            self._handlers[type(command)](command)
        except MissingExport as error:
            raise _Mismatch("an export", str(error)) from error
        except (self._api.Trap, *self._runner.errors) as error:
            raise _Mismatch("no error", cause(error)) from error

    def close(self) -> None:
        """Free the store and all that is in it, now rather than at the collector's leisure."""
        self._instances.clear()
        self._definitions.clear()
        self._current = None
        self._linker.close()
        self._store.close()

    def _compile_text(self, text: bytes) -> Any:
        return self._runner.compile_module(self._runner.convert_text(text))

    def _binary(self, module: Module) -> bytes:
        if module.encoding is Encoding.BINARY:
            return module.source
        return self._runner.convert_text(module.source)

    def _module(self, command: Module) -> None:
        if not command.definition:
            # Should this fail, later commands are not to run on the module before it.
            self._current = None
        module = self._runner.compile_module(self._binary(command))
        if command.definition:
            self._definitions[command.name] = self._definitions[None] = module
        else:
            self._instantiate(command.name, module)

    def _module_instance(self, command: ModuleInstance) -> None:
        self._current = None
        if command.module not in self._definitions:
            raise _Mismatch("a module definition", f"none named {command.module}")
        self._instantiate(command.name, self._definitions[command.module])

    def _instantiate(self, name: str | None, module: Any) -> None:
        instance = _Instance(self._calls, self._linker.instantiate(self._store, module))
        self._current = instance
        if name is not None:
            self._instances[name] = instance

    def _instance(self, name: str | None) -> _Instance:
        instance = self._current if name is None else self._instances.get(name)
        if instance is None:
            raise _Mismatch("an instance", f"there is no instance {name or 'at all'}")
        return instance

    def _register(self, command: Register) -> None:
        instance = self._instance(command.instance)
        name = command.module_name.decode()
        self._linker.define_instance(self._store, name, instance.instance)

    def _perform(self, action: Action) -> Results:
        instance = self._instance(action.instance)
        if isinstance(action, Invoke):
            return instance.function(action.export).call(action.arguments)
        return self._calls.read_global(instance.instance, action.export)

    def _act(self, action: Action) -> None:
        self._perform(action).release()

    def _assert_return(self, command: AssertReturn) -> None:
        results = self._perform(command.action)
        try:
            if not results.match(command.results):
                expected = " ".join(f"({one})" for one in command.results) or "nothing"
                raise _Mismatch(expected, str(results))
        finally:
            results.release()

    def _assert_trap(self, command: AssertTrap | AssertExhaustion) -> None:
        expected = f"trap: {command.message}"
        try:
            if isinstance(command.action, Module):
                module = self._runner.compile_module(self._binary(command.action))
                self._linker.instantiate(self._store, module)
                got = "an instance"
            else:
                results = self._perform(command.action)
                got = str(results)
                results.release()
        except self._api.Trap as trap:
            if says(str(trap), command.message):
                return
            got = cause(trap)
        raise _Mismatch(expected, got)

    def _assert_exception(self, command: AssertException) -> None:
        try:
            results = self._perform(command.action)
        except self._api.Trap as trap:
            if THROWN_EXCEPTION in str(trap):
                return
            raise _Mismatch("an exception", cause(trap)) from trap
        got = str(results)
        results.release()
        raise _Mismatch("an exception", got)

    def _assert_refused(self, command: AssertInvalid | AssertMalformed) -> None:
        """A module is refused: by the parser if it is text, else by the validator."""
        try:
            self._api.Module.validate(self._runner.engine, self._binary(command.module))
        except self._runner.errors:
            return
        raise _Mismatch(f"a refusal: {command.message}", "a valid module")

    def _assert_unlinkable(self, command: AssertUnlinkable) -> None:
        module = self._runner.compile_module(self._binary(command.module))
        try:
            self._linker.instantiate(self._store, module)
        except self._api.WasmtimeError as error:
            if says(str(error), command.message):
                return
            raise _Mismatch(f"a link error: {command.message}", cause(error)) from error
        raise _Mismatch(f"a link error: {command.message}", "an instance")

    def _unknown(self, command: Unknown) -> None:
        raise Unsupported(f"the command {command.keyword!r} is not known to this runner")


class _Instance:
    """An instance and its functions, prepared as they are first called."""

    def __init__(self, calls: Calls, instance: Any) -> None:
        self.instance = instance
        self._calls = calls
        self._functions: dict[bytes, ExportedFunction] = {}

    def function(self, export: bytes) -> ExportedFunction:
        """Return an exported function. Raises MissingExport."""
        function = self._functions.get(export)
        if function is None:
            function = self._functions[export] = self._calls.function(self.instance, export)
        return function


def _shown(source: bytes, offset: int) -> str:
    """Return a command as one line, shortened."""
    text = source[offset : min(skip_form(source, offset), offset + 10 * SHOWN_COMMAND)]
    line = " ".join(text.decode(errors="backslashreplace").split())
    return line if len(line) <= SHOWN_COMMAND else line[: SHOWN_COMMAND - 1] + "…"
