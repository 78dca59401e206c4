"""An empty C function served by Python, as guest code sees it: out to a plugin and back.

Against a bare ``out`` instruction hooked by a Python function that does nothing, in a stock engine
(see :mod:`bare_unicorn`): the cheapest way out of Unicorn into Python and back that its interface
has. Both loop in guest code, so entering and leaving the engine is in neither. What is measured on
top: taking the arguments, finding the plugin's function, the result, and the checks after it.
"""

from __future__ import annotations

from functools import partial

from bare_unicorn import BareUnicorn
from contenders import Contenders
from figures import Figure
from machine_code import CALL_LOOP, code_of
from rounds import Contestant, interleave, looped

from theseus_kit import Machine, Plugin, PluginDescription, hookimpl
from theseus_kit.values.linkage import CFunction

_CALLS = 4000
_ROUNDS = 15


class EmptyFunctions(Plugin):
    """Offers C functions that do nothing."""

    description = PluginDescription("empty-functions", "1.0", "C functions that do nothing")

    @hookimpl
    def c_symbols(self) -> list[CFunction]:
        return [
            CFunction("void benchmark_empty(void)", lambda: None),
            CFunction(
                "long benchmark_three(long first, void *second, unsigned int third)",
                lambda first, second, third: 0,
            ),
            CFunction("void benchmark_reentering(void)", lambda: None, reenters=True),
        ]


NAMES = {
    "benchmark_empty": "empty C function",
    "benchmark_three": "C function of three arguments",
    "benchmark_reentering": "C function that may re-enter",
}


def call_loop(machine: Machine, loop: int, function: int, times: int) -> None:
    machine.call(loop, (times, function))


def measure(contenders: Contenders) -> list[Figure]:
    platform = contenders.platform
    machine = platform.machine
    loop = machine.place_code(code_of(CALL_LOOP), "benchmark loop")
    contestants: dict[str, Contestant] = {}
    for name in NAMES:
        address = platform.namespace.resolve(name)
        if address is None:
            raise RuntimeError(f"the platform was assembled without {EmptyFunctions.description}")
        contestants[name] = looped(partial(call_loop, machine, loop, address), _CALLS)
    peer = ""
    if contenders.machine == "emulated":
        peer = "bare out hook"
        bare = BareUnicorn()
        bare.hook_out(lambda engine, port, size, value, data: None)
        contestants[peer] = looped(bare.out_round_trips, _CALLS)
    medians = interleave(contestants, _ROUNDS)
    floor = medians.pop(peer, None)
    return [Figure(NAMES[name], seconds, peer, floor) for name, seconds in medians.items()]
