"""C programs that handle signals: the host's kernel and this C library must show them the same."""

import ctypes
import functools
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.machine import machine_names
from theseus_kit.values.exceptions import KilledByException

SOURCE = Path(__file__).with_name("program.c")
PROGRAMS = re.search(r"programs\[\].*?\{(.*?)\}", SOURCE.read_text(), re.DOTALL)[1]
NAMES = [name.strip() for name in PROGRAMS.split(",") if name.strip()]
ROOM = 1000
UNUSED = -0x7654321
SIGNALS_OF_VECTORS = {0: signal.SIGFPE, 6: signal.SIGILL, 14: signal.SIGSEGV}

HOST = """
import ctypes, json, mmap, sys
image, program, room, unused = sys.argv[1], *map(int, sys.argv[2:])
shared = mmap.mmap(-1, room * 8)
buffer = (ctypes.c_long * room).from_buffer(shared)
buffer[:] = [unused] * room
import os
child = os.fork()
if not child:
    library = ctypes.CDLL(image)
    library.run(program, buffer)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(json.dumps([buffer[:], os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0]))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    compiler = shutil.which("gcc") or pytest.skip("no C compiler is installed")
    image = tmp_path_factory.mktemp("signals") / "program.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wno-unused", "-o", image, SOURCE]
    subprocess.run(command, check=True)
    return image


@functools.cache
def on_the_host(image, number):
    """What a program writes, and the signal that ends it, 0 for none."""
    done = subprocess.run(
        [sys.executable, "-c", HOST, image, str(number), str(ROOM), str(UNUSED)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    numbers, ended_by = json.loads(done.stdout)
    return [value for value in numbers if value != UNUSED], ended_by


def in_the_guest(platform, image, number):
    loaded = platform.load(image)
    memory = platform.machine.memory
    buffer = platform.machine.call(platform.namespace.resolve("malloc"), (ROOM * 8,))
    memory.write(buffer, bytes((ctypes.c_long * ROOM)(*[UNUSED] * ROOM)))
    ended_by = 0
    try:
        loaded.call("run", number, buffer)
    except GuestKilled as killed:
        if isinstance(killed.reason, KilledByException):
            ended_by = SIGNALS_OF_VECTORS[killed.reason.vector]
        elif "abort() called" in str(killed.reason):
            ended_by = signal.SIGABRT
        else:
            ended_by = int(re.search(r"signal (\d+)", str(killed.reason))[1])
    written = (ctypes.c_long * ROOM).from_buffer_copy(memory.read(buffer, ROOM * 8))
    return [value for value in written if value != UNUSED], ended_by


@pytest.mark.parametrize("provider", ["signals", "signals-persistent"])
@pytest.mark.parametrize("machine", machine_names())
@pytest.mark.parametrize("name", NAMES)
def test_a_program_sees_what_it_sees_on_the_host(image, name, machine, provider):
    number = NAMES.index(name)
    with assemble(["region", provider, "backtrace", "path", "tlibc"], machine=machine) as platform:
        if name == "vectors" and "has_avx" not in platform.machine.cpu_features:
            pytest.skip("this machine has no AVX")
        seen, ended_by = in_the_guest(platform, image, number)
    expected, expected_end = on_the_host(image, number)
    assert seen == expected
    if name.startswith("die"):
        # What killed it: the guest's own exception, where the host tells of the missing stack.
        assert (ended_by or 0) != 0
        assert expected_end == expected[0]
        assert ended_by == (signal.SIGILL if name == "die_without_a_stack" else expected_end)
    else:
        assert ended_by == expected_end == 0
