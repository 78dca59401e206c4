"""Threads that send each other signals: the host's kernel and this C library show them the same."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from theseus_kit.assembly import assemble

SOURCE = Path(__file__).with_name("thread_program.c")
FUNCTIONS = re.findall(r"^long (\w+)\(void\)", SOURCE.read_text(), re.MULTILINE)
UNPREEMPTED = [name for name in FUNCTIONS if not name.startswith("PREEMPTED")]

HOST = """
import ctypes, json, sys
library = ctypes.CDLL(sys.argv[1])
library.be_patient(10)
answers = {}
for name in sys.argv[2:]:
    function = getattr(library, name)
    function.restype = ctypes.c_long
    answers[name] = function()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which("gcc") or pytest.skip("no C compiler is installed")
    library = tmp_path_factory.mktemp("signals") / "threads.so"
    subprocess.run(
        [compiler, "-O1", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra", "-Werror"]
        + ["-o", str(library), str(SOURCE)],
        check=True,
    )
    return library


@pytest.fixture(scope="module")
def on_the_host(program):
    """What each function answers in a process of its own, which nothing else sends signals to."""
    done = subprocess.run(
        [sys.executable, "-c", HOST, program, *FUNCTIONS],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_threads_see_the_signals_they_see_on_the_host(platform, program, on_the_host, name):
    assert platform.load(program).call(name) == on_the_host[name]
    assert [task.name for task in platform.tasks] == ["main"]


@pytest.mark.parametrize("name", UNPREEMPTED)
def test_threads_see_them_on_a_deterministic_platform(program, on_the_host, name):
    with assemble(deterministic=1) as platform:
        assert platform.load(program).call(name) == on_the_host[name]
