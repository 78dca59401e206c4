"""C programs about strings, numbers, characters …: they see what they see on the host."""

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names

from .conftest import in_the_guest, programs_of

SOURCES = (
    "text_program.c",
    "wide_program.c",
    "time_program.c",
    "math_program.c",
    "stdio_program.c",
)
PROGRAMS = [(source, name) for source in SOURCES for name in programs_of(source)]


@pytest.mark.parametrize("machine", machine_names())
@pytest.mark.parametrize(("source", "name"), PROGRAMS)
def test_a_program_sees_what_it_sees_on_the_host(compiled, on_the_host, source, name, machine):
    if (name, machine) == ("exceptions", "emulated"):
        pytest.xfail("Unicorn's SSE unit does not report exceptions in MXCSR")
    image, number = compiled(source), programs_of(source).index(name)
    with assemble(machine=machine) as platform:
        seen = in_the_guest(platform, image, number)

    assert seen.decode().splitlines() == on_the_host(image, number).decode().splitlines()
