"""Platforms with the bundled plugins, and guest code to walk and to name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names
from theseus_kit.values.memory import MapRequest

DATA = Path(__file__).with_name("data")
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


@pytest.fixture(scope="session")
def compile_cpp(tmp_path_factory):
    """Compile a C++ source of ours to a shared object with DWARF; skips without a compiler."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    directory = tmp_path_factory.mktemp("cpp")

    def compile_source(name, *more):
        path = directory / f"{name}.so"
        flags = ("-O1", "-g", "-shared", "-fPIC", "-fno-stack-protector", *more)
        command = [compiler, *flags, "-o", path, DATA / f"{name}.cpp"]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return compile_source


@pytest.fixture(scope="session")
def cpp_path(compile_cpp):
    """A C++ image that throws and catches."""
    return compile_cpp("throws")


@pytest.fixture(scope="session")
def cpp_library(cpp_path):
    """The C++ library that the compiler links with."""
    compiler = shutil.which("g++") or shutil.which("c++")
    command = [compiler, "-print-file-name=libstdc++.so.6"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(answer).is_absolute():
        pytest.skip("needs the shared C++ library")
    return answer


@pytest.fixture(scope="session")
def rust_path(tmp_path_factory):
    """A Rust image that panics and catches; skips without a compiler."""
    compiler = shutil.which("rustc") or shutil.which(str(Path.home() / ".cargo/bin/rustc"))
    if compiler is None:
        pytest.skip("needs a Rust compiler")
    if subprocess.run([compiler, "--version"], capture_output=True).returncode != 0:
        pytest.skip("needs a Rust toolchain beside its launcher")
    directory = tmp_path_factory.mktemp("rust")
    source = DATA / "panics.rs"
    path = directory / "panics.so"
    flags = ("--crate-type", "cdylib", "-C", "opt-level=1", "-g", "-A", "static_mut_refs")
    subprocess.run([compiler, *flags, "-o", path, source], check=True, capture_output=True)
    return path


@pytest.fixture(params=machine_names())
def any_platform(request):
    """A fresh platform on each machine."""
    plugins = ["region", "signals", "backtrace", "path", "tlibc"]
    with assemble(plugins, machine=request.param) as platform:
        yield platform


@pytest.fixture
def cpp(any_platform, cpp_library, cpp_path):
    """The C++ image on each machine."""
    any_platform.load(cpp_library)
    return any_platform.load(cpp_path)


@pytest.fixture
def rust(any_platform, rust_path):
    """The Rust image on each machine, its panic hook set to note a 100."""
    image = any_platform.load(rust_path)
    image.call("quiet")
    return image
