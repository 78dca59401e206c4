"""syscall(2)'s C function: futex(2) is reached without the instruction, unless somebody watches."""

import errno
import struct

import pytest

from theseus_kit import BUNDLED, assemble
from theseus_kit.hookspecs import hookimpl
from theseus_kit.machine import machine_names
from theseus_kit.plugin import Plugin, PluginDescription

FUTEX, WAIT, WAKE = 202, 0 | 128, 1 | 128
SEEN = []


class WatchesFutex(Plugin):
    description = PluginDescription("watches-futex", "1", "notes every futex(2)")

    @hookimpl(wrapper=True)
    def system_calls(self, plugin):
        offered = yield
        return [self._watched(call) if call.number == FUTEX else call for call in offered or ()]

    def _watched(self, call):
        def body(*arguments):
            SEEN.append(arguments[1])
            return call.function.body(*arguments)

        return call._replace(function=call.function._replace(body=body))


@pytest.fixture(params=machine_names())
def machine(request):
    return request.param


@pytest.fixture
def c_library(c):
    return type(c)


def futex(c, *arguments):
    """What syscall(SYS_futex, …) returns, signed; on the stack there is a seventh argument too."""
    result = c.syscall(FUTEX, *arguments, *[0] * (6 - len(arguments)))
    return result - (1 << 64) if result >> 63 else result


def test_futex_answers_alike_with_and_without_the_instruction(machine, c_library):
    with assemble(machine=machine) as platform:
        c = c_library(platform)
        word = c.block(struct.pack("<I", 7))

        for _ in range(3):
            assert futex(c, word, WAIT, 6) == -1
            assert c.errno == errno.EAGAIN
            assert futex(c, word, WAKE, 1) == 0
            # FUTEX_CMP_REQUEUE, whose sixth argument is the seventh of syscall().
            assert futex(c, word, 4, 1, 1, word, 7) == 0
            assert futex(c, word, 4, 1, 1, word, 8) == -1
            assert c.errno == errno.EAGAIN
            assert futex(c, word + 1, WAKE, 1) == -1
            assert c.errno == errno.EINVAL


def test_only_the_first_futex_takes_the_instruction(machine, c_library):
    with assemble(machine=machine) as platform:
        c = c_library(platform)
        word, served = c.block(struct.pack("<I", 7)), []
        platform.machine.set_handlers(
            lambda context: None,
            lambda number, *arguments: (
                served.append(number) or platform.system_calls(number, *arguments)
            ),
            platform.system_calls.reentrant,
        )

        for _ in range(3):
            assert futex(c, word, WAKE, 1) == 0

        assert served == [FUTEX]


def test_who_watches_futex_sees_every_call(machine, c_library):
    SEEN.clear()
    with assemble([WatchesFutex, *BUNDLED], machine) as platform:
        c = c_library(platform)
        word = c.block(struct.pack("<I", 7))

        for _ in range(3):
            assert futex(c, word, WAKE, 1) == 0

    assert SEEN == [WAKE] * 3
