"""The base of plugins that intercept calls: wrappers of the hooks, and of what plugins offer.

Which calls those are is said by the subclass; what they are called is
:mod:`theseus_kit.interception.calls`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from theseus_kit.assembly.check import hooks_of, parameters_of
from theseus_kit.hookspecs import GROUPS, Open
from theseus_kit.interception.calls import CallKind, PlatformCall
from theseus_kit.marks import hookimpl
from theseus_kit.plugin import Plugin, Services
from theseus_kit.values.linkage import CFunction, CObject, SystemCall

if TYPE_CHECKING:
    from theseus_kit.task import Task

_Interceptor = TypeVar("_Interceptor", bound="Interceptor")

Symbols = Iterable[CFunction | CObject]
Offer = Iterable[SystemCall]

HOOK_CALLS: dict[str, PlatformCall] = {
    name: PlatformCall(CallKind.HOOK, name, parameters_of(hook)[1:])
    for specification in (*GROUPS.values(), Open)
    for name, hook in hooks_of(specification).items()
}
"""Every hook of the contract, by name."""


class Interception(Protocol):
    """What is told of each call of one hook, C function or system call.

    ``arguments`` are in the order of the hook's declaration or of the C prototype, decoded. What
    ``before`` returns comes back with the call's end; where it raises there is no call and no end,
    and its error is what the caller gets, as if the provider had raised it.
    """

    def before(self, arguments: tuple[Any, ...]) -> Any: ...

    def after(self, token: Any, result: Any) -> None: ...

    def failed(self, token: Any, error: BaseException) -> None: ...


class Interceptor(Plugin):
    """Wraps what :meth:`wants` picks, and nothing else.

    Functions that are machine code are replaced by their bodies where they are wanted. Calls that
    Python makes while the plugins are asked for their functions are seen too; then, at the first
    task's start, :meth:`offers_known` is called once.
    """

    always_wrapped: ClassVar[frozenset[str]] = frozenset(
        ("c_symbols", "system_calls", "task_started")
    )
    """The hooks whose wrappers are there, wanted or not, because they do more than to tell."""

    @classmethod
    def wants(cls, options: Any, call: PlatformCall) -> bool:
        """Whether a call is to be intercepted. Asked of hooks before the plugin is made."""
        raise NotImplementedError

    def intercept(self, call: PlatformCall) -> Interception:
        """Return what is told of each call; asked once for each hook and function wanted."""
        raise NotImplementedError

    def offers_known(self) -> None:
        """Every function and system call is in :attr:`calls` now: time to refuse unknown names."""

    def __new__(cls: type[_Interceptor], services: Services, options: Any) -> _Interceptor:
        """Make an instance without the wrappers of hooks that are not wanted.

        Plugin managers look for hooks at an instance's class, so it gets a class of its own.
        """
        unwanted = {
            name: None
            for name, call in HOOK_CALLS.items()
            if name not in cls.always_wrapped and not cls.wants(options, call)
        }
        narrowed = type(cls.__name__, (cls,), {"__module__": cls.__module__, **unwanted})
        return object.__new__(narrowed)

    def __init__(self, services: Services, options: Any) -> None:
        super().__init__(services, options)
        self.calls: list[PlatformCall] = list(HOOK_CALLS.values())
        """What can be called: the hooks, then what plugins have offered so far."""
        self._on_hooks: dict[str, Interception | None] = {}
        self._offers_known = False

    def told_of_hook(self, name: str, arguments: tuple[Any, ...]) -> Generator[None, Any, Any]:
        """What a hook's wrapper does by itself, for one that does more: ``yield from`` it."""
        interception = self._on_hook(name)
        if interception is None:
            return (yield)
        token = interception.before(arguments)
        try:
            result = yield
        except BaseException as error:
            interception.failed(token, error)
            raise
        interception.after(token, result)
        return result

    def _on_hook(self, name: str) -> Interception | None:
        """What is told of a hook's calls, None if it is not wanted."""
        try:
            return self._on_hooks[name]
        except KeyError:
            call = HOOK_CALLS[name]
            found = self.intercept(call) if self.wants(self.options, call) else None
            self._on_hooks[name] = found
            return found

    @hookimpl(wrapper=True)
    def c_symbols(self, plugin: str) -> Generator[None, Symbols, Symbols]:
        symbols = yield from self.told_of_hook("c_symbols", (plugin,))
        return [
            self._intercepted(CallKind.C_FUNCTION, plugin, symbol)
            if isinstance(symbol, CFunction)
            else symbol
            for symbol in symbols or ()
        ]

    @hookimpl(wrapper=True)
    def system_calls(self, plugin: str) -> Generator[None, Offer, Offer]:
        offered = yield from self.told_of_hook("system_calls", (plugin,))
        return [
            call._replace(function=self._intercepted(CallKind.SYSTEM_CALL, plugin, call.function))
            for call in offered or ()
        ]

    @hookimpl(wrapper=True)
    def task_started(self, task: Task) -> Generator[None, Any, Any]:
        if not self._offers_known:
            self._offers_known = True
            self.offers_known()
        return (yield from self.told_of_hook("task_started", (task,)))

    def _intercepted(self, kind: CallKind, plugin: str, function: CFunction) -> CFunction:
        call = PlatformCall(kind, function.name, (), plugin, function)
        if function.machine_code_only:
            return function  # what it passes on to is seen
        self.calls.append(call)
        if not self.wants(self.options, call):
            return function
        body = told_body(function.body, self.intercept(call))
        return function._replace(body=body, machine_code=None)


def told_body(body: Callable[..., Any], interception: Interception) -> Callable[..., Any]:
    """Return what calls a function's body and tells an interception of it."""
    before, after, failed = interception.before, interception.after, interception.failed

    def told(*arguments: Any) -> Any:
        token = before(arguments)
        try:
            result = body(*arguments)
        except BaseException as error:
            failed(token, error)
            raise
        after(token, result)
        return result

    return told


def _hook_wrapper(name: str, parameters: tuple[str, ...]) -> Callable[..., Any]:
    """Make the wrapper of a hook; a method of its arguments, since hooks are called by name."""
    passed = "".join(f"{parameter}, " for parameter in parameters)
    scope: dict[str, Any] = {}
    # Hooks and their arguments are identifiers: the text is made of nothing else. It says in
    # place what told_of_hook does, which would cost every call another generator.
    exec(
        f"def {name}({', '.join(('self', *parameters))}):\n"
        f"    interception = self._on_hook({name!r})\n"
        f"    token = interception.before(({passed}))\n"
        "    try:\n"
        "        result = yield\n"
        "    except BaseException as error:\n"
        "        interception.failed(token, error)\n"
        "        raise\n"
        "    interception.after(token, result)\n"
        "    return result\n",
        scope,
    )
    wrapper: Callable[..., Any] = hookimpl(wrapper=True)(scope[name])
    return wrapper


for _name, _call in HOOK_CALLS.items():
    if _name not in vars(Interceptor):
        setattr(Interceptor, _name, _hook_wrapper(_name, _call.parameters))
