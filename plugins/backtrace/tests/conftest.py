"""Platforms with the bundled plugins, and guest code to walk and to name."""

import shutil
import subprocess
import sys

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.values.memory import MapRequest

BY_FRAME_POINTERS = ["region", "signals", "backtrace-frame-pointers", "path", "tlibc"]


@pytest.fixture(scope="module")
def platform():
    with assemble(BY_FRAME_POINTERS, machine="emulated") as platform:
        yield platform


@pytest.fixture
def fresh_platform():
    """A platform of the test's own, for what kills its guest or registers things."""
    with assemble(BY_FRAME_POINTERS, machine="emulated") as platform:
        yield platform


def assemble_dwarf():
    plugins = ["region", "signals", "backtrace", "path", "tlibc"]
    options = {"backtrace": {"max_frames": 1000}}
    return assemble(plugins, machine="emulated", options=options)


@pytest.fixture(scope="module")
def dwarf_platform():
    """A platform that walks stacks by unwind tables."""
    with assemble_dwarf() as platform:
        yield platform


@pytest.fixture
def fresh_dwarf_platform():
    with assemble_dwarf() as platform:
        yield platform


@pytest.fixture(scope="session")
def compile_image(tmp_path_factory):
    """Compile C source to a shared object that needs no C library; skips without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler for Linux")
    directory = tmp_path_factory.mktemp("images")

    def compile_source(name, source, *flags):
        path = directory / f"{name}.so"
        source_path = directory / f"{name}.c"
        source_path.write_text(source)
        command = [compiler, "-shared", "-fPIC", "-nostdlib", "-o", path, source_path, *flags]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return compile_source


@pytest.fixture
def stack_memory(platform):
    """A page of guest memory to build stacks in."""
    region = platform.hooks.memory_map(request=MapRequest(4096, label="a test's stack"))
    yield region.range
    platform.hooks.memory_unmap(address=region.base, size=region.size)
