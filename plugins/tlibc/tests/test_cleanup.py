"""Threads that end in the middle of functions: handlers and destructors run as on the host."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names

HERE = Path(__file__).parent
C, CPP = HERE / "cleanup_program.c", HERE / "cleanup_program.cc"
NAMES = {
    source: re.findall(r'^(?:extern "C" )?long (\w+)\((?:void)?\)', source.read_text(), re.M)
    for source in (C, CPP)
}
CASES = [(source, name) for source, names in NAMES.items() for name in names]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    compilers = {C: shutil.which("gcc"), CPP: shutil.which("g++")}
    if not all(compilers.values()):
        pytest.skip("no compilers on this host")
    directory = tmp_path_factory.mktemp("cleanup")
    made = {}
    for source, compiler in compilers.items():
        made[source] = directory / f"{source.suffix[1:]}.so"
        subprocess.run(
            [compiler, "-O1", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra", "-Werror"]
            + ["-o", made[source], source],
            check=True,
        )
    return made


@pytest.fixture(scope="module")
def cpp_library():
    """The C++ library that the compiler links with: personality routines are there."""
    compiler = shutil.which("g++") or pytest.skip("no C++ compiler on this host")
    command = [compiler, "-print-file-name=libstdc++.so.6"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return answer if Path(answer).is_absolute() else pytest.skip("no shared C++ library")


@pytest.mark.parametrize("machine", machine_names())
@pytest.mark.parametrize(("source", "name"), CASES, ids=[name for _, name in CASES])
def test_a_thread_that_ends_cleans_up_as_on_the_host(machine, programs, cpp_library, source, name):
    function = getattr(ctypes.CDLL(str(programs[source])), name)
    function.restype = ctypes.c_long
    with assemble(machine=machine) as platform:
        if source is CPP:
            platform.load(cpp_library)
        assert platform.load(programs[source]).call(name) == function()
        assert [task.name for task in platform.tasks] == ["main"]


@pytest.mark.parametrize("machine", machine_names())
def test_handlers_run_without_a_provider_of_unwinding_tables(machine, programs):
    plugins = ["region", "signals", "backtrace-frame-pointers", "path", "tlibc"]
    with assemble(plugins, machine=machine) as platform:
        image = platform.load(programs[C])
        assert image.call("handlers_run_innermost_first") == 5_000_123
