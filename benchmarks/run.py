"""Measure everything, as ratios against a floor or a peer in the same run, and show it.

    python benchmarks/run.py [--machine emulated|native] [--only NAME…] [--json]

Each measurement's module says what is compared with what, and why that is fair. A bound that is not
met is shown as such; the exit status is 0 all the same, for a measurement is not a test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as host
import statistics
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import c_functions
import calls
import compilation
import compute
import memory_mapping
import programs
import tracing
import unwinding
import whole_process
from bounds import with_bounds
from contenders import Contenders
from figures import Figure, show

from theseus_kit import BUNDLED, assemble
from theseus_kit.machine import machine_names

MEASUREMENTS: dict[str, Callable[[Contenders], list[Figure]]] = {
    "compute": compute.measure,
    "c-functions": c_functions.measure,
    "calls": calls.measure,
    "compilation": compilation.measure,
    "unwinding": lambda contenders: unwinding.measure(contenders.platform),
}
"""What is measured on a platform; the rest makes its own processes, or needs no machine."""
_MAPPING_ROUNDS = 3
PROCESS, PROGRAMS, MEMORY_MAPPING = "process", "programs", "memory-mapping"
TRACING = "tracing"


def main() -> None:
    arguments = _arguments()
    figures: list[Figure] = []
    for name in arguments.only:
        print(f"measuring {name} …", file=sys.stderr)
        if name == MEMORY_MAPPING:
            found = _memory_mapping()
        elif name == PROCESS:
            found = whole_process.measure(arguments.machine)
        elif name == TRACING:
            found = tracing.measure(arguments.machine)
        elif name == PROGRAMS:
            found = programs.measure(arguments.machine)
        else:
            with assemble([*BUNDLED, c_functions.EmptyFunctions], arguments.machine) as platform:
                found = MEASUREMENTS[name](Contenders(platform))
        figures += with_bounds(arguments.machine, found)
    if arguments.json:
        report = {**_circumstances(arguments.machine), "figures": [f.as_json() for f in figures]}
        print(json.dumps(report, indent=2))
    else:
        facts = _circumstances(arguments.machine)
        show("\n".join(f"{name}: {value}" for name, value in facts.items()), figures)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure theseus-kit against floors and peers in the same run."
    )
    names = [*MEASUREMENTS, PROCESS, PROGRAMS, MEMORY_MAPPING, TRACING]
    parser.add_argument("--machine", choices=machine_names(), default="emulated")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def _memory_mapping() -> list[Figure]:
    """What hooks cost among most regions, against the same among fewest: the growth."""
    few, many = memory_mapping.COUNTS[0], memory_mapping.COUNTS[-1]
    rounds = [
        (memory_mapping.measure(few), memory_mapping.measure(many)) for _ in range(_MAPPING_ROUNDS)
    ]
    figures = []
    for name in rounds[0][0]:
        before, after = (
            statistics.median(found[name] for found in side) / 1e6
            for side in zip(*rounds, strict=True)
        )
        figures.append(Figure(f"{name}, {many:,} regions", after, f"{few:,} regions", before))
    return figures


def _circumstances(machine: str) -> dict[str, Any]:
    """What a reader must know to compare these figures with others."""
    processor = host.processor() or host.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        processor = next(names, processor)
    return {
        "machine": machine,
        "host": f"{processor}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}",
        "software": f"Python {host.python_version()}, wasmtime {version('wasmtime')}, "
        f"unicorn {version('unicorn')}",
    }


if __name__ == "__main__":
    main()
