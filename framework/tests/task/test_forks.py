"""A forked child goes on with the tasks, without the parent's threads."""

import os
import select
import threading

import pytest

from theseus_kit.errors import GuestInterrupted

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def in_a_child(check):
    """Runs a check in a forked child; returns its exit status, 99 where it raised."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = check()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_of_contended_tasks_is_preempted_as_its_parent_is(world):
    # add qword ptr [rdi], 1; cmp qword ptr [rsi], 0; je back; ret
    spin = world.code("48830701 48833e00 74f6 c3")
    first, second = world.page, world.page + 8
    stop = world.page + 16
    for place in (first, second):
        world.tasks.start(lambda place=place: spin(place, stop))
    world.tasks.sleep(20_000_000)

    def check():
        for place in (first, second):
            before = world.memory.read_u64(place)
            while world.memory.read_u64(place) == before:  # for ever, if there is no quantum
                world.tasks.sleep(10_000_000)
        return 0

    try:
        assert in_a_child(check) == 0
    finally:
        world.memory.write_u64(stop, 1)
    while len(world.tasks) > 1:
        world.tasks.yield_()


def test_an_interrupt_in_a_child_leaves_its_parent_waiting(world):
    reading, writing = os.pipe()

    def wait(timeout_ns):
        return world.tasks.wait_for_descriptors([(reading, select.POLLIN)], timeout_ns)

    wait(0)
    assert wait(1_000_000) == {}

    def check():
        done = threading.Event()

        def interrupting():
            while not done.wait(0.005):
                world.platform.interrupt()

        thread = threading.Thread(target=interrupting)
        thread.start()
        try:
            wait(10**11)
        except GuestInterrupted:
            return 0
        finally:
            done.set()
            thread.join()
        return 1

    assert in_a_child(check) == 0
    assert (
        not world.tasks._events._pipe
        or not select.select([world.tasks._events._pipe[0]], [], [], 0)[0]
    )
    assert wait(1_000_000) == {}
    os.close(reading)
    os.close(writing)
