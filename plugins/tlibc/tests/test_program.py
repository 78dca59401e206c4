"""What a program asks about itself and its surroundings, and how it ends."""

import errno
import os
import struct
import time

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import Exited, Panicked

from .conftest import CLibrary


def with_options(**options):
    return assemble(options={"tlibc": options})


def test_the_environment_is_what_the_option_lets_through(monkeypatch):
    monkeypatch.setenv("PASSED_ON", "host's")
    monkeypatch.setenv("HIDDEN", "secret")
    with with_options(environment="SET=a=b, PASSED_ON,ABSENT") as platform:
        c = CLibrary(platform)

        def getenv(name):
            address = c.getenv(c.string(name))
            return c.memory.read_string(address) if address else None

        assert getenv(b"SET") == b"a=b"
        assert getenv(b"PASSED_ON") == b"host's"
        assert getenv(b"HIDDEN") is None
        assert getenv(b"ABSENT") is None
        assert c.getenv(c.string(b"SET")) == c.getenv(c.string(b"SET"))


def test_a_seed_makes_random_bytes_repeat():
    def draw(seed):
        with with_options(seed=seed) as platform:
            c = CLibrary(platform)
            buffer = c.block(bytes(32))
            assert c.getrandom(buffer, 32, 0) == 32
            return c.memory.read(buffer, 32)

    assert draw(1) == draw(1) != draw(2)
    assert draw(None) != draw(None)


def test_getrandom_refuses_unknown_flags_and_unwritable_memory(c):
    assert c.syscall_(318, c.block(bytes(8)), 8, 0x100) == -errno.EINVAL
    assert c.syscall_(318, 0x10, 8, 0) == -errno.EFAULT


def test_the_number_of_processors_is_an_option():
    with with_options(processors=3) as platform:
        c = CLibrary(platform)
        mask = c.block(bytes(128))

        assert c.sched_getaffinity(0, 128, mask) == 0
        assert c.memory.read(mask, 8) == b"\x07" + bytes(7)
        assert c.syscall_(204, 0, 128, mask) == 8
        assert c.sysconf(84) == 3


def test_sysconf_knows_the_page_size_and_refuses_what_it_does_not_know(c):
    assert c.sysconf(30) == 4096
    assert c.sysconf(9999) == (1 << 64) - 1
    assert c.errno == errno.EINVAL


def test_getauxval_answers_zero_and_enoent_for_other_entries(c):
    assert c.getauxval(6) == 4096
    assert c.getauxval(33) == 0
    assert c.errno == errno.ENOENT


@pytest.mark.parametrize("clock", [0, 1, 4, 7])
def test_clocks_are_the_hosts(c, clock):
    reading = c.block(bytes(16))
    host = {0: time.CLOCK_REALTIME}.get(clock, time.CLOCK_MONOTONIC)

    before = time.clock_gettime_ns(host)
    assert c.clock_gettime(clock, reading) == 0
    after = time.clock_gettime_ns(host)

    seconds, nanoseconds = struct.unpack("<qq", c.memory.read(reading, 16))
    assert before <= seconds * 1_000_000_000 + nanoseconds <= after


def test_an_unknown_clock_is_refused(c):
    assert c.syscall_(228, 99, c.block(bytes(16))) == -errno.EINVAL
    assert c.syscall_(228, 1, 0) == -errno.EFAULT


def test_a_sleep_lasts_as_long_as_was_asked(c):
    request = c.block(struct.pack("<qq", 0, 5_000_000))

    before = time.monotonic()
    assert c.nanosleep(request, 0) == 0
    assert time.monotonic() - before >= 0.005
    assert c.nanosleep(c.block(struct.pack("<qq", 0, -1)), 0) == (1 << 64) - 1


def test_errno_is_each_tasks_own(c):
    hooks, tasks = c.platform.hooks, c.platform.tasks
    other = tasks.create("other", hooks)
    hooks.errno_set(task=tasks.current, value=5)
    hooks.errno_set(task=other, value=6)

    assert c.errno == 5


def test_error_texts_are_the_hosts(c):
    buffer = c.block(bytes(64))

    assert c("__xpg_strerror_r", errno.ENOENT, buffer, 64) == 0
    assert c.memory.read_string(buffer) == os.strerror(errno.ENOENT).encode()
    assert c("__xpg_strerror_r", errno.ENOENT, buffer, 5) == errno.ERANGE
    assert c.memory.read_string(buffer) == os.strerror(errno.ENOENT).encode()[:4]
    assert c.memory.read_string(c.strerror(errno.EPERM)) == os.strerror(errno.EPERM).encode()


def test_abort_kills_with_what_the_program_last_said(c, capfd):
    message = b"thread 'main' panicked at src/lib.rs\n"
    c.write(2, c.block(message), len(message))

    with pytest.raises(GuestKilled) as killed:
        c.abort()

    assert isinstance(killed.value.reason, Panicked)
    assert "panicked at src/lib.rs" in str(killed.value)
    assert capfd.readouterr().err == message.decode()


def test_a_failed_assertion_names_its_place(c):
    with pytest.raises(GuestKilled, match=r"f\.c:12: main: assertion 'x > 0' failed"):
        c("__assert_fail", c.string(b"x > 0"), c.string(b"f.c"), 12, c.string(b"main"))


def test_exit_runs_the_registered_functions_last_first(c):
    order = []
    function = c.machine.export(order.append, 1, reenters=True)
    for argument in (1, 2, 3):
        c("__cxa_atexit", function, argument, 0)

    with pytest.raises(GuestKilled) as killed:
        c.exit(0)

    assert order == [3, 2, 1]
    assert killed.value.reason == Exited(0)


def test_finalising_an_image_runs_its_own_functions_only(c):
    order = []
    function = c.machine.export(order.append, 1, reenters=True)
    c("__cxa_atexit", function, 1, 0x1000)
    c("__cxa_atexit", function, 2, 0x2000)

    c("__cxa_finalize", 0x1000)
    c("__cxa_finalize", 0x1000)

    assert order == [1]


def test_dlsym_hands_out_addresses_that_work(c):
    strlen = c.dlsym(0, c.string(b"strlen"))

    assert c.machine.call(strlen, (c.string(b"four"),)) == 4
    assert c.dlsym(0, c.string(b"no_such_function")) == 0
    assert b"no_such_function" in c.memory.read_string(c.dlerror())
    assert c.dlerror() == 0


def test_the_syscall_function_reaches_every_system_call_and_sets_errno(c):
    gettid, mprotect = 186, 10

    assert c.syscall(gettid, 0, 0, 0, 0, 0, 0) == c.gettid()
    assert c.syscall(mprotect, 1, 4096, 0, 0, 0, 0) == (1 << 64) - 1
    assert c.errno == errno.EINVAL
    assert c.syscall(9999, 0, 0, 0, 0, 0, 0) == (1 << 64) - 1
    assert c.errno == errno.ENOSYS
