"""A platform with either provider of exception handlers, and signal handlers in Python."""

import struct

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names
from theseus_kit.values.memory import MapRequest, Protection

SA_SIGINFO = 4
GREGS = 40
RAX, RIP = 13, 16


@pytest.fixture(params=machine_names())
def machine(request):
    return request.param


@pytest.fixture(params=["signals", "signals-persistent"])
def provider(request):
    """Either provider of exception handlers: C programs must not see which."""
    return request.param


@pytest.fixture
def platform(machine, provider):
    with assemble(["region", provider, "backtrace", "path", "tlibc"], machine=machine) as platform:
        yield platform


@pytest.fixture
def signals(c):
    return Signals(c)


class Signals:
    """What tests of signals do with a C library: install handlers, place code that faults."""

    def __init__(self, c):
        self.c = c

    def install(self, signal, handler, flags=SA_SIGINFO, mask=0):
        action = struct.pack("<QQ120xi4xQ", handler, mask, flags - (flags >> 31 << 32), 0)
        return self.c.sigaction(signal, self.c.block(action), 0)

    def handler(self, edit):
        return Handler(self.c, edit)

    def skipping(self, size, rax=77):
        """A handler that steps over an instruction."""

        def edit(handler, ucontext):
            handler.set(ucontext, RIP, handler.get(ucontext, RIP) + size)
            handler.set(ucontext, RAX, rax)

        return self.handler(edit)

    def code(self, text):
        return self.c.machine.place_code(bytes.fromhex(text))

    def readable(self, protection=Protection.READ):
        return self.c.platform.hooks.memory_map(request=MapRequest(4096, protection)).base


class Handler:
    """A signal handler in Python, called by the guest; it edits the frame as ``edit`` says."""

    def __init__(self, c, edit):
        self.c, self.edit, self.seen = c, edit, []
        self.address = c.machine.export(self.run, 3, reenters=True, name="handler")

    def run(self, signal, siginfo, ucontext):
        memory = self.c.memory
        number, error, code = struct.unpack("<iii", memory.read(siginfo, 12))
        self.seen.append(
            {
                "signal": signal,
                "si_signo": number,
                "si_errno": error,
                "si_code": code,
                "si_addr": memory.read_u64(siginfo + 16),
                "ucontext": ucontext,
                "uc_link": memory.read_u64(ucontext + 8),
                "gregs": struct.unpack("<23Q", memory.read(ucontext + GREGS, 184)),
                "rsp": self.c.machine.registers().rsp - 8,
            }
        )
        self.edit(self, ucontext)

    def set(self, ucontext, register, value):
        self.c.memory.write_u64(ucontext + GREGS + register * 8, value)

    def get(self, ucontext, register):
        return self.c.memory.read_u64(ucontext + GREGS + register * 8)
