"""A platform: a machine with the plugins assembled on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from theseus_kit.clock import HostClock, VirtualClock, host_bytes, seeded_bytes
from theseus_kit.dispatch.backtraces import capture_backtrace
from theseus_kit.dispatch.c_calls import CCalls, provider_of
from theseus_kit.dispatch.exceptions import ExceptionDispatch, tell_of_kill
from theseus_kit.dispatch.system_calls import SystemCalls
from theseus_kit.dispatch.unwinding import Caught, catch_unwind, resume_unwind
from theseus_kit.errors import GuestKilled, MachineError
from theseus_kit.hookspecs import Group
from theseus_kit.image import Image, Namespace
from theseus_kit.plugin import Plugin, Services
from theseus_kit.task import Tasks

if TYPE_CHECKING:
    from theseus_kit.assembly.manager import PlatformPluginManager
    from theseus_kit.assembly.report import AssemblyReport
    from theseus_kit.clock import Clock
    from theseus_kit.image import Needs
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.runtime import Runtime
    from theseus_kit.runtime.own_thread import OwnThread
    from theseus_kit.task import Task
    from theseus_kit.values.exceptions import ExceptionContext, KillReason
    from theseus_kit.values.linkage import CFunction
    from theseus_kit.values.programs import Limits, Surroundings
    from theseus_kit.values.symbols import BacktraceEntry


class Platform:
    """A machine with its plugins, made by :func:`theseus_kit.assemble`. Closing it frees all.

    One Python thread at a time may use a platform; :meth:`interrupt` alone may come from others.
    Where it has a thread of its own any number may call the wasmtime API.
    After the guest was killed the platform is dead: its guest frames were dropped where they
    stood, whatever they held.
    """

    def __init__(
        self,
        machine: Machine,
        manager: PlatformPluginManager,
        report: AssemblyReport,
        task_options: Mapping[str, Any] | None = None,
        deterministic: int | None = None,
        own_thread: bool = False,
    ) -> None:
        self.machine = machine
        self.hooks = hooks = manager.hooks
        self.report = report
        self._manager = manager
        self.clock: Clock = HostClock() if deterministic is None else VirtualClock()
        self.tasks = Tasks(machine, self.clock, **(task_options or {}))
        self.tasks.capture = lambda task: capture_backtrace(machine, hooks, self.tasks, task)
        self._c_calls = CCalls(
            machine,
            hooks,
            self.tasks,
            lambda function: self.namespace.provider_of(function.name) or provider_of(function),
        )
        self.namespace = Namespace(
            machine=machine, hooks=hooks, tasks=self.tasks, export_function=self._c_calls.export
        )
        self.services = Services(
            machine,
            hooks,
            self.tasks,
            self.namespace,
            self.clock,
            host_bytes if deterministic is None else seeded_bytes(deterministic),
            is_wrapped=manager.is_wrapped,
        )
        self.system_calls = SystemCalls(
            lambda killed: tell_of_kill(machine, hooks, self.tasks, killed),
            self.tasks.is_passing,
            on_unanswered=lambda number, arguments: hooks.system_call_unanswered(
                number=number, arguments=arguments
            ),
            on_interrupted=lambda: self.tasks.handle_signals(),
        )
        self._runtime: Runtime | None = None
        self.own_thread: OwnThread | None = None
        """The thread that makes the calls of the wasmtime API, where the platform has one."""
        if own_thread:
            from theseus_kit.runtime.own_thread import OwnThread

            self.own_thread = OwnThread(self.tasks)
        self._closed = False

    def start(self) -> None:
        """Gather what the plugins offer and make the main task. Called once, by assembly."""
        for name, offered in _offers(self._manager, "c_symbols"):
            for symbol in offered:
                self.namespace.provide(name, symbol)
        for name, offered in _offers(self._manager, "system_calls"):
            for system_call in offered:
                self.system_calls.provide(name, system_call)
        dispatch = ExceptionDispatch(
            self.machine,
            self.hooks,
            self.tasks,
            self.report.provider_of(Group.EXCEPTION_REGISTRATION),
        )
        self.machine.set_handlers(dispatch, self.system_calls, self.system_calls.reentrant)
        self.tasks.start_main(self.hooks)

    def plugin(self, name: str) -> Plugin:
        """Return one of the platform's plugins by its name. Raises KeyError."""
        plugin = self._manager.get_plugin(name)
        if not isinstance(plugin, Plugin):
            raise KeyError(name)
        return plugin

    def load(self, path: str | Path, *, strict: bool = False) -> Image:
        """Load an ELF shared object from the host and run its constructors.

        With ``strict`` an imported symbol that nobody provides is an ImageError; without, calling
        it raises MissingSymbolError.
        """
        self._check_open()
        if self.own_thread is not None:
            image: Image = self.own_thread.run(lambda: self.namespace.load(path, strict=strict))
            return image
        return self.namespace.load(path, strict=strict)

    def boot(self, wasmtime: str | Path | None = None, *, strict: bool = False) -> Runtime:
        """Load the Wasmtime library, once, and return the runtime.

        ``wasmtime`` is the directory of another wasmtime package than the installed one.
        """
        self._check_open()
        if self.own_thread is None:
            return self._boot(wasmtime, strict)
        runtime: Runtime = self.own_thread.run(self._boot, wasmtime, strict)
        return runtime

    def _boot(self, wasmtime: str | Path | None, strict: bool) -> Runtime:
        if self._runtime is None:
            from theseus_kit.runtime import Runtime

            self._runtime = Runtime(self, wasmtime, strict=strict)
        elif wasmtime is not None:
            raise MachineError("this platform has booted already: assemble another one")
        return self._runtime

    @property
    def wasmtime(self) -> ModuleType:
        """wasmtime-py's own API, bound to the guest library; boots if need be."""
        return self.boot().wasmtime

    def prepare(self, store: Any, function: Any) -> Callable[..., Any]:
        """Return a callable that takes and returns plain numbers; see :meth:`Runtime.prepare`."""
        return self.boot().prepare(store, function)

    def run_program(
        self,
        path: str,
        surroundings: Surroundings | None = None,
        limits: Limits | None = None,
    ) -> int:
        """Run the WASI command in a file of the namespace to its end; return its exit status.

        See :class:`~theseus_kit.runtime.program.Program`, which :meth:`Runtime.program` makes with
        more to choose from.
        """
        return self.boot().program(path, surroundings, limits).run()

    def needs(self, image: str | Path | None = None) -> Needs:
        """List what an image file asks of the platform, and who answers.

        Without a path: the library of the installed wasmtime package. Nothing is loaded. Raises
        ImageError.
        """
        from theseus_kit.image.needs import find_needs

        if image is None:
            from theseus_kit.runtime.wheel import find_wheel

            image = find_wheel().library
        return find_needs(image, self.namespace.provider_of, self.system_calls.provider_of)

    def backtrace(self, task: Task | None = None) -> tuple[BacktraceEntry, ...]:
        """Where a task is, innermost frame first, at any moment Python holds control.

        The current one by default; the others stand where they wait. Empty where it runs no guest
        code: before it starts, and once it has ended.
        """
        return capture_backtrace(self.machine, self.hooks, self.tasks, task)

    def export(self, function: CFunction) -> int:
        """Return an address that guest code can call to run a Python function, as C declares it.

        Kills and the guest's own exceptions may pass through it; see :class:`CFunction`.
        """
        return self._c_calls.export(function)

    def catch_unwind(self, function: Callable[..., Any], *arguments: Any) -> Caught:
        """Call what may call guest code; return its result, or the kill that ended it.

        The destructors of the guest's frames have run then, innermost first, as far as the
        provider of unwinding can run them. Other errors pass.
        """
        return catch_unwind(self.tasks, function, *arguments)

    def resume_unwind(self, reason: KillReason | GuestKilled) -> NoReturn:
        """Unwind for a reason, or go on with a kill that was caught; nobody is told of it again."""
        resume_unwind(reason)

    def write_core(
        self, path: str | Path, cause: GuestKilled | ExceptionContext | None = None
    ) -> None:
        """Write an ELF core file: memory, the tasks' registers, the images; for ``gdb IMAGE PATH``.

        ``cause`` is the error a killed guest's caller got, or the exception that is being
        answered. The file appears whole or not at all. Raises UsageError where it cannot.
        """
        from theseus_kit.postmortem.core_file import write_core

        self._check_open()
        write_core(self, path, cause)

    def interrupt(self) -> None:
        """Stop the guest code that is running, or waits: its caller gets GuestInterrupted.

        From any host thread.
        """
        self.tasks.interrupt()

    def _check_open(self) -> None:
        if self._closed:
            raise MachineError("the platform is closed")

    def close(self) -> None:
        """Give everything back to the host. Closing twice is nothing.

        Tasks that are left end where they stand. Raises MachineError, and closes nothing, on
        another host thread than they run on.
        """
        if self.own_thread is None:
            self._close()
            return
        try:
            self.own_thread.run(self._close)
        finally:
            if self._closed:
                self.own_thread.close()

    def _close(self) -> None:
        if self._closed:
            return
        try:
            self.tasks.close()
        finally:
            if self.tasks.is_closed:  # with an error, perhaps, of a plugin or of a signal handler
                self._closed = True
                try:
                    if self._runtime is not None:
                        self._runtime.close()
                    self.hooks.platform_closed()
                finally:
                    try:
                        self.machine.close()
                    except BaseException:  # struck in its turn
                        self.machine.close()
                        raise

    def __enter__(self) -> Platform:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except Exception as failure:
            if error is None or isinstance(error, Exception):
                raise
            # Ctrl-C came in the middle of something: what that left cannot be closed in order.
            error.add_note(f"closing the platform failed: {failure}")

    def __repr__(self) -> str:
        plugins = ",".join(dict.fromkeys(p.plugin for p in self.report.providers))
        return f"<Platform {self.report.machine} of {plugins}>"


def _offers(manager: PlatformPluginManager, name: str) -> Iterator[tuple[str, Iterable[Any]]]:
    """Ask each plugin for its offer by a hook call of its own, in the assembly's order.

    So it is known who offers what, and wrappers are called around every offer.
    """
    offering = [
        implementation
        for implementation in reversed(getattr(manager.hook, name).get_hookimpls())
        if not (implementation.wrapper or implementation.hookwrapper)
    ]
    for asked in offering:
        others = [other.plugin for other in offering if other is not asked]
        plugin = asked.plugin_name
        yield plugin, manager.subset_hook_caller(name, others)(plugin=plugin) or ()
