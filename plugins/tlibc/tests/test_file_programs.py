"""C programs that use files: the host's kernel and this C library must show them the same."""

import ctypes
import errno
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names
from theseus_kit.values.paths import MemoryMount, Mount, OpenMode

SOURCES = (
    "open_program.c",
    "file_program.c",
    "status_program.c",
    "name_program.c",
    "stdio_program.c",
)


def programs_of(source):
    """The names of a source's programs, in order."""
    text = Path(__file__).with_name(source).read_text()
    found = re.search(r"programs\[\].*?\{(.*?)\}", text, re.DOTALL)[1]
    return [name.strip() for name in found.split(",") if name.strip()]


PROGRAMS = [(source, name) for source in SOURCES for name in programs_of(source)]
ROOM = 20_000

HOST = """
import ctypes, json, os, resource, sys
image, program, room = sys.argv[1], *map(int, sys.argv[2:])
library = ctypes.CDLL(image)
results = (ctypes.c_long * room)()
os.umask(0o022)
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))  # as the guest has it
library.run.restype = ctypes.c_long
print(json.dumps(results[:library.run(program, results)]))
"""


def make_tree(root):
    """What the programs are told to find (file_program.h)."""
    root.chmod(0o755)  # as made by nobody's umask or set-group-ID directory
    (root / "d").mkdir()
    (root / "d2").mkdir()
    (root / "f").write_bytes(b"0123456789")
    (root / "d2" / "f2").write_bytes(b"second")
    for name in ("f", "d2/f2"):
        with (root / name).open("rb") as file:
            os.fsync(file)  # or its blocks are counted anew once they are on disk
    for name, target in LINKS.items():
        (root / name).symlink_to(target)


LINKS = {"link": "f", "loop": "loop", "dlink": "d2", "dangling": "nowhere", "up": "../.."}


def fill_memory(hooks, at):
    """The same tree by the path hooks."""

    def path(name):
        return hooks.path_parse(text=f"{at}/{name}")

    for name in ("d", "d2"):
        hooks.path_create_directory(path=path(name), permissions=0o755)
    for name, data in (("f", b"0123456789"), ("d2/f2", b"second")):
        file = hooks.path_open(
            path=path(name), mode=OpenMode.WRITE | OpenMode.CREATE, permissions=0o644
        )
        file.write(data)
        file.close()
    for name, target in LINKS.items():
        hooks.path_create_link(path=path(name), text=target)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The sources, compiled."""
    compiler = shutil.which("gcc") or pytest.skip("no C compiler is installed")
    directory = tmp_path_factory.mktemp("files")
    images = {}
    for source in SOURCES:
        images[source] = directory / f"{source}.so"
        path = Path(__file__).with_name(source)
        command = [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", images[source], path]
        subprocess.run(command, check=True)
    return images


@pytest.fixture(scope="module")
def on_the_host(images, tmp_path_factory):
    """What a program sees on the host."""

    @functools.cache
    def run(source, number):
        tree = tmp_path_factory.mktemp("host")
        make_tree(tree)
        done = subprocess.run(
            [sys.executable, "-c", HOST, images[source], str(number), str(ROOM)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True,
            cwd=tree,
        )  # fmt: skip
        return json.loads(done.stdout)

    return run


def in_the_guest(platform, image, number):
    loaded = platform.load(image)
    memory, resolve = platform.machine.memory, platform.namespace.resolve
    directory = platform.machine.call(resolve("malloc"), (16,))
    memory.write(directory, b"/tree\0")
    assert platform.machine.call(resolve("chdir"), (directory,)) == 0
    results = platform.machine.call(resolve("malloc"), (ROOM * 8,))
    count = loaded.call("run", number, results)
    return list((ctypes.c_long * count).from_buffer_copy(memory.read(results, count * 8)))


def readable(numbers):
    """Results as a reader of a failure wants them."""
    names = {-number: name for number, name in errno.errorcode.items()}
    return [names.get(number, number) for number in numbers]


@pytest.mark.parametrize("tree", ["host", "memory"])
@pytest.mark.parametrize("machine", machine_names())
@pytest.mark.parametrize(("source", "name"), PROGRAMS)
def test_a_program_sees_what_it_sees_on_the_host(
    images, on_the_host, tmp_path, source, name, machine, tree
):
    number = programs_of(source).index(name)
    with assemble(machine=machine) as platform:
        if tree == "host":
            make_tree(tmp_path)
            platform.hooks.path_mount(mount=Mount(tmp_path, "/tree", writable=True))
        else:
            platform.hooks.path_mount(mount=MemoryMount("/tree"))
            fill_memory(platform.hooks, "/tree")
        seen = in_the_guest(platform, images[source], number)

    assert readable(seen) == readable(on_the_host(source, number))
