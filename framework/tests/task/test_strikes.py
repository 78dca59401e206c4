"""Whatever a signal handler of Python's raises, and wherever in the scheduler it strikes: the
caller gets it, no task is lost, and the platform goes on, or closes."""

import os
import random
import select
import signal
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from greenlet import getcurrent

import theseus_kit.task
from theseus_kit import TaskExit, WaitQueue, assemble
from theseus_kit.task.task import READY, RUNNING, WAITING

from .conftest import World
from .strikes import Strike, Struck

IS_LONG = bool(os.environ.get("THESEUS_KIT_LONG"))
MOST_VISITS = 8 if IS_LONG else 1
"""Of the visits to one place, so many are struck and the last."""
EVERY = 1 if IS_LONG else 4
"""One of so many places is struck, another one in each test."""
FILES = frozenset(
    {__file__, *(str(file) for file in Path(theseus_kit.task.__file__).parent.glob("*.py"))}
)
STACK = 1 << 16
MILLISECOND = 1_000_000


class Town:
    """Tasks that do all that tasks do, on one platform."""

    def __init__(self, platform):
        self.platform = platform
        self.tasks = platform.tasks
        self.bell, self.door = WaitQueue("a bell"), WaitQueue("a door")
        world = World(platform)
        self.nested = world.through_guest(self.wait_for_either)
        # mov rax, rsp; ret
        self.stack_pointer = world.code("4889e0 c3")
        self.pipe = os.pipe()
        self.greenlet = getcurrent()

    def start(self, function):
        return self.tasks.start(function, function.__name__, STACK)

    def live(self):
        """What the main task does."""
        os.write(self.pipe[1], b"x")
        started = [
            self.start(body)
            for body in (
                *(self.listen, self.sleep, self.give_way, self.nested, self.be_parent),
                *(self.leave, self.read),
            )
        ]
        self.tasks.yield_()
        self.bell.wake()
        self.tasks.wait(self.door, MILLISECOND)
        self.nested()
        self.tasks.sleep(3 * MILLISECOND)
        self.bell.wake_all()
        for task in started:
            self.tasks.join(task)

    def listen(self):
        self.tasks.wait(self.bell)
        self.tasks.wait(self.bell, MILLISECOND)

    def sleep(self):
        for _ in range(2):
            self.tasks.sleep(MILLISECOND)

    def give_way(self):
        for _ in range(3):
            self.tasks.yield_()
        self.door.wake()

    def wait_for_either(self):
        self.tasks.wait_for_any((self.bell, self.door), (), MILLISECOND)

    def be_parent(self):
        self.tasks.join(self.start(self.sleep))

    def leave(self):
        raise TaskExit(3)

    def read(self):
        self.tasks.wait_for_descriptors([(self.pipe[0], select.POLLIN)])
        os.set_blocking(self.pipe[0], False)
        os.read(self.pipe[0], 1)

    def is_whole(self):
        """The scheduler, the machine and Python agree on who runs, and each task is somewhere."""
        tasks, main = self.tasks, self.tasks.main
        assert getcurrent() is self.greenlet
        assert tasks.current is main
        assert (main.state, main.greenlet, main.error, main.waits_for) == (RUNNING, None, None, ())
        assert self.stack_pointer() in main.stack
        ready = [task for task in tasks._ready if task.state == READY]
        assert len(ready) == len(set(ready))
        for task in tasks:
            if task is not main and not task.is_ended:
                assert task.body or task.greenlet, (task, task.state)
                is_waiting = task.waits_for or task in tasks._events._sleeping
                assert task in ready or (task.state == WAITING and is_waiting), task
        return True

    def goes_on(self):
        """All that are left come to their end, if somebody rings and reads."""
        tasks = self.tasks
        for _ in range(50):
            if all(task.is_ended for task in tasks if task is not tasks.main):
                return True
            os.write(self.pipe[1], b"x")
            self.bell.wake_all()
            self.door.wake_all()
            tasks.sleep(2 * MILLISECOND)
        return False

    def close(self):
        self.platform.close()
        for end in self.pipe:
            os.close(end)


def places(act, number):
    """The places that something visits, with the numbers of the visits to strike at."""
    with Strike(FILES) as strike:
        act()
    visits = [
        (place, visit)
        for place, visits in strike.visits.items()
        for visit in sorted({*range(1, min(MOST_VISITS, visits) + 1), visits})
    ]
    assert len(visits) > 20
    return visits[number % EVERY :: EVERY]


def name_of(at):
    (code, offset), visit = at
    lines = [line for start, end, line in code.co_lines() if start <= offset < end]
    return f"{Path(code.co_filename).name}:{lines[0]} in {code.co_name}, {offset}, visit {visit}"


def strike(act, at, *, twice=False):
    """Do something and strike; all that was raised comes out, and nothing else. Return how many."""
    found = None
    with Strike(FILES, at, twice=twice) as striking:
        try:
            try:
                act()
            finally:
                for _ in range(2):  # what has not come before comes here
                    pass
        except Struck as error:
            found = error
        except BaseException as error:
            error.add_note(f"struck at {name_of(at)}")
            raise
    caught = set()
    while found is not None:
        caught.add(found)
        found = found.__context__
    assert caught >= {*striking.raised}, name_of(at)
    return len(striking.raised)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("options", [{"deterministic": 1}, {}], ids=["virtual", "host"])
def test_what_strikes_the_scheduler_reaches_the_caller_and_all_goes_on(machine, options, twice):
    strikes = 0
    with closing(Town(assemble(machine=machine, **options))) as town:
        for at in places(town.live, 2 * twice + bool(options)):
            strikes += strike(town.live, at, twice=twice)
            assert town.is_whole(), name_of(at)
            assert town.goes_on(), name_of(at)
            assert town.is_whole(), name_of(at)
    assert strikes


@pytest.mark.parametrize("twice", [False, True])
def test_what_strikes_while_a_platform_closes_is_raised_and_closing_again_is_enough(machine, twice):
    def inhabited():
        town = Town(assemble(machine=machine))
        for body in (town.listen, town.nested, town.sleep, town.read):
            town.start(body)
        town.tasks.yield_()
        town.start(town.leave)
        return town

    town = inhabited()
    for at in places(town.close, twice):
        town = inhabited()
        others = [task for task in town.tasks if task is not town.tasks.main]
        strike(town.platform.close, at, twice=twice)
        town.close()
        assert town.platform.machine.is_closed, name_of(at)
        assert all(task.is_ended for task in others), name_of(at)


def test_signals_of_the_host_reach_the_caller_whenever_they_come(machine, monkeypatch):
    """The moments differ from run to run; what must be true of each does not."""
    raised, dropped, moments = [], [], random.Random(5)

    def handle(number, frame):
        raised.append(Struck())
        raise raised[0]

    def live(town):
        while not raised:
            town.bell.wake()
            town.tasks.wait(town.door, MILLISECOND)
            town.door.wake()
            town.tasks.yield_()
            town.tasks.wait(town.bell, MILLISECOND // 10)

    # What is raised in a finaliser is Python's to drop.
    monkeypatch.setattr(sys, "unraisablehook", lambda found: dropped.append(found.exc_value))
    handler = signal.signal(signal.SIGALRM, handle)
    try:
        with closing(Town(assemble(machine=machine))) as town:
            for _ in range(1000 if IS_LONG else 60):
                raised.clear()
                caught = None
                for _ in range(3):
                    town.tasks.start(partial(live, town), "busy", STACK)
                town.tasks.yield_()
                try:
                    signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.0001, 0.003))
                    live(town)
                except Struck as error:
                    caught = error
                assert raised[0] in (caught, *dropped)
                assert town.is_whole()
                assert town.goes_on()
    finally:
        signal.signal(signal.SIGALRM, handler)
