"""An interrupt from another host thread is neither lost nor raised twice, whenever it comes."""

import random
import threading

import pytest

from theseus_kit import WaitQueue, assemble
from theseus_kit.errors import GuestInterrupted

ROUNDS = 150
FOR_EVER = 60_000_000_000


def interrupting_once(world, has_begun, spins):
    """Interrupts one time, a moment after something has begun."""

    def run():
        has_begun.wait()
        for _ in range(spins):
            pass
        assert world.platform.interrupt() is None

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_an_interrupt_between_guest_code_and_a_wait_ends_that_wait(world):
    moments = random.Random(7)
    has_begun = threading.Event()
    queue = WaitQueue("nothing")

    def body():
        has_begun.set()
        for _ in range(moments.randrange(40)):
            pass
        world.tasks.wait(queue, FOR_EVER)

    guest = world.through_guest(body)
    for _ in range(ROUNDS):
        has_begun.clear()
        thread = interrupting_once(world, has_begun, moments.randrange(200))
        with pytest.raises(GuestInterrupted):
            guest()
        thread.join()


def test_an_interrupt_while_tasks_end_and_begin_reaches_the_main_task_once(world):
    moments = random.Random(8)
    has_begun = threading.Event()
    # ret
    nothing = world.code("c3")

    def working():
        world.tasks.start(nothing)
        nothing()
        has_begun.set()

    for _ in range(ROUNDS):
        has_begun.clear()
        thread = interrupting_once(world, has_begun, moments.randrange(400))
        for _ in range(3):
            world.tasks.start(working)
        with pytest.raises(GuestInterrupted):
            world.tasks.sleep(FOR_EVER)
        thread.join()
        world.tasks.sleep(0)
        assert len(world.tasks) >= 1


def test_an_interrupt_that_guest_code_has_raised_leaves_the_next_wait_alone(world):
    has_begun = threading.Event()

    def looping():
        has_begun.set()
        return 0

    address = world.platform.machine.export(looping, 0)
    # push rdi; call [rsp]; jmp back
    loop = world.code("57 ff1424 ebfb")
    waiting = world.through_guest(lambda: world.tasks.sleep(2_000_000))
    for _ in range(20):
        has_begun.clear()
        thread = interrupting_once(world, has_begun, 50)
        with pytest.raises(GuestInterrupted):
            loop(address)
        thread.join()
        assert waiting() == 1


@pytest.mark.parametrize(
    "options",
    [{}, {"options": {"tasks": {"quantum_ms": 0}}}, {"deterministic": 0}],
    ids=["quantum", "no quantum", "deterministic"],
)
def test_an_interrupt_before_a_task_runs_its_first_guest_code_stops_that(machine, options):
    with assemble(machine=machine, **options) as platform:
        # jmp self
        loop = platform.machine.place_code(bytes.fromhex("ebfe"))

        def looping():
            platform.interrupt()
            platform.machine.call(loop)

        platform.tasks.start(looping)
        with pytest.raises(GuestInterrupted):
            platform.tasks.sleep(FOR_EVER)
        platform.tasks.sleep(1_000_000)


def test_an_interrupt_with_nothing_to_interrupt_does_nothing(world):
    assert world.platform.tasks.interrupt() is False

    world.tasks.sleep(1_000_000)
    assert world.through_guest(lambda: world.tasks.sleep(1_000_000))() == 1
