"""Calls between Python and WebAssembly, and traps that Python catches.

Against wasmtime-py's own figures for the same call of the same machine code. Prepared functions are
compared with wasmtime-py's ordinary ones, since it has nothing else to offer. On the emulated
machine prepared calls stand beside the floor of any call as well: a stock Unicorn that is entered,
executes one ``hlt`` and is left, by a raw ctypes call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bare_unicorn import BareUnicorn
from contenders import Contenders, Instance, Side
from figures import Figure
from rounds import Contestant, interleave, looped, timed
from workloads import CALLS

_CALLS = 300
_HOST_CALLS = 500
_TRAPS = 40
_GROWTHS = 60
_ROUNDS = 15

ENTER_AND_LEAVE = "bare Unicorn, enter and leave"
NATIVE = "wasmtime-py"


def measure(contenders: Contenders) -> list[Figure]:
    pair = _Pair(contenders)
    return [*_calls(contenders, pair), *_host_functions(pair), *_traps(pair), *_growth(pair)]


class _Pair:
    """The module on both sides, and on the guest's a second time with a prepared import."""

    def __init__(self, contenders: Contenders) -> None:
        self.contenders = contenders
        self._modules = contenders.modules(CALLS)
        self.guest = self.instance(contenders.guest)
        self.host = self.instance(contenders.host)
        guest, runtime = contenders.guest, contenders.runtime

        def prepared_import(store: Any) -> list[Any]:
            kind = guest.function_type(1, 1)
            return [runtime.prepare_host_function(store, kind, _increment)]

        self.prepared_host = guest.instance(self._modules[0], prepared_import)

    def instance(self, side: Side) -> Instance:
        """A fresh instance whose import is an ordinary host function."""
        module = self._modules[side is self.contenders.host]
        return side.instance(
            module, lambda store: [side.api.Func(store, side.function_type(1, 1), _increment)]
        )


def _increment(number: int) -> int:
    return number + 1


def _calls(contenders: Contenders, pair: _Pair) -> list[Figure]:
    prepared = contenders.prepared(pair.guest, "increment")
    ordinary, native = pair.guest.ordinary("increment"), pair.host.ordinary("increment")
    contestants: dict[str, Contestant] = {
        "prepared": timed(lambda: prepared(1), _CALLS),
        "ordinary": timed(lambda: ordinary(1), _CALLS),
        NATIVE: timed(lambda: native(1), _CALLS),
    }
    if contenders.machine == "emulated":
        bare = BareUnicorn()
        contestants[ENTER_AND_LEAVE] = lambda: bare.enter_and_leave(_CALLS)
    found = interleave(contestants, _ROUNDS)
    figures = [
        Figure("prepared wasm call", found["prepared"], NATIVE, found[NATIVE]),
        Figure("ordinary wasm call", found["ordinary"], NATIVE, found[NATIVE]),
    ]
    if ENTER_AND_LEAVE in found:
        floor = found[ENTER_AND_LEAVE]
        figures.insert(1, Figure("prepared wasm call", found["prepared"], ENTER_AND_LEAVE, floor))
    return figures


def _host_functions(pair: _Pair) -> list[Figure]:
    loops = {
        "prepared host function": pair.prepared_host.ordinary("call_host"),
        "ordinary host function": pair.guest.ordinary("call_host"),
        NATIVE: pair.host.ordinary("call_host"),
    }
    found = interleave({name: looped(loop, _HOST_CALLS) for name, loop in loops.items()}, _ROUNDS)
    floor = found.pop(NATIVE)
    return [Figure(name, seconds, NATIVE, floor) for name, seconds in found.items()]


def _traps(pair: _Pair) -> list[Figure]:
    contenders = pair.contenders
    guest_trap, host_trap = contenders.guest.api.Trap, contenders.host.api.Trap
    titles = {"unreachable": "unreachable", "divide": "division by zero", "load": "out of bounds"}
    figures = []
    for name, title in titles.items():
        found = interleave(
            {
                "prepared": timed(
                    _trapping(contenders.prepared(pair.guest, name), guest_trap), _TRAPS
                ),
                "ordinary": timed(_trapping(pair.guest.ordinary(name), guest_trap), _TRAPS),
                NATIVE: timed(_trapping(pair.host.ordinary(name), host_trap), _TRAPS),
            },
            _ROUNDS,
        )
        figures += [
            Figure(f"trap, {kind} call: {title}", found[kind], NATIVE, found[NATIVE])
            for kind in ("prepared", "ordinary")
        ]
    return figures


def _trapping(function: Callable[..., Any], trap: type[BaseException]) -> Callable[[], None]:
    def call() -> None:
        try:
            function(1)
        except trap:
            return
        raise RuntimeError("the call did not trap")

    return call


def _growth(pair: _Pair) -> list[Figure]:
    """Grow a fresh instance's memory page by page: from Python, and in wasm."""

    def from_python(side: Side) -> Contestant:
        def contestant() -> float:
            instance = pair.instance(side)
            memory, store = instance.exports["memory"], instance.store
            return timed(lambda: memory.grow(store, 1), _GROWTHS)()

        return contestant

    def in_wasm(side: Side) -> Contestant:
        return lambda: looped(pair.instance(side).ordinary("grow"), _GROWTHS)()

    contenders = pair.contenders
    figures = []
    for title, kind in {
        "memory.grow from Python": from_python,
        "memory.grow in wasm": in_wasm,
    }.items():
        found = interleave({"here": kind(contenders.guest), NATIVE: kind(contenders.host)}, _ROUNDS)
        figures.append(Figure(title, found["here"], NATIVE, found[NATIVE]))
    return figures
