"""One host thread for all guest calls of a platform, whoever makes them.

Guest tasks are greenlets, and greenlets stay on the host thread where they began. A platform whose
calls come from several threads therefore has a thread of its own, which makes them for all::

    caller      ── request ──► │ waits … │ ── result, error ──►
    other       ─────── request ──► │ waits …            │ ──►
                                    ▼                    ▼
    the platform's  ─ idle ─► │ call  │──► │ other's call │ ─ idle ─►
                                │  ▲
                                ▼  │ in place: this is the platform's thread
                              host function

Calls are served one after the other. What is a call, and what may be put off (finalisers), is the
library's business.

Python runs signal handlers in the main thread only, between two instructions of whatever that
does, which may be anything in here. So nothing of what callers do takes a lock that the thread
needs: requests pass through a deque, whose steps are whole, and each has a lock of its own to wait
for. Nor may a finaliser that comes in between and calls find anything taken.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, get_ident, start_new_thread
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from threading import Thread, local
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import ref

from theseus_kit.errors import GuestInterrupted, MachineError
from theseus_kit.runtime.guest_function import NotNowError
from theseus_kit.task.striking import combine

if TYPE_CHECKING:
    from theseus_kit.runtime.package import Amendment, PrivatePackage
    from theseus_kit.task import Tasks

NAME = "theseus-kit platform"
"""What the thread is called."""
_AGAIN = 0.02
"""Seconds between two interrupts of a call that goes on."""
_SOON = 0.01
_LONGEST_ASKING = 100
"""How often, for _SOON, an interrupt that is being sent is waited for."""


class _Request:
    """A call to be made, and what became of it."""

    __slots__ = (
        *("arguments", "context", "done", "error", "function", "is_asking", "is_interrupted"),
        *("last_errors", "result"),
    )

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments
        self.context = copy_context()
        self.done = allocate_lock()
        self.done.acquire()
        self.result: Any = None
        self.error: BaseException | None = None
        self.last_errors: dict[str, BaseException] | None = None
        self.is_asking = self.is_interrupted = False

    def make(self) -> None:
        """Make the call, in a copy of its caller's context."""
        try:
            self.result = self.context.run(self.function, *self.arguments)
        except BaseException as error:  # noqa: BLE001  # raised where the caller waits
            self.error = error

    def give_up(self, problem: str) -> None:
        self.error = MachineError(problem)
        self.done.release()


class OwnThread:
    """A platform's own thread. It is started at the first call, and in a forked child again."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._is_closed = False
        self._modules: dict[str, Any] = {}
        """Of the package, those that keep a host function's error until its caller looks."""
        self._last_errors = local()
        """Those errors, where the calling thread will look for them."""
        self._make_line()
        this = ref(self)
        os.register_at_fork(after_in_child=lambda: _begin_again(this))

    def _make_line(self) -> None:
        self._requests: deque[_Request] = deque()
        self._running: _Request | None = None
        self._thread_number = 0
        """Python's number of the thread while it serves."""
        self._has_ended = False
        self._serving = allocate_lock()
        """Held by the thread that serves: others that were started with it are too many."""
        self._wanted = allocate_lock()
        self._wanted.acquire()

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the platform's."""
        return self._thread_number == get_ident()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on the platform's thread; return, or raise, what it does.

        In place where this is that thread already, or it has ended. What a signal handler raises
        while the caller waits interrupts the guest code of the call, and is raised when that is
        over; Python code of a host function is waited for. Calls of other threads come first where
        they were made first.
        """
        if self._thread_number == get_ident():
            return function(*arguments)
        request = _Request(function, arguments)
        try:
            if self._is_refused(request):
                return function(*arguments)
            request.done.acquire()
        except BaseException as error:  # noqa: BLE001  # a signal handler's, raised in the end
            self._leave(request, error)
        if request.last_errors is not None:
            vars(self._last_errors).update(request.last_errors)
        error_there = request.error
        if error_there is not None:
            try:
                raise error_there
            finally:
                del error_there, request  # which this frame, and with it the error, would hold
        return request.result

    def carry(
        self, function: Callable[..., Any], name: str, *, deletes: bool
    ) -> Callable[..., Any]:
        """Return what calls a C function on the platform's thread.

        One that ``deletes``, which finalisers call on any thread and anywhere, is refused on
        another (NotNowError): who calls it puts it off, and waits for nobody.
        """
        run = self.run

        def carried(*arguments: Any) -> Any:
            if self._thread_number == get_ident():
                return function(*arguments)
            if deletes and not self._has_ended:
                raise NotNowError(f"{name}: finalisers run before the platform's next call")
            return run(function, *arguments)

        return carried

    def close(self) -> None:
        """End the thread. What is run later is run in place."""
        self._is_closed = True
        self._wake()
        while self._thread_number and not self.is_here:
            if self._serving.acquire(timeout=_SOON):
                self._serving.release()

    # What callers do

    def _is_refused(self, request: _Request) -> bool:
        """Post a request; True if the thread has ended and will not serve it."""
        if not self._is_closed and not self._thread_number:
            start_new_thread(self._start, ())  # never struck, as threading's would be here
        self._requests.append(request)
        if self._has_ended or (self._is_closed and not self._thread_number):
            with suppress(ValueError):  # taken in the last moment
                self._requests.remove(request)
                return True
        self._wake()
        return False

    def _wake(self) -> None:
        with suppress(RuntimeError):  # it is awake, or will be
            self._wanted.release()

    def _leave(self, request: _Request, error: BaseException) -> NoReturn:
        """See that a call does not go on, and raise what ended the waiting for it."""
        try:
            self._interrupt(request)
        except BaseException as later:  # noqa: BLE001  # struck twice
            error = combine(later, error)
            self._interrupt(request)
        outcome = request.error
        if isinstance(outcome, GuestInterrupted):
            # Its frames were dropped wherever they stood: what they worked on is left alone.
            self._tasks.is_broken = True
        elif outcome is not None:
            error = combine(error, outcome)
        raise error

    def _interrupt(self, request: _Request) -> None:
        with suppress(ValueError):
            self._requests.remove(request)  # nobody has begun it
            return
        while self._running is request:
            self._ask(request)
            request.done.acquire(timeout=_AGAIN)

    def _ask(self, request: _Request) -> None:
        """Interrupt the guest if it is this request that it runs for; the thread waits for that."""
        request.is_interrupted = request.is_asking = True
        try:
            if self._running is request:
                self._tasks.interrupt()
        finally:
            request.is_asking = False

    # The thread

    def _start(self) -> None:
        try:
            Thread(target=self._serve, name=NAME, daemon=True).start()
        except RuntimeError as error:  # the host has none to give, or the interpreter ends
            while self._requests:
                with suppress(IndexError):
                    self._requests.popleft().give_up(f"no thread for the platform: {error}")

    def _serve(self) -> None:
        if not self._serving.acquire(False):
            return
        self._thread_number = get_ident()
        try:
            while not self._is_closed:
                self._wanted.acquire()
                self._serve_all()
        finally:
            self._has_ended = True
            self._serve_all()  # who came before that was to be seen
            self._thread_number = 0
            self._serving.release()

    def _serve_all(self) -> None:
        while True:
            try:
                request = self._running = self._requests[0]
            except IndexError:
                return
            try:
                self._requests.remove(request)  # either here, or by its caller who withdraws it
            except ValueError:
                self._running = None
            else:
                request.make()
                self._finish(request)
            del request  # and all that it holds, before the next one is waited for

    def _finish(self, request: _Request) -> None:
        self._running = None
        if request.is_interrupted:
            for _ in range(_LONGEST_ASKING):
                if not request.is_asking:
                    break
                request.done.acquire(timeout=_SOON)  # nobody releases it: a rest
            self._tasks.forget_interrupt()
        last_errors = None
        for name, module in self._modules.items():
            error = module.LAST_EXCEPTION
            if error is not None:
                module.LAST_EXCEPTION = None
                last_errors = {**(last_errors or {}), name: error}
        request.last_errors = last_errors
        request.done.release()

    def begin_again(self) -> None:
        """In a forked child, which has no such thread, unless it is the one that forked."""
        lost = list(self._requests)
        if self.is_here:
            self._requests.clear()
            return
        if self._running is not None:
            lost.append(self._running)
        self._make_line()
        for request in lost:
            request.give_up("the platform's thread has not come along with the forked process")

    # What the package keeps for the caller

    def amend(self, _: PrivatePackage, module: Any) -> None:
        """Have a module of the package find a host function's error on the thread that called.

        The package keeps the last one in a global. While its caller wakes up the platform's thread
        may run the next call, of another caller.
        """
        self._modules[module.__name__] = module
        in_place: Callable[[], None] = module.maybe_raise_last_exn

        def maybe_raise_last_exn() -> None:
            if self.is_here:
                in_place()
                return
            error = vars(self._last_errors).pop(module.__name__, None)
            if error is not None:
                context = error.__context__
                try:
                    raise error
                finally:
                    error.__context__ = context  # and not the guest's own error
                    del error

        module.maybe_raise_last_exn = maybe_raise_last_exn

    def carry_methods(self, package: PrivatePackage) -> None:
        """Have the package's hot methods run as a whole on the platform's thread.

        ``Func.__call__`` makes some 25 C calls where it is not prepared, and none that could be
        carried alone where it is.
        """
        memory = package.load("wasmtime._memory").Memory
        for kind, name in (
            (package.load("wasmtime._func").Func, "__call__"),
            (memory, "data_ptr"),
            (memory, "data_len"),
        ):
            setattr(kind, name, self._carried_method(getattr(kind, name)))

    def _carried_method(self, method: Callable[..., Any]) -> Callable[..., Any]:
        run = self.run

        def carried(self: Any, store: Any, *arguments: Any) -> Any:
            return run(method, self, store, *arguments)

        carried.__name__, carried.__doc__ = method.__name__, method.__doc__
        return carried

    def amendments(self, others: dict[str, Amendment]) -> dict[str, Amendment]:
        """Return the changes of the package's modules, with the platform's thread's own."""

        def amend_functions(package: PrivatePackage, module: Any) -> None:
            others["wasmtime._func"](package, module)
            self.amend(package, module)

        return {
            **others,
            "wasmtime._func": amend_functions,
            "wasmtime.component._enter": self.amend,
        }


def _begin_again(this: ref[OwnThread]) -> None:
    own = this()
    if own is not None:
        own.begin_again()
