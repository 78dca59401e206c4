"""Platforms, and a C program to kill on them."""

import shutil
import subprocess

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.machine import machine_names

PROGRAM = """
#include <stdlib.h>

typedef int operation(volatile int *, int);

__attribute__((noinline)) int store(volatile int *target, int n)
{
    *target = n;
    return *target + n;
}

__attribute__((noinline)) int give_up(volatile int *target, int n)
{
    if (n)
        abort();
    return n;
}

__attribute__((noinline)) int middle(operation *leaf, volatile int *target, int n)
{
    volatile char buffer[100];
    buffer[n % 100] = 1;
    return leaf(target, n + 1) + buffer[n % 100];
}

int fault(volatile int *target, int n) { return middle(store, target, n) + 1; }
int panic(volatile int *target, int n) { return middle(give_up, target, n) + 1; }

int host_call(int (*host)(int), int n) { return host(n) + 1; }
"""


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """PROGRAM as a shared object, with unwind tables and lines."""
    compiler = shutil.which("gcc") or pytest.skip("no C compiler is installed")
    directory = tmp_path_factory.mktemp("program")
    (directory / "program.c").write_text(PROGRAM)
    image = directory / "program.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-g", "-o", image, directory / "program.c"]
    subprocess.run(command, check=True)
    return image


@pytest.fixture(params=machine_names())
def machine(request):
    return request.param


@pytest.fixture
def platform(machine):
    with assemble(machine=machine) as platform:
        yield platform


@pytest.fixture
def killed(platform, program):
    """Load the program and kill it; return the error. ``killed("fault")``, ``killed("panic")``."""

    def kill(function):
        image = platform.load(program)
        with pytest.raises(GuestKilled) as caught:
            image.call(function, 0x1234, 41)
        return caught.value

    return kill
