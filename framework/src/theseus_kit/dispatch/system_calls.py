"""What happens when guest code executes a ``syscall`` instruction.

The machine hands over rax and the six argument registers; the table of the assembly says which
plugin serves the number, the function's prototype how its arguments are decoded (exactly as for a
C call, :mod:`theseus_kit.dispatch.c_calls`). Errors are negated error numbers in rax. A number
that nobody serves answers ENOSYS, as a kernel without it does, and is counted.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from theseus_kit.dispatch.c_calls import Failure, KillListener, negative_errno
from theseus_kit.dispatch.prototype import parse_prototype
from theseus_kit.dispatch.trampolines import MASK, Parts, growing_trampoline, shape_of
from theseus_kit.errors import PluginError, TheseusKitError

if TYPE_CHECKING:
    from theseus_kit.values.linkage import SystemCall

_ENOSYS = -errno.ENOSYS & MASK
_MOST_ARGUMENTS = 6


class SystemCalls:
    """The system calls of one platform; an instance is the machine's system call callback.

    ``on_kill`` is told of a call that kills the guest; an error that ``is_passing`` is no fault of
    the plugin's; ``on_unanswered`` is told of each call that no plugin serves, ``on_interrupted``
    of each that a signal has ended (EINTR).
    """

    def __init__(
        self,
        on_kill: KillListener = lambda killed: None,
        is_passing: Callable[[Exception], bool] = lambda error: False,
        on_unanswered: Callable[[int, tuple[int, ...]], object] = lambda number, arguments: None,
        on_interrupted: Callable[[], object] = lambda: None,
    ) -> None:
        self._on_interrupted = on_interrupted
        self._on_kill = on_kill
        self._on_unanswered = on_unanswered
        self._is_passing = is_passing
        self._table: dict[int, tuple[str, SystemCall]] = {}
        self._served: dict[int, tuple[Callable[..., int | None], int]] = {}
        self.unanswered: Counter[int] = Counter()
        """How often each number was asked for that no plugin serves."""

    def provide(self, plugin: str, call: SystemCall) -> bool:
        """Offer a plugin's system call; False if an earlier one has the number and stays."""
        return self._table.setdefault(call.number, offer := (plugin, call)) is offer

    @property
    def reentrant(self) -> frozenset[int]:
        """The numbers of those that may call guest code, or block."""
        return frozenset(
            number
            for number, (_, call) in self._table.items()
            if call.function.reenters or call.function.blocks
        )

    def provided(self, number: int) -> SystemCall | None:
        """The system call that serves a number."""
        entry = self._table.get(number)
        return None if entry is None else entry[1]

    def provider_of(self, number: int) -> str | None:
        """The name of the plugin that serves a number, None if nobody does."""
        entry = self._table.get(number)
        return None if entry is None else entry[0]

    def __call__(self, number: int, a0: int, a1: int, a2: int, a3: int, a4: int, a5: int) -> int:
        """Serve one system call; return rax, unsigned."""
        served = self._served.get(number)
        if served is None:
            served = self._prepare(number)
            if served is None:
                self._on_unanswered(number, (a0, a1, a2, a3, a4, a5))
                return _ENOSYS
        function, arity = served
        result = function(*(a0, a1, a2, a3, a4, a5)[:arity])
        return 0 if result is None else result

    def _prepare(self, number: int) -> tuple[Callable[..., int | None], int] | None:
        entry = self._table.get(number)
        if entry is None:
            self.unanswered[number] += 1
            return None
        plugin, call = entry
        function = call.function
        try:
            prototype = parse_prototype(function.prototype)
        except TheseusKitError as error:
            raise PluginError(plugin, call.name, str(error)) from error
        if len(prototype.arguments) > _MOST_ARGUMENTS:
            raise PluginError(plugin, call.name, "a system call has at most six arguments")
        failure = Failure(
            plugin,
            function,
            prototype,
            negative_errno,
            self._on_kill,
            is_passing=self._is_passing,
            on_interrupted=self._on_interrupted,
        )
        body = function.body
        if call.direct is not None and call.direct.body == body:
            before = call.direct.prepare()
            if before is not None:
                body = _after(before, body)
        parts = Parts(shape_of(prototype), body, failure, _no_floats, _no_floats)

        def serve(trampoline: Callable[..., int | None], arity: int) -> None:
            self._served[number] = trampoline, arity

        serve(*growing_trampoline(parts, serve))
        return self._served[number]


def _after(first: Callable[[], None], body: Callable[..., float | None]) -> Callable[..., Any]:
    def both(*arguments: int) -> float | None:
        first()
        return body(*arguments)

    return both


def _no_floats(_: object) -> NoReturn:
    raise TypeError("a system call has no floating-point arguments")
