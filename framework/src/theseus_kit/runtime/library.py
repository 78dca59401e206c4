"""The guest library as ctypes would show it: an object whose attributes are its C functions.

It takes the place of the ``CDLL`` that the package's bindings would get from the host. A function's
symbol is looked up and its signature compiled when it is first called: of several hundred
declared, a program calls a few dozen.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any, NoReturn

from theseus_kit.errors import GuestError, MachineBusyError, MachineError
from theseus_kit.runtime.guest_function import GuestFunction, NotNowError
from theseus_kit.runtime.marshalling import (
    argument_converter,
    convert_arguments,
    result_converter,
    untyped_converter,
)
from theseus_kit.runtime.passing import GuestSpace
from theseus_kit.runtime.scratch import Scratch
from theseus_kit.runtime.stack_arguments import LIMIT, StackCalls, needs_block

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine
    from theseus_kit.runtime.own_thread import OwnThread
    from theseus_kit.runtime.task_states import TaskStates
    from theseus_kit.task import Tasks


ROOM = 120
"""Python frames that a nested call must find free: what serves the guest takes up to 100 of them,
where a trap goes through the exception hooks. A RecursionError there would drop guest frames."""


def _has_room(frames: int) -> bool:
    try:
        sys._getframe(max(sys.getrecursionlimit() - frames, 0))
    except ValueError:  # Python's stack is not so deep
        return True
    return False


CALLS_BEFORE = 32
"""Calls of a function before it gets code of its own, which costs as much as some hundred of them
save; half of that where a function of the same shape has it already."""


class GuestLibrary:
    """The functions of one loaded image, by name, as attributes.

    One thread at a time may call them. But finalisers run whenever and in whatever thread the
    garbage collector likes, so a function without a result may always be called: where it cannot
    run at once, it runs before the next call.
    """

    def __init__(
        self,
        machine: Machine,
        hooks: HookRelay,
        name: str,
        resolve: Callable[[str], int],
        calls_before: int = CALLS_BEFORE,
        own_thread: OwnThread | None = None,
    ) -> None:
        """``own_thread`` makes all calls, whichever thread they come from."""
        self._name = name
        self._machine = machine
        self._resolve = resolve
        self.is_closed = False
        self._space = GuestSpace(machine, Scratch(hooks))
        self._stack_calls = StackCalls(machine, hooks)
        self.calls_before = calls_before if own_thread is None else sys.maxsize
        self._own_thread = own_thread
        self._specialise: Callable[..., Callable[..., Any]] | None = None
        """What :meth:`specialise` imports when it is first asked."""
        self.deferred: deque[tuple[GuestFunction, tuple[Any, ...]]] = deque()
        """Calls kept for later: function and arguments."""
        self.namespaces: list[dict[str, Any]] = []
        """Where functions that get code of their own stand as globals."""
        self._is_running_deferred = False
        self.errors: list[BaseException] = []
        """What callbacks raised and did not answer for, until the call they ran in returns."""
        self._is_short_of_room = False
        self.tasks: Tasks | None = None
        """Those of the platform, where its guest code may be dropped for another task's sake."""
        self.nesting = 0
        """Calls in progress that have called Python, one inside the other."""
        self.lock = RLock()
        """Held during calls of functions that share memory, or have no code of their own yet."""

    def __getattr__(self, name: str) -> GuestFunction:
        if name.startswith("_"):
            raise AttributeError(name)  # Python's own questions, and attributes gone by close()
        function = GuestFunction(self, name)
        setattr(self, name, function)
        return function

    def __repr__(self) -> str:
        return f"<GuestLibrary {self._name}>"

    def function_at(
        self, address: int, restype: Any, argtypes: Sequence[Any]
    ) -> Callable[..., Any]:
        """Return a callable for the guest function at an address, with a ctypes signature."""
        self.check_open()
        return self.bind(f"function at {address:#x}", address, restype, argtypes)

    def states(self, func: Any) -> TaskStates:
        """Return what keeps each task's calls apart; ``func`` is wasmtime-py's ``_func``."""
        from theseus_kit.runtime.task_states import TaskStates

        return TaskStates(self, self._space.scratch, self._space.passing, func)

    def export(self, function: Callable[..., int], arity: int, name: str) -> int:
        """Return a guest address that calls a Python function of integers, for good."""
        self.check_open()
        return self._machine.export(function, arity, reenters=True, name=name)

    def has_room_to_delete(self) -> bool:
        """Whether a finaliser's call can be made here; where not, it can be made later."""
        return _has_room(ROOM + self.nesting + 2)  # check_room() asks again, some frames deeper

    def check_room(self) -> None:
        """Raise RecursionError, where it does no harm, if Python's stack is nearly full.

        After that half the room will do, until all of it is free again: to tell the guest of the
        error takes calls, too.
        """
        # Before Python 3.12 each nested call takes one level more than its frames show.
        if _has_room(ROOM + self.nesting):
            self._is_short_of_room = False
        elif not (self._is_short_of_room and _has_room(ROOM // 2 + self.nesting)):
            self._is_short_of_room = True
            raise RecursionError(
                "maximum recursion depth exceeded: no room for another call of the guest"
            )

    def keep_error(self, error: BaseException) -> None:
        """Have the innermost call in progress raise an error once it returns.

        Dropping the guest's frames where they stand would leave Wasmtime's own state broken.
        """
        self.errors.append(error)

    def raise_kept(self, before: int) -> NoReturn:
        """Raise the first error kept since there were ``before``; later ones are consequences.

        A call that a finaliser makes meanwhile starts with more, and leaves them alone.
        """
        error = self.errors[before]
        del self.errors[before:]
        raise error

    def close(self) -> None:
        """Take no more calls, and let go of the machine.

        Finalisers become nothing, everything else raises MachineError.
        """
        self.run_deferred()
        self.is_closed = True
        for function in vars(self).values():
            if isinstance(function, GuestFunction):
                function.forget()
        del self._machine, self._space, self._stack_calls, self._resolve

    def check_open(self) -> None:
        """Raise MachineError once the library is closed."""
        if self.is_closed:
            raise MachineError(f"{self._name}: its platform is closed")

    def address_of(self, name: str) -> int:
        """Return a function's guest address. Raises AttributeError as ctypes does."""
        self.check_open()
        try:
            return self._resolve(name)
        except KeyError:
            raise AttributeError(f"{self._name}: undefined symbol: {name}") from None

    def bind(
        self, name: str, address: int, restype: Any, argtypes: Sequence[Any] | None
    ) -> Callable[..., Any]:
        """Compile a signature into a callable that marshals, calls, and marshals back."""
        space, call = self._space, self._stack_calls.caller(address, len(argtypes or ()))
        deferred, errors = self.deferred, self.errors
        scratch, passing, entries = space.scratch, space.passing, space.passing.entries
        result = result_converter(restype)
        untyped = untyped_converter(space) if argtypes is None else None
        declared = [argument_converter(space, kind) for kind in argtypes or ()]
        count = len(declared)
        machine, acquire, release = self._machine, self.lock.acquire, self.lock.release

        def invoke(*arguments: Any) -> Any:
            if not acquire(False):
                raise NotNowError(f"{name}: another thread is using this platform")
            try:
                if self.nesting:
                    self.check_room()
                tasks = self.tasks
                if tasks is not None and (place := tasks.place) is not None and not place.is_here:
                    self.check_tasks(name)
                if not machine.can_call:
                    raise self.refusal(name)
                mark, depth, kept = scratch.top, len(entries), len(errors)
                try:
                    converters = declared
                    if len(arguments) != count:
                        if untyped is None:
                            problem = f"{name} takes {count} arguments ({len(arguments)} given)"
                            raise TypeError(problem)
                        converters = [untyped] * len(arguments)
                    if deferred:
                        self.run_deferred()
                    try:
                        # Of equal length: strict would cost a tenth of the call.
                        integers = [convert(v) for convert, v in zip(converters, arguments)]  # noqa: B905
                    except TypeError:
                        integers = convert_arguments(converters, arguments)
                    rax = call(address, integers)
                    if len(entries) > depth:
                        passing.finish(depth)
                    if len(errors) > kept:
                        self.raise_kept(kept)
                except GuestError:
                    del errors[kept:]  # the call they were kept for does not return
                    raise
                finally:
                    scratch.top = mark
                    if len(entries) > depth:
                        passing.drop(depth)
            except MachineBusyError:
                raise self.refusal(name) from None
            finally:
                release()
            return None if result is None else result(rax)

        if self._own_thread is not None:
            deletes = restype is None and name.endswith("_delete")
            return self._own_thread.carry(invoke, name, deletes=deletes)
        return invoke

    def replace(self, function: Callable[..., Any], other: Callable[..., Any]) -> None:
        """Put another callable in a function's place, wherever it is a global."""
        for namespace in self.namespaces:
            for name in [name for name, value in namespace.items() if value is function]:
                namespace[name] = other

    def specialises(self, in_finaliser: bool) -> bool:
        """Whether :meth:`specialise` may be asked now. It imports at first: a finaliser, which may
        run in the middle of another import or of this very one, must not be who begins that."""
        return not in_finaliser or self._specialise is not None

    def specialise(
        self, function: GuestFunction, address: int, restype: Any, argtypes: Sequence[Any]
    ) -> Callable[..., Any] | None:
        """Return what does :meth:`bind`'s work in code for this signature alone.

        None where that needs more than a machine's direct call: copies of host memory, for one.
        """
        space, stack_calls, count = self._space, self._stack_calls, len(argtypes)
        if not space.is_direct or count > LIMIT:
            return None
        target = stack_calls.place(address, count) if needs_block(count) else address
        direct = self._machine.direct_call(target)
        if direct is None:
            return None
        if self._specialise is None:
            from theseus_kit.runtime.specialised import specialise

            self._specialise = specialise
        name, call = function.__name__, self._machine.call
        return self._specialise(
            name,
            restype,
            argtypes,
            [argument_converter(space, kind) for kind in argtypes],
            result_converter(restype),
            direct,
            blocks=stack_calls.blocks,
            check_room=self.check_room,
            deferred=self.deferred,
            deletes=name.endswith("_delete"),
            errors=self.errors,
            function=function,
            has_room_to_delete=self.has_room_to_delete,
            library=self,
            machine=self._machine,
            new_block=stack_calls.new_block,
            raise_kept=self.raise_kept,
            refusal=lambda: self.refusal(name),
            run_deferred=self.run_deferred,
            slow_call=lambda words: call(target, words),
            view=space.view,
        )

    def refusal(self, name: str) -> NotNowError:
        """Make the error that says that a function cannot be called."""
        there = None if self.tasks is None else self.tasks.elsewhere
        if there is not None:
            if there.is_alive():
                where = f"live on the thread {there.name!r}: call from that one, or assemble"
            else:
                where = f"lived on the thread {there.name!r}, which has ended: assemble"
            return NotNowError(
                f"{name}: guest tasks of this platform {where} a platform with a thread of its own "
                "(own_thread=True; theseus-kit python --own-thread)"
            )
        return NotNowError(f"{name}: guest code cannot be called now, or not by this thread")

    def check_tasks(self, name: str) -> None:
        """Raise NotNowError where tasks wait on another host thread than the calling one: the
        machine does not know that guest code could not go over to them."""
        if self.tasks is not None and self.tasks.elsewhere is not None:
            raise self.refusal(name)

    def run_deferred(self) -> None:
        """Run what finalisers could not run at the time.

        Not inside itself: each of these calls, and each thread that calls meanwhile, comes here.
        """
        if self._is_running_deferred:
            return
        self._is_running_deferred = True
        try:
            for _ in range(len(self.deferred)):  # what must wait still goes back to the end
                function, arguments = self.deferred.popleft()
                function(*arguments)
        finally:
            self._is_running_deferred = False
