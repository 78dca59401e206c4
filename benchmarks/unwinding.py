"""Throwing and catching, and backtraces: over the platform's unwinder.

A C++ exception thrown through one frame with a destructor and caught in the next, against the very
same image in the host, where libgcc unwinds. Both loop in guest code and include what libstdc++
does with an exception. Capturing and resolving the frames of a trace have no peer of their own; a
recursion gives them frames enough. Where there is no C++ compiler nothing of this is measured.

    python benchmarks/unwinding.py [--machine emulated|native]
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bounds import with_bounds
from figures import Figure, show
from rounds import interleave, looped

from theseus_kit import BUNDLED, Platform, assemble
from theseus_kit.dispatch.backtraces import capture_frames, resolve_frames
from theseus_kit.machine import machine_names
from theseus_kit.values.linkage import CFunction

_SOURCE = """
struct Drop { int *p; ~Drop() { ++*p; } };
static int drops;
__attribute__((noinline)) static void thrower(int n) { Drop d{&drops}; if (n >= 0) throw n; }
extern "C" int throws(int times)
{
    int caught = 0;
    for (int n = 0; n < times; n++)
        try { thrower(n); } catch (int) { caught++; }
    return caught;
}
extern "C" __attribute__((noinline)) int recurse(int n, void (*call)(void))
{
    if (n) return recurse(n - 1, call) + 1;
    call();
    return 0;
}
"""
_THROWS = 50
_ROUNDS = 9
_DEPTH = 48


def measure(platform: Platform) -> list[Figure]:
    """The figures of a platform; none where there is no C++ compiler."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        print("unwinding: not measured, there is no C++ compiler", file=sys.stderr)
        return []
    with TemporaryDirectory() as directory:
        source, path = Path(directory, "throws.cpp"), Path(directory, "throws.so")
        source.write_text(_SOURCE)
        flags = ("-O1", "-g", "-shared", "-fPIC", "-fno-stack-protector")
        subprocess.run([compiler, *flags, "-o", path, source], check=True)
        command = [compiler, "-print-file-name=libstdc++.so.6"]
        library = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return _measure(platform, path, library.strip())


def _measure(platform: Platform, path: Path, library: str) -> list[Figure]:
    platform.load(library)
    image = platform.load(path)
    host = ctypes.CDLL(str(path))
    assert image.call("throws", 3) == host.throws(3) == 3
    taken = interleave(
        {
            "here": looped(lambda times: image.call("throws", times), _THROWS),
            "there": looped(host.throws, 100 * _THROWS),
        },
        _ROUNDS,
    )
    return [
        Figure("throw and catch, C++", taken["here"], "libgcc", taken["there"]),
        *_traces(platform, image.symbols["recurse"]),
    ]


def _traces(platform: Platform, recurse: int) -> list[Figure]:
    figures: list[Figure] = []
    machine, hooks, tasks = platform.machine, platform.hooks, platform.tasks

    def traced() -> None:
        start = time.perf_counter()
        resolve_frames(hooks, *capture_frames(machine, hooks, tasks))
        first = time.perf_counter() - start
        frames, names = capture_frames(machine, hooks, tasks)
        count = len(frames)
        taken = interleave(
            {
                "capture": looped(lambda n: capture_frames(machine, hooks, tasks), count),
                "resolve": looped(lambda n: resolve_frames(hooks, frames, names), count),
            },
            _ROUNDS,
        )
        figures.append(Figure("first backtrace", first))
        figures.append(Figure("capturing a frame", taken["capture"]))
        figures.append(Figure("resolving a frame", taken["resolve"]))

    export = platform.export(CFunction("void traced(void)", traced, reenters=True))
    machine.call(recurse, (_DEPTH, export))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure throwing, catching and backtraces.")
    parser.add_argument("--machine", choices=machine_names(), default="emulated")
    machine = parser.parse_args().machine
    with assemble(BUNDLED, machine) as platform:
        show(f"unwinding, {machine} machine", with_bounds(machine, measure(platform)))


if __name__ == "__main__":
    main()
