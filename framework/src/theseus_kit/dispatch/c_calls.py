"""What happens when guest code calls a C function that a plugin serves.

::

    guest: call malloc
      → the machine's way out → trampoline(rdi) → body(size) → rax
                                    │ PlatformError → errno, and the result that says so
                                    │ any other error → PluginError, which ends the call

Prototypes are parsed and trampolines (:mod:`.trampolines`) made at a function's first call: most
imports of an image are never called, and most that are, a few times.

Which function answers a name is the namespace's business, system calls are
:mod:`theseus_kit.dispatch.system_calls`'s.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from theseus_kit.dispatch.exceptions import tell_of_kill
from theseus_kit.dispatch.prototype import Argument, Prototype, parse_prototype
from theseus_kit.dispatch.trampolines import (
    MASK,
    Parts,
    generated_trampoline,
    growing_trampoline,
    shape_of,
)
from theseus_kit.errors import (
    GuestKilled,
    GuestUnwinding,
    PlatformError,
    PluginError,
    TaskExit,
    TheseusKitError,
)
from theseus_kit.values.exceptions import Panicked
from theseus_kit.values.linkage import CFunction, ErrorConvention

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task import Tasks

_REGISTER_ARGUMENTS = 6

ErrorAnswer = Callable[[PlatformError], int]
"""Turns a platform's no into a result; may raise."""

UnwindingAnswer = Callable[[GuestUnwinding], int]
"""Takes up a guest's exception that has passed through Python: what the export has to return."""

KillListener = Callable[[GuestKilled], None]
"""Told of a kill while the guest's frames still stand."""


def provider_of(function: CFunction) -> str:
    """Name the plugin a function's body belongs to: itself, or else its package."""
    owner = getattr(function.body, "__self__", None)
    description = getattr(owner, "description", None)
    if description is not None:
        return str(description.name)
    module = getattr(function.body, "__module__", None) or type(function.body).__module__
    return str(module).partition(".")[0]


class Failure:
    """Answers what a body raised; the cold half of every trampoline."""

    __slots__ = (
        *("_answer", "_function", "_is_passing", "_on_interrupted", "_on_kill", "_on_unwinding"),
        *("_plugin", "_prototype"),
    )

    def __init__(
        self,
        plugin: str,
        function: CFunction,
        prototype: Prototype,
        answer: ErrorAnswer,
        on_kill: KillListener,
        on_unwinding: UnwindingAnswer | None = None,
        is_passing: Callable[[Exception], bool] = lambda error: False,
        on_interrupted: Callable[[], object] = lambda: None,
    ) -> None:
        self._on_interrupted = on_interrupted
        self._plugin = plugin
        self._function = function
        self._prototype = prototype
        self._answer = answer
        self._on_kill = on_kill
        self._on_unwinding = on_unwinding
        self._is_passing = is_passing

    def __call__(self, error: Exception, words: tuple[int, ...]) -> int:
        try:
            if isinstance(error, PlatformError):
                if error.errno == errno.EINTR:
                    self._on_interrupted()  # the handlers run before the call returns
                return self._answer(error)
            if isinstance(error, GuestUnwinding) and self._on_unwinding is not None:
                return self._on_unwinding(error)
            if isinstance(error, TheseusKitError) or self._is_passing(error):
                raise error
            raise self._blame(error, words) from error
        except GuestKilled as killed:
            # The guest's frames are dropped on the way out: this is the last look at them.
            self._on_kill(killed)
            raise
        except TaskExit as end:
            if end.clean_up is not None:
                end.clean_up()
            raise

    def _blame(self, error: Exception, words: tuple[int, ...]) -> PluginError:
        traceback = error.__traceback__
        # The innermost frame is the trampoline's own: the call or the result was what failed.
        if traceback is not None and traceback.tb_next is None:
            problem = f"takes or returns what its prototype does not say: {error}"
        else:
            problem = f"raised {type(error).__name__}: {error}"
        values = decoded_arguments(self._prototype.arguments, words)
        return PluginError(self._plugin, self._function.name, problem, **values)


def decoded_arguments(arguments: tuple[Argument, ...], words: tuple[int, ...]) -> dict[str, int]:
    """The integer arguments by name, as the body got them."""
    integers = [argument for argument in arguments if argument.type.kind != "float"]
    values: dict[str, int] = {}
    for argument, word in zip(integers, words, strict=True):
        size = argument.type.size
        value = word & ((1 << size * 8) - 1)
        if argument.type.signed and value >> (size * 8 - 1):
            value -= 1 << size * 8
        values[argument.name] = value
    return values


class CCalls:
    """The C functions of one platform, as addresses that guest code can call."""

    def __init__(
        self,
        machine: Machine,
        hooks: HookRelay,
        tasks: Tasks,
        provider: Callable[[CFunction], str] = provider_of,
    ) -> None:
        self._machine = machine
        self._hooks = hooks
        self._tasks = tasks
        self._provider = provider

    def export(self, function: CFunction) -> int:
        """Return an address that guest code can call to run a function (System V ABI).

        Raises PluginError, now or at the first call, if the prototype cannot be understood.
        """
        code = function.machine_code
        if code is not None:
            return self._machine.place_code(
                code if isinstance(code, bytes) else code(), function.name
            )
        reenters = function.reenters or function.blocks
        if function.prototype.count(",") >= _REGISTER_ARGUMENTS:
            # The first call would need stack words, and how many only the prototype can say.
            trampoline, arity = generated_trampoline(self._parts(function))
            return self._machine.export(trampoline, arity, reenters=reenters, name=function.name)

        def first_call(*words: int) -> int | None:
            trampoline, arity = growing_trampoline(
                self._parts(function),
                lambda generated, arity: self._machine.replace_export(address, generated, arity),
            )
            self._machine.replace_export(address, trampoline, arity)
            return trampoline(*words[:arity])

        address = self._machine.export(
            first_call, _REGISTER_ARGUMENTS, reenters=reenters, name=function.name
        )
        return address

    def _parts(self, function: CFunction) -> Parts:
        """What a function's trampoline is made of."""
        plugin = self._provider(function)
        try:
            prototype = parse_prototype(function.prototype)
        except TheseusKitError as error:
            raise PluginError(plugin, function.name, str(error)) from error
        machine, hooks, tasks = self._machine, self._hooks, self._tasks
        failure = Failure(
            plugin,
            function,
            prototype,
            self._answer(function),
            lambda killed: tell_of_kill(machine, hooks, tasks, killed),
            lambda unwinding: _take_up(hooks, unwinding),
            tasks.is_passing,
            tasks.interrupted,
        )
        return Parts(
            shape_of(prototype),
            function.body,
            failure,
            machine.float_argument,
            machine.set_float_result,
        )

    def _answer(self, function: CFunction) -> ErrorAnswer:
        convention = function.on_error
        if convention is ErrorConvention.NEGATIVE:
            return negative_errno
        if convention is ErrorConvention.RESULT:
            return lambda error: error.errno
        if convention is ErrorConvention.FATAL:
            return lambda error: _kill(function, error)
        result = MASK if convention is ErrorConvention.MINUS_ONE else 0
        hooks, tasks = self._hooks, self._tasks

        def answer(error: PlatformError) -> int:
            hooks.errno_set(task=tasks.current, value=error.errno)
            return result

        return answer


def _take_up(hooks: HookRelay, unwinding: GuestUnwinding) -> int:
    result: int | None = hooks.unwind_continue(unwinding=unwinding, registers=None)
    if result is None:
        raise unwinding
    return result


def negative_errno(error: PlatformError) -> int:
    """A system call's way to say no: rax is the negated error number."""
    return -error.errno & MASK


def _kill(function: CFunction, error: PlatformError) -> NoReturn:
    raise GuestKilled(Panicked(f"{function.name}: {error}")) from error
