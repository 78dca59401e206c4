"""Programs of this directory: compiled, run on the host, and run in the guest."""

import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
HOST = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
room = ctypes.create_string_buffer(1 << 20)
library.run.restype = ctypes.c_long
length = library.run(int(sys.argv[2]), room)
sys.stdout.buffer.write(room.raw[:length])
"""


def programs_of(source):
    """The names of a source's programs, in order."""
    found = re.search(r"^RUN\((.*?)\)", (FOLDER / source).read_text(), re.DOTALL | re.MULTILINE)
    return [name.strip() for name in found[1].split(",")]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Compile a source of this directory into a shared object."""
    folder = tmp_path_factory.mktemp("standard")

    @functools.cache
    def compile_(source, *options):
        is_cpp = source.endswith("cpp")
        compiler = shutil.which("g++" if is_cpp else "gcc") or pytest.skip("no compiler")
        image = folder / f"{source}{''.join(options)}.so"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-w", "-fno-builtin", *options]
            + ["-o", str(image), str(FOLDER / source)],
            check=True,
        )
        return image

    return compile_


@pytest.fixture(scope="session")
def on_the_host():
    """What a program of an image tells in a process of its own."""

    @functools.cache
    def run(image, number):
        return subprocess.run(
            [sys.executable, "-c", HOST, str(image), str(number)],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True,
            env={"TZ": "UTC"},
        ).stdout  # fmt: skip

    return run


def in_the_guest(platform, image, number):
    """What it tells on a platform."""
    loaded = platform.load(image)
    room = platform.machine.call(platform.namespace.resolve("malloc"), (1 << 20,))
    length = loaded.call("run", number, room)
    return platform.machine.memory.read(room, length)
