"""What a memory-mapping hook costs among 100 to 100,000 regions.

    python benchmarks/memory_mapping.py

Each figure is the median time of the provider's own work for one call: the machine beneath is one
that does nothing, and no dispatch of hooks is in it. Regions alternate in protection, so that none
merge; free holes of a page lie between all of them. The ratio of the last column to the first says
how a cost grows while the regions grow a thousandfold: at most 2.5 (log 100,000 / log 100)
where all of it is O(log n), 1,000 where anything is linear. The processor's caches, too small for
100,000 regions, add to it.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from theseus_kit.plugin import Services
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AddressRange,
    AlignedTo,
    AtAddress,
    MapRequest,
    Protection,
    WithinRange,
)
from theseus_kit_region import RegionOptions, RegionPlugin

COUNTS = (100, 1_000, 10_000, 100_000)
SAMPLES = 400
REGION_PAGES = 8
STRIDE = (REGION_PAGES + 1) * PAGE_SIZE
READ, READ_WRITE = Protection.READ, Protection.READ_WRITE


class IdleMemory:
    """Takes every order and does nothing, so that the account alone is measured."""

    territory = AddressRange(1 << 40, 1 << 43)
    direct_mapping = None

    def map(self, address: int, size: int, protection: Protection) -> None: ...
    def protect(self, address: int, size: int, protection: Protection) -> None: ...
    def unmap(self, address: int, size: int) -> None: ...
    def discard(self, address: int, size: int) -> None: ...


def make_provider(count: int) -> tuple[RegionPlugin, list[int]]:
    """A provider with so many regions, and their addresses in random order."""
    services = cast("Services", SimpleNamespace(machine=SimpleNamespace(memory=IdleMemory())))
    provider = RegionPlugin(services, RegionOptions())
    first = IdleMemory.territory.start
    bases = [first + index * STRIDE for index in range(count)]
    for index, base in enumerate(bases):
        provider.memory_map(
            MapRequest(REGION_PAGES * PAGE_SIZE, (READ, READ_WRITE)[index % 2], AtAddress(base))
        )
    random.Random(count).shuffle(bases)
    return provider, bases


def median_microseconds(call: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    times = []
    for argument in arguments:
        start = time.perf_counter_ns()
        call(argument)
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def measure(count: int) -> dict[str, float]:
    provider, bases = make_provider(count)
    some = [bases[index % count] for index in range(SAMPLES)]
    once = bases[: min(SAMPLES, count // 2)]
    requests = {
        "map, anywhere": MapRequest(2 * PAGE_SIZE),
        "map, within a range": MapRequest(
            2 * PAGE_SIZE, placement=WithinRange(IdleMemory.territory)
        ),
        "map, aligned to 2 MiB": MapRequest(2 * PAGE_SIZE, placement=AlignedTo(2 << 20)),
    }
    found: dict[str, float] = {
        "query": median_microseconds(provider.memory_query, some),
        "query, ten regions": median_microseconds(
            lambda base: provider.memory_query_range(base, 10 * STRIDE), some
        ),
        "protect, splitting": median_microseconds(
            lambda base: provider.memory_protect(base + PAGE_SIZE, PAGE_SIZE, Protection.NONE),
            once,
        ),
    }
    for base in once:
        provider.memory_protect(base, REGION_PAGES * PAGE_SIZE, READ)
    found["protect, growing a heap"] = median_microseconds(
        lambda base: provider.memory_protect(base, PAGE_SIZE, READ_WRITE), once
    )
    found["protect, as it is"] = median_microseconds(
        lambda base: provider.memory_protect(base, PAGE_SIZE, READ_WRITE), once
    )
    found["discard"] = median_microseconds(
        lambda base: provider.memory_discard(base, PAGE_SIZE), some
    )
    for name, request in requests.items():
        found[name] = median_microseconds(provider.memory_map, [request] * SAMPLES)
    found["map, at an address"] = median_microseconds(
        provider.memory_map,
        [MapRequest(PAGE_SIZE, placement=AtAddress(base, replace=True)) for base in some],
    )
    found["unmap"] = median_microseconds(
        lambda base: provider.memory_unmap(base, REGION_PAGES * PAGE_SIZE), once
    )
    return found


def main() -> None:
    columns = {count: measure(count) for count in COUNTS}
    print(
        f"{'microseconds, of regions:':28}" + "".join(f"{count:>10,}" for count in COUNTS), end=""
    )
    print(f"{'ratio':>10}")
    for name in columns[COUNTS[0]]:
        values = [columns[count][name] for count in COUNTS]
        ratio = f"{values[-1] / values[0]:8.1f}x"
        print(f"{name:28}", *(f"{value:9.1f}" for value in values), ratio)


if __name__ == "__main__":
    main()
