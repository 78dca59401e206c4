"""The bounds that figures should meet, machine by machine.

The emulated machine is held against bare Unicorn where Unicorn is what costs, and otherwise against
what native code takes; the native machine against wasmtime-py throughout.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from figures import Bound, Figure

_MICROSECOND, _MEGABYTE = 1e-6, 1e6

Bounds = dict[tuple[str, str], Bound]
"""By what a figure's name starts with, and by its peer."""

_BARE, _NATIVE = "bare Unicorn", "wasmtime-py"

_TRACING: Bounds = {
    ("trace of a ", ""): Bound(15 * _MICROSECOND, absolute=True),
    ("C function, other calls traced", "untraced"): Bound(1.1),
    ("hook, other calls traced", "untraced"): Bound(1.1),
}

_UNWINDING: Bounds = {
    ("first backtrace", ""): Bound(150_000 * _MICROSECOND, absolute=True),
    ("capturing a frame", ""): Bound(20 * _MICROSECOND, absolute=True),
    ("resolving a frame", ""): Bound(100 * _MICROSECOND, absolute=True),
}

EMULATED: Bounds = {
    ("fib(", _BARE): Bound(1.3),
    ("sieve", _BARE): Bound(1.3),
    ("fib(", _NATIVE): Bound(22),
    ("sieve", _NATIVE): Bound(22),
    ("empty C function", "bare out hook"): Bound(2.5),
    ("prepared wasm call", _NATIVE): Bound(20 * _MICROSECOND, absolute=True),
    ("prepared host function", _NATIVE): Bound(10 * _MICROSECOND, absolute=True),
    ("trap, ", _NATIVE): Bound(150 * _MICROSECOND, absolute=True),
    ("compiling", _NATIVE): Bound(60),
    ("throw and catch", "libgcc"): Bound(1000 * _MICROSECOND, absolute=True),
    **_UNWINDING,
    **_TRACING,
    ("process to fib(20)", _NATIVE): Bound(2),
    ("process, resident", _NATIVE): Bound(150 * _MEGABYTE, absolute=True),
    ("100 files", "without its files"): Bound(3),
    ("hello world", ""): Bound(0.150, absolute=True),
}

NATIVE: Bounds = {
    ("fib(", _NATIVE): Bound(1.05, least=0.95),
    ("sieve", _NATIVE): Bound(1.05, least=0.95),
    ("SIMD", _NATIVE): Bound(1.05, least=0.95),
    ("prepared wasm call", _NATIVE): Bound(1 / 25),
    ("ordinary wasm call", _NATIVE): Bound(1),
    ("prepared host function", _NATIVE): Bound(1 / 8),
    ("ordinary host function", _NATIVE): Bound(1),
    ("trap, ", _NATIVE): Bound(1),
    ("memory.grow", _NATIVE): Bound(1),
    ("compiling 200 functions, a thread busy", _NATIVE): Bound(3),
    ("compiling", _NATIVE): Bound(1.2),
    ("throw and catch", "libgcc"): Bound(300 * _MICROSECOND, absolute=True),
    **_UNWINDING,
    **_TRACING,
    ("process to fib(20)", _NATIVE): Bound(1.2),
    ("100 MB from stdin", _NATIVE): Bound(1.5),
    ("100,000 writes", _NATIVE): Bound(2),
    ("hello world", ""): Bound(0.150, absolute=True),
}

BOUNDS = {"emulated": EMULATED, "native": NATIVE}


def with_bounds(machine: str, figures: Iterable[Figure]) -> list[Figure]:
    """Give figures the bounds they have on a machine: the first whose name fits."""
    bounds = BOUNDS[machine]
    return [replace(figure, bound=_bound(bounds, figure)) for figure in figures]


def _bound(bounds: Bounds, figure: Figure) -> Bound | None:
    for (start, peer), bound in bounds.items():
        if figure.peer == peer and figure.name.startswith(start):
            return bound
    return None
