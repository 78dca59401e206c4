"""Compiling inside the guest: many small functions, one thread, nothing cached.

Against wasmtime-py doing the same on the host's CPU: the same binary module, the same target,
processor features and settings (see :mod:`contenders`). On machines where it is asked for, also
beside another Python thread that never rests: a machine that leaves Python's lock for every short
call waits for it each time. That is waiting, so the wall's clock counts there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import wasmtime
from contenders import Contenders, Side
from figures import Figure
from rounds import PROCESSOR, WALL, Clock, interleave, timed
from workloads import many_functions

_ROUNDS = 5
NATIVE = "wasmtime-py"


def measure(contenders: Contenders) -> list[Figure]:
    count = contenders.sizes.functions
    binary = bytes(wasmtime.wat2wasm(many_functions(count)))
    title = f"compiling {count} functions"
    figures = [_compare(contenders, binary, title, PROCESSOR)]
    if contenders.sizes.busy_thread:
        with _busy_thread():
            figures.append(_compare(contenders, binary, f"{title}, a thread busy", WALL))
    return figures


def _compare(contenders: Contenders, binary: bytes, title: str, clock: Clock) -> Figure:
    def compile_on(side: Side) -> None:
        side.api.Module(side.engine, binary)

    found = interleave(
        {
            "here": timed(lambda: compile_on(contenders.guest), clock=clock),
            NATIVE: timed(lambda: compile_on(contenders.host), clock=clock),
        },
        _ROUNDS,
    )
    return Figure(title, found["here"], NATIVE, found[NATIVE])


@contextmanager
def _busy_thread() -> Iterator[None]:
    """Another Python thread that computes until the block ends."""
    stop = threading.Event()

    def compute() -> None:
        number = 0
        while not stop.is_set():
            number = (number * 3 + 1) % 1_000_003

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
