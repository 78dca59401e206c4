"""Interleaved rounds: how two things are timed so that their ratio means something.

The machines that run these programs are shared: within a minute their speed changes by more than
most of the differences looked for. So the contestants take turns, every other round in the
opposite order, and the median of each is what counts.
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


def timed(work: Callable[[], object], times: int = 1) -> Contestant:
    """A contestant that does ``work`` so many times and returns the seconds of one."""

    def contestant() -> float:
        start = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - start) / times

    return contestant


def looped(work: Callable[[int], object], iterations: int) -> Contestant:
    """A contestant whose ``work`` loops by itself; returns the seconds of one iteration."""

    def contestant() -> float:
        start = time.perf_counter()
        work(iterations)
        return (time.perf_counter() - start) / iterations

    return contestant
