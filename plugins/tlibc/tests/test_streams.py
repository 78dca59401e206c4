"""Standard streams: the host's pipes and terminals as the guest's, and who waits for them."""

import errno
import fcntl
import os
import struct
import subprocess
import sys
import termios
from threading import Thread

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names

from .conftest import CLibrary

F_GETFL, F_SETFL, O_NONBLOCK = 3, 4, 0o4000
FAILED = (1 << 64) - 1


@pytest.fixture(params=machine_names())
def with_streams(request):
    """``with_streams(stdin, stdout)`` is the C library of a platform with these descriptors."""
    saved = [os.dup(0), os.dup(1)]
    platforms = []

    def make(stdin, stdout):
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        platforms.append(assemble(machine=request.param))
        return CLibrary(platforms[-1])

    yield make
    for platform in platforms:
        platform.close()
    for number, descriptor in enumerate(saved):
        os.dup2(descriptor, number)
        os.close(descriptor)


class Pipes:
    """A C library whose standard input and output are pipes, with their other ends."""

    def __init__(self, make):
        stdin, self.writer = os.pipe()
        self.reader, stdout = os.pipe()
        self.c = make(stdin, stdout)
        for descriptor in (stdin, stdout):
            os.close(descriptor)
        self.buffer = self.c.block(bytes(1 << 20))

    def read(self, size):
        """The guest's read of so many bytes: what came, or the error."""
        count = self.c.read(0, self.buffer, size)
        return self.c.errno if count == FAILED else self.c.memory.read(self.buffer, count)

    def write(self, size):
        """The guest's write of so many bytes: how many went, or the negated error."""
        count = self.c.write(1, self.buffer, size)
        return -self.c.errno if count == FAILED else count

    def set_flags(self, descriptor, flags):
        assert self.c.fcntl(descriptor, F_SETFL, flags) == 0

    def close(self):
        for end in ("writer", "reader"):
            descriptor = self.__dict__.pop(end, None)
            if descriptor is not None:
                os.close(descriptor)

    def close_reader(self):
        os.close(self.__dict__.pop("reader"))

    def close_writer(self):
        os.close(self.__dict__.pop("writer"))


@pytest.fixture
def open_pipes(with_streams):
    """Makes :class:`Pipes`. In the test itself: pytest has streams of its own while it prepares."""
    opened = []

    def make():
        opened.append(Pipes(with_streams))
        return opened[-1]

    yield make
    for pipes in opened:
        pipes.close()


def start_task(pipes, function):
    return pipes.c.platform.tasks.start(function, "other")


def test_a_read_returns_what_is_there_and_nothing_at_the_end(open_pipes):
    pipes = open_pipes()
    os.write(pipes.writer, b"some")
    assert pipes.read(100) == b"some"
    os.write(pipes.writer, b"more")
    pipes.close_writer()
    assert [pipes.read(3), pipes.read(3), pipes.read(3)] == [b"mor", b"e", b""]


def test_what_is_written_is_out_at_once(open_pipes):
    pipes = open_pipes()
    pipes.c.memory.write(pipes.buffer, b"prompt> ")
    assert pipes.write(8) == 8
    assert os.read(pipes.reader, 100) == b"prompt> "


def test_a_guest_that_will_not_wait_is_told_so_and_the_hosts_flags_stay(open_pipes):
    pipes = open_pipes()
    pipes.set_flags(0, O_NONBLOCK)
    assert pipes.read(1) == errno.EAGAIN
    assert os.get_blocking(0)
    os.write(pipes.writer, b"x")
    assert pipes.read(1) == b"x"

    pipes.set_flags(1, O_NONBLOCK)
    sizes = []
    while (size := pipes.write(50_000)) > 0:
        sizes.append(size)
    assert size == -errno.EAGAIN
    assert 50_000 < sum(sizes) <= 65536
    assert os.get_blocking(1)


def test_a_closed_reader_is_an_error_and_no_signal(open_pipes):
    pipes = open_pipes()
    pipes.close_reader()
    assert pipes.write(1) == -errno.EPIPE
    assert pipes.write(1) == -errno.EPIPE


@pytest.mark.parametrize("others", [False, True], ids=["alone", "with other tasks"])
def test_a_write_of_more_than_a_pipe_holds_arrives_whole(open_pipes, others):
    pipes = open_pipes()
    data = os.urandom(1 << 20)
    pipes.c.memory.write(pipes.buffer, data)
    if others:
        start_task(pipes, lambda: pipes.c.platform.tasks.sleep(1))
    arrived = bytearray()

    def drain():
        while len(arrived) < len(data):
            arrived.extend(os.read(pipes.reader, 1 << 16))

    thread = Thread(target=drain)
    thread.start()
    written = 0
    while written < len(data):
        written += pipes.c.write(1, pipes.buffer + written, len(data) - written)
    thread.join()
    assert bytes(arrived) == data


def test_other_tasks_run_while_one_waits_for_input(open_pipes):
    pipes = open_pipes()

    def other():
        pipes.c.platform.tasks.yield_()
        os.write(pipes.writer, b"from the other task")

    start_task(pipes, other)
    assert pipes.read(100) == b"from the other task"


def test_other_tasks_run_while_one_waits_for_room(open_pipes):
    pipes = open_pipes()
    full = pipes.write(65536)
    taken = []
    start_task(pipes, lambda: taken.append(len(os.read(pipes.reader, 65536))))

    assert pipes.write(10) == 10
    assert taken == [full]


def test_a_closed_stream_is_closed_and_its_number_is_free(open_pipes, tmp_path):
    pipes = open_pipes()
    assert pipes.write(1) == 1
    assert pipes.c.close(1) == 0
    assert pipes.write(1) == -errno.EBADF
    assert pipes.c.dup(0) == 1
    assert pipes.write(1) == -errno.EBADF  # it is for reading
    os.write(pipes.writer, b"y")
    assert pipes.c.read(1, pipes.buffer, 1) == 1


def test_a_terminal_is_one_and_reads_by_lines(with_streams):
    controller, terminal = os.openpty()
    fcntl.ioctl(controller, termios.TIOCSWINSZ, struct.pack("<4H", 24, 80, 0, 0))
    try:
        c = with_streams(terminal, terminal)
        buffer = c.block(bytes(100))
        assert c.isatty(0) == c.isatty(1) == 1
        assert c.ioctl(0, 0x5413, buffer) == 0
        assert struct.unpack("<2H", c.memory.read(buffer, 4)) == (24, 80)
        os.write(controller, b"line\nrest")
        assert c.read(0, buffer, 100) == 5
        assert c.memory.read(buffer, 5) == b"line\n"
        assert c.write(1, buffer, 5) == 5
        c.fcntl(0, F_SETFL, O_NONBLOCK)
        assert c.syscall_(0, 0, buffer, 100) == -errno.EAGAIN
    finally:
        os.close(controller)
        os.close(terminal)


def test_a_stream_that_the_host_has_closed_is_closed_for_the_guest():
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from theseus_kit.assembly import assemble\n"
        "os.close(1)\n"
        "with assemble() as platform:\n"
        "    address = platform.namespace.resolve('write')\n"
        "    result = platform.machine.call(address, (1, platform.machine.memory.territory.start,"
        " 1))\n"
        "    os.write(2, str(result == (1 << 64) - 1).encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, os.path.dirname(__file__)],  # noqa: PTH120
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == "True"


def test_the_last_words_are_kept_however_they_are_written(c, capfd):
    for text in (b"one ", b"two"):
        c.write(2, c.block(text), len(text))
    c.fputs(c.string(b" three"), c.memory.read_u64(c.platform.namespace.resolve("stderr")))

    assert capfd.readouterr().err == "one two three"
    with pytest.raises(Exception, match="one two three"):
        c.abort()


@pytest.mark.parametrize("name", ["null", "zero", "full"])
def test_a_device_that_is_memory_is_always_ready(with_streams, name):
    device = os.open(f"/dev/{name}", os.O_RDWR)
    c = with_streams(device, device)
    os.close(device)
    poll_in, poll_out = 1, 4
    wanted = c.block(struct.pack("<ihh", 1, poll_in | poll_out, 0))

    assert c.poll(wanted, 1, (1 << 64) - 1) == 1
    assert struct.unpack("<ihh", c.memory.read(wanted, 8))[2] == poll_in | poll_out

    written = c.write(1, c.block(b"0123"), 4)

    assert (written, c.errno) == (FAILED, errno.ENOSPC) if name == "full" else written == 4
