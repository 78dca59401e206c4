"""What a trace costs each call: an empty C function, and a hook, with and without one.

Against the same call on a platform without the plugin, where nothing may be left of it: the
platforms take turns. A trace goes to a temporary file, each call written at once, as always.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from c_functions import EmptyFunctions, call_loop
from figures import Figure
from machine_code import CALL_LOOP, code_of
from rounds import Contestant, interleave, looped, timed

from theseus_kit import BUNDLED, Platform, assemble

_CALLS = 2000
_HOOK_CALLS = 500
_ROUNDS = 11
_FUNCTION, _HOOK = "C function", "hook"
_UNTRACED, _OTHERS = "untraced", "other calls traced"


def measure(machine: str) -> list[Figure]:
    """Time a C function of three arguments and a query of memory, traced in each format."""
    platforms: dict[str, Platform] = {}
    contestants: dict[str, Contestant] = {}
    with tempfile.TemporaryDirectory() as directory:
        try:
            platforms[_UNTRACED] = assemble([EmptyFunctions, *BUNDLED], machine)
            for name in ("text", "json", "perfetto"):
                options = {"format": name, "file": Path(directory) / name}
                platforms[name] = _traced(machine, options)
            others = {"file": Path(directory) / "others", "include": "hook.path_open"}
            platforms[_OTHERS] = _traced(machine, others)
            for name, platform in platforms.items():
                contestants[f"{_FUNCTION}, {name}"] = _function(platform)
                contestants[f"{_HOOK}, {name}"] = _hook(platform)
            found = interleave(contestants, _ROUNDS)
        finally:
            for platform in platforms.values():
                platform.close()
    figures = []
    for what in (_FUNCTION, _HOOK):
        floor = found[f"{what}, {_UNTRACED}"]
        for name in platforms:
            seconds = found[f"{what}, {name}"]
            if name == _OTHERS:
                figures.append(Figure(f"{what}, {name}", seconds, _UNTRACED, floor))
            elif name != _UNTRACED:
                figures.append(Figure(f"trace of a {what}, {name}", seconds - floor))
    return figures


def _traced(machine: str, options: dict[str, object]) -> Platform:
    return assemble(["trace", EmptyFunctions, *BUNDLED], machine, {"trace": options})


def _function(platform: Platform) -> Contestant:
    machine = platform.machine
    address = platform.namespace.resolve("benchmark_three")
    if address is None:
        raise RuntimeError(f"the platform was assembled without {EmptyFunctions.description}")
    loop = machine.place_code(code_of(CALL_LOOP), "benchmark loop")
    return looped(partial(call_loop, machine, loop, address), _CALLS)


def _hook(platform: Platform) -> Contestant:
    address = platform.tasks.current.stack.start
    return timed(lambda: platform.hooks.memory_query(address=address), _HOOK_CALLS)
