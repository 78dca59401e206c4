"""Compute-bound WebAssembly: recursive calls, a sieve over memory, a SIMD loop.

Against native code: the same module in wasmtime-py, compiled for the same target and processor
features, so the very same instructions on the host's CPU.

Against bare Unicorn (emulated machine): the same machine code at the same addresses over the same
memory, run by a stock engine in its fastest configuration. It takes its turn in a host function
that a guest function has called: there Wasmtime has set up what compiled code looks at (its limit
of the stack), and the engine continues below the guest's frames. A third engine has the internal
field set that the emulated machine sets: what is left of the difference is the platform's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bare_unicorn import BareUnicorn, function_entry
from contenders import Contenders, Instance
from figures import Figure
from rounds import Contestant, interleave, timed
from workloads import COMPUTE

_RED_ZONE = 128
"""Bytes below rsp that the guest's innermost function may be using (System V ABI, 3.2.2)."""

_TLB_DOUBLINGS = 3
"""Times that a bare engine's TLB may double, from 256 entries, before it is timed."""

STOCK, TUNED, NATIVE = "bare Unicorn", "the same, internal field set", "wasmtime-py"


def measure(contenders: Contenders) -> list[Figure]:
    sizes = contenders.sizes
    work = {
        f"fib({sizes.fib})": ("fib", sizes.fib),
        f"sieve of {sizes.sieve:,}": ("sieve", sizes.sieve),
        f"SIMD, {sizes.simd} x 64 KiB": ("simd", sizes.simd),
    }
    waiting = _Waiting(contenders)
    figures = []
    for title, (name, argument) in work.items():
        contestants: dict[str, Contestant] = {
            "here": timed(partial(waiting.prepared[name], argument)),
            NATIVE: timed(partial(waiting.native[name], argument)),
        }
        if contenders.machine == "emulated":
            for peer, engine in waiting.engines.items():
                contestants[peer] = waiting.contestant(engine, name, argument)
        medians = interleave(contestants, sizes.rounds)
        here = medians.pop("here")
        figures += [Figure(title, here, peer, seconds) for peer, seconds in medians.items()]
    waiting.close()
    return figures


class _Waiting:
    """The module on both sides, and the bare engines that run in a host function of it."""

    def __init__(self, contenders: Contenders) -> None:
        self._platform = contenders.platform
        guest_module, host_module = contenders.modules(COMPUTE)
        guest, host = contenders.guest, contenders.host
        self._turn: Callable[[], None] = lambda: None
        self._guest = guest.instance(
            guest_module,
            lambda store: [guest.api.Func(store, guest.function_type(0, 0), self._take_turn)],
        )
        native = host.instance(
            host_module,
            lambda store: [host.api.Func(store, host.function_type(0, 0), lambda: None)],
        )
        names = ("fib", "sieve", "simd")
        self.prepared = {name: contenders.prepared(self._guest, name) for name in names}
        self.native = {name: native.ordinary(name) for name in names}
        self._pause = self._guest.ordinary("pause")
        self.engines: dict[str, BareUnicorn] = {}
        if contenders.machine == "emulated":
            self.engines[STOCK] = BareUnicorn()
            if "internal fields known" in contenders.platform.machine.details:
                self.engines[TUNED] = BareUnicorn(leave_out_exit_requests=True)

    def _take_turn(self) -> None:
        self._turn()

    def contestant(self, engine: BareUnicorn, name: str, argument: int) -> Contestant:
        """What runs an export on a bare engine, after a check that both get the same result."""
        guest: Instance = self._guest
        entry, context = function_entry(self._platform, guest.store, guest.exports[name])
        expected = self.native[name](argument) & 0xFFFF_FFFF
        taken = 0.0

        def turn() -> None:
            nonlocal taken
            engine.map_platform(self._platform)
            stack_pointer = self._platform.machine.registers().rsp - _RED_ZONE
            result, taken = engine.call(entry, (context, context, argument), stack_pointer)
            if result & 0xFFFF_FFFF != expected:
                raise RuntimeError(f"bare Unicorn computes {name}({argument}) = {result}")

        def contestant() -> float:
            self._turn = turn
            self._pause()
            return taken

        for _ in range(_TLB_DOUBLINGS):
            contestant()
            engine.flush_tlb()
        return contestant

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()
