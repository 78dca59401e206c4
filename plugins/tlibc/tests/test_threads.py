"""Programs with threads answer as they do on the host's C library, on both machines."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names

SOURCE = Path(__file__).parent / "thread_program.c"
FUNCTIONS = re.findall(r"^long (\w+)\(void\)", SOURCE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this host")
    library = tmp_path_factory.mktemp("compiled") / "threads.so"
    subprocess.run(
        [compiler, "-O1", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra", "-Werror"]
        + ["-o", str(library), str(SOURCE)],
        check=True,
    )
    return library


@pytest.fixture(scope="module")
def on_host(program):
    library = ctypes.CDLL(str(program))

    def call(name):
        function = getattr(library, name)
        function.restype = ctypes.c_long
        return function()

    return call


@pytest.fixture(params=machine_names())
def machine(request):
    return request.param


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_program_answers_as_on_the_host(machine, program, on_host, name):
    with assemble(machine=machine) as platform:
        assert platform.load(program).call(name) == on_host(name)
        assert [task.name for task in platform.tasks] == ["main"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_program_answers_the_same_on_a_deterministic_platform(program, on_host, name):
    with assemble(deterministic=1) as platform:
        assert platform.load(program).call(name) == on_host(name)
