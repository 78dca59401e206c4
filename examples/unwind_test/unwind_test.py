"""Theseus's unwind_test on theseus-kit: destructors run when a task panics or faults.

    python unwind_test.py       panics: the destructors run, innermost first
    python unwind_test.py -e    writes to an unmapped address instead
    python unwind_test.py -c    catches the panic in the middle, and resumes it

The guest is C++, built here where g++ is installed, and machine code that needs no compiler
otherwise (``--guest assembly`` asks for that one). ``--machine`` chooses emulated or native.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import machine_code

from theseus_kit import Platform, assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import Panicked
from theseus_kit.values.linkage import CFunction

CAUSE_PAGE_FAULT, CATCH = 1, 2


def panic() -> None:
    """What the guest's panic!() comes to."""
    raise GuestKilled(Panicked("intended panic"))


def dropped(number: int) -> None:
    """What the destructor of MyStruct says."""
    print(f"dropping MyStruct({number})", flush=True)


def functions(platform: Platform) -> list[CFunction]:
    """What the guest calls."""

    def catch_unwind_with_arg(function: int, argument: int) -> None:
        caught = platform.catch_unwind(platform.machine.call, function, (argument,))
        if caught.killed is None:
            return
        print(f"caught {caught.reason}, resuming", flush=True)
        platform.resume_unwind(caught.killed)

    return [
        CFunction("void dropped(int number)", dropped),
        CFunction("void panic(void)", panic, reenters=True),  # destructors run before it ends
        CFunction(
            "void catch_unwind_with_arg(void (*function)(int), int argument)",
            catch_unwind_with_arg,
            reenters=True,
        ),
    ]


def assembly_guest(platform: Platform) -> Callable[[int], int]:
    """The guest as machine code."""
    addresses = [platform.export(function) for function in functions(platform)]
    imports = dict(zip(("dropped", "panic", "catch"), addresses, strict=True))
    starts = machine_code.build(platform, imports)
    return lambda options: platform.machine.call(starts[options & CATCH], (options,))


def compiled_guest(platform: Platform, compiler: str) -> Callable[[int], int]:
    """The guest in C++, with the C++ library its compiler links it with."""
    for function in functions(platform):
        platform.namespace.provide("unwind_test", function)
    library = subprocess.run(
        [compiler, "-print-file-name=libstdc++.so.6"], check=True, capture_output=True, text=True
    ).stdout.strip()
    platform.load(library)
    with tempfile.TemporaryDirectory() as directory:
        image = Path(directory) / "guest.so"
        source = Path(__file__).with_name("guest.cpp")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", image, source], check=True)
        loaded = platform.load(image)
    return lambda options: loaded.call("unwind_test", options)


def main() -> int:
    """Run the test as the arguments say; the exit status is 0 if it ended as it should."""
    parser = argparse.ArgumentParser(description="Unwind a guest's stack.")
    parser.add_argument("-e", action="store_true", help="cause a page fault instead of a panic")
    parser.add_argument("-c", action="store_true", help="catch it in the middle, and resume")
    parser.add_argument("--guest", choices=["c++", "assembly"])
    parser.add_argument("--machine", choices=["emulated", "native"], default="emulated")
    arguments = parser.parse_args()
    compiler = shutil.which("g++")
    if arguments.guest == "c++" and compiler is None:
        parser.error("--guest c++ needs g++, which is not installed")
    with assemble(machine=arguments.machine) as platform:
        if compiler is not None and arguments.guest != "assembly":
            unwind_test = compiled_guest(platform, compiler)
        else:
            unwind_test = assembly_guest(platform)
        options = (CAUSE_PAGE_FAULT if arguments.e else 0) | (CATCH if arguments.c else 0)
        caught = platform.catch_unwind(unwind_test, options)
        if caught.killed is None:
            print("the guest was not killed", file=sys.stderr)
            return 1
        print(f"killed by {caught.killed.context or caught.reason}")
        for entry in caught.killed.backtrace:
            names = " in ".join(symbol.display_name for symbol in entry.symbols)
            print(f"  {entry.frame.instruction_pointer:#x} {names} [{entry.frame.kind.value}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
