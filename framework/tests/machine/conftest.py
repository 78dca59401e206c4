"""A machine with a stack, a data page and an unmapped page behind it, and hand-assembled code.

Beside it, as little of a scheduler as the tests of guest threads need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from greenlet import greenlet

from theseus_kit.machine.emulated import EmulatedMachine, EmulatedOptions
from theseus_kit.machine.native import NativeMachine, NativeOptions
from theseus_kit.machine.protocol import Thread
from theseus_kit.values.exceptions import ExceptionContext
from theseus_kit.values.memory import AddressRange, Protection

SMALL = 64  # GiB

Task = tuple[Thread, greenlet]


class Guest:
    """What the tests of a machine share.

    ::

        stack (64 KiB) │ unmapped │ data (2 pages, rw-) │ unmapped …
    """

    def __init__(self, machine: EmulatedMachine | NativeMachine) -> None:
        self.machine = machine
        self.memory = machine.memory
        start = self.memory.territory.start
        self.stack = AddressRange.of_size(start, 1 << 16)
        self.data = self.stack.end + 0x1000
        self.end_of_data = self.data + 0x2000
        self.free = start + (1 << 20)
        self.memory.map(self.stack.start, self.stack.size, Protection.READ_WRITE)
        self.memory.map(self.data, 0x2000, Protection.READ_WRITE)
        self.thread = machine.create_thread(self.stack)
        machine.select_thread(self.thread)
        self.contexts: list[ExceptionContext] = []

    def code(self, hexadecimal: str) -> int:
        """Place machine code; each test has its assembly beside the bytes."""
        return self.machine.place_code(bytes.fromhex(hexadecimal))

    def run(self, hexadecimal: str, *arguments: int) -> int:
        return self.machine.call(self.code(hexadecimal), arguments)

    def on_exception(self, handler: Callable[[ExceptionContext], None]) -> None:
        self.machine.set_handlers(handler, lambda *_: 0)

    def give_up_on_exception(self) -> None:
        """Note each exception and go on at a ``ret``, as if the faulting function had returned."""
        leave = self.code("c3")

        def handler(context: ExceptionContext) -> None:
            self.contexts.append(
                ExceptionContext(
                    context.vector, context.registers.copy(), context.error_code, context.page_fault
                )
            )
            context.registers.rip = leave

        self.on_exception(handler)


class Switcher:
    """Round robin over guest threads; ``switch`` may be called wherever Python is at rest."""

    def __init__(self, guest: Guest) -> None:
        self.machine = guest.machine
        self.guest = guest
        self.ready: list[Task] = []
        self.current: Task = (guest.thread, greenlet.getcurrent())
        self.hub = self.current
        self.results: dict[int, object] = {}
        self._next_stack = guest.free + (64 << 20)

    def new_thread(self) -> Thread:
        stack = AddressRange.of_size(self._next_stack, 1 << 19)
        self._next_stack += 1 << 20
        self.guest.memory.map(stack.start, stack.size, Protection.READ_WRITE)
        return self.machine.create_thread(stack)

    def start(self, function: Callable[[], object]) -> Task:
        """A thread that will run a function; its result is kept by the thread's number."""
        number = len(self.results)
        self.results[number] = None

        def run() -> None:
            self.results[number] = function()

        task = (self.new_thread(), greenlet(run, self.hub[1]))
        self.ready.append(task)
        return task

    def go_to(self, task: Task) -> None:
        thread, runner = task
        self.current = task
        self.machine.select_thread(thread)
        runner.switch()

    def switch(self) -> int:
        """Let the next thread that is ready go on; this one is ready too."""
        if self.ready:
            self.ready.append(self.current)
            self.go_to(self.ready.pop(0))
        return 0

    def run(self) -> dict[int, object]:
        """From the hub: until every thread has ended."""
        assert self.current is self.hub
        while self.ready:
            task = self.ready.pop(0)
            if task is self.hub:
                continue
            self.go_to(task)
            self.current = self.hub
            self.machine.select_thread(self.hub[0])
        return self.results


MakeMachine = Callable[[], EmulatedMachine | NativeMachine]


@pytest.fixture(params=["emulated", "emulated by its public interface", "native"])
def make_machine(request: pytest.FixtureRequest) -> MakeMachine:
    """What makes a machine, of each kind in turn."""
    if request.param == "native":
        return lambda: NativeMachine(NativeOptions(territory_gib=SMALL))
    options = EmulatedOptions(territory_gib=SMALL, internal_fields=request.param == "emulated")
    return lambda: EmulatedMachine(options)


@pytest.fixture
def machine(make_machine: MakeMachine) -> Iterator[EmulatedMachine | NativeMachine]:
    with make_machine() as made:
        yield made


@pytest.fixture
def guest(machine: EmulatedMachine | NativeMachine) -> Guest:
    return Guest(machine)


@pytest.fixture
def switcher(guest: Guest) -> Switcher:
    return Switcher(guest)


@pytest.fixture
def make_switcher(make_guest: Callable[[], Guest]) -> Callable[[], Switcher]:
    return lambda: Switcher(make_guest())


@pytest.fixture
def emulated_guest() -> Iterator[Guest]:
    """For what only the emulated machine has."""
    with EmulatedMachine(EmulatedOptions(territory_gib=SMALL)) as made:
        yield Guest(made)


@pytest.fixture
def make_guest(make_machine: MakeMachine) -> Iterator[Callable[[], Guest]]:
    machines: list[EmulatedMachine | NativeMachine] = []

    def make() -> Guest:
        machines.append(make_machine())
        return Guest(machines[-1])

    yield make
    for made in machines:
        made.close()
