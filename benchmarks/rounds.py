"""Interleaved rounds: how two things are timed so that their ratio means something.

The machines that run these programs are shared: within a minute their speed changes by more than
most of the differences looked for. So the contestants take turns, every other round in the
opposite order, and the median of each is what counts.

Time is the processor time of the process, of all its threads, unless another clock is asked for:
on a busy computer whoever computes for more than a few milliseconds is interrupted for as long, and
whoever takes less often is not, which would be unfair to the slower. Nothing that is timed so may
wait for anything but the processor.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Contestant = Callable[[], float]
"""Does the work once and returns what it took; it decides what belongs to the work."""


def interleave(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, float]:
    """Return the median of each contestant, after one round that warms up and does not count."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    for name in order:
        contestants[name]()
    for _ in range(rounds):
        for name in order:
            taken[name].append(contestants[name]())
        order.reverse()
    return {name: statistics.median(values) for name, values in taken.items()}


Clock = Callable[[], float]

PROCESSOR: Clock = time.process_time
WALL: Clock = time.perf_counter


def timed(work: Callable[[], object], times: int = 1, clock: Clock = PROCESSOR) -> Contestant:
    """A contestant that does ``work`` so many times and returns the seconds of one."""

    def contestant() -> float:
        start = clock()
        for _ in range(times):
            work()
        return (clock() - start) / times

    return contestant


def looped(work: Callable[[int], object], iterations: int) -> Contestant:
    """A contestant whose ``work`` loops by itself; returns the seconds of one iteration."""

    def contestant() -> float:
        start = PROCESSOR()
        work(iterations)
        return (PROCESSOR() - start) / iterations

    return contestant
