"""Tasks that start, wait, yield, wake each other and end."""

import subprocess
import sys

import pytest

from theseus_kit import Ability, WaitQueue, assemble


def test_one_task_alone_imports_no_greenlets():
    program = """
import sys
from theseus_kit import assemble
with assemble() as platform:
    platform.tasks.sleep(1000)
    platform.tasks.yield_()
print("greenlet" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout == b"False\n"


def test_tasks_take_turns_in_the_order_they_became_ready(world):
    turns = []

    def taking(name):
        def body():
            for turn in range(3):
                turns.append(f"{name}{turn}")
                world.tasks.yield_()

        return body

    started = [world.tasks.start(taking(name), name) for name in "abc"]
    for task in started:
        world.tasks.join(task)

    assert turns == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_joined_task_gives_its_result_and_is_gone(world):
    task = world.tasks.start(lambda: 42, "worker")

    assert not task.is_ended
    assert world.tasks.join(task) == 42
    assert task.is_ended
    assert [each.name for each in world.tasks] == ["main"]


def test_joining_a_task_that_has_ended_answers_at_once(world):
    task = world.tasks.start(lambda: 1)
    world.tasks.yield_()

    assert task.is_ended
    assert world.tasks.join(task) == 1


def test_waiting_tasks_are_woken_first_come_first(world):
    queue, woken = WaitQueue("something"), []

    def waiting(number):
        def body():
            assert world.tasks.wait(queue)
            woken.append(number)

        return body

    for number in range(4):
        world.tasks.start(waiting(number))
    world.tasks.yield_()

    assert len(queue) == 4
    assert queue.wake(3) == 3
    world.tasks.yield_()
    assert woken == [0, 1, 2]
    assert queue.wake_all() == 1
    assert queue.wake() == 0
    world.tasks.yield_()
    assert woken == [0, 1, 2, 3]


def test_a_wait_ends_by_its_time_out(world):
    queue = WaitQueue("nothing")

    assert world.tasks.wait(queue, timeout_ns=1_000) is False
    assert world.tasks.wait(queue, timeout_ns=0) is False
    assert len(queue) == 0


def test_sleepers_wake_in_the_order_of_their_times(machine):
    woken = []
    with assemble(machine=machine, deterministic=0) as platform:

        def sleeping(milliseconds):
            def body():
                platform.tasks.sleep(milliseconds * 1_000_000)
                woken.append(milliseconds)

            return body

        tasks = [platform.tasks.start(sleeping(time)) for time in (12, 3, 8, 3)]
        for task in tasks:
            platform.tasks.join(task)

    assert woken == [3, 3, 8, 12]


def test_a_thousand_time_outs_that_did_not_come_are_forgotten(world):
    queue = WaitQueue("work")

    def working():
        for _ in range(1000):
            assert world.tasks.wait(queue, timeout_ns=1_000_000_000_000)

    worker = world.tasks.start(working)
    for _ in range(1000):
        world.tasks.yield_()
        queue.wake()
    world.tasks.join(worker)

    assert len(world.tasks._events._timers) < 200


def test_tasks_wait_inside_nested_guest_calls_and_go_on_in_any_order(world):
    """Each goes down some levels of guest code calling Python, waits there, and comes back up."""
    queues = [WaitQueue(f"queue {number}") for number in range(4)]

    def descending(number, levels):
        def body():
            if levels == 0:
                world.tasks.wait(queues[number])
                return number * 100
            return world.through_guest(descending(number, levels - 1))()

        return body

    tasks = [world.tasks.start(descending(number, number + 3)) for number in range(4)]
    world.tasks.yield_()
    for number in (2, 0, 3, 1):  # neither the order they came nor the reverse
        queues[number].wake()
        world.tasks.yield_()

    assert [world.tasks.join(task) for task in tasks] == [3, 104, 205, 306]


def test_a_task_that_runs_long_is_stopped_for_others(world):
    # cmp byte ptr [rdi], 0; je -5; mov eax, 7; ret
    spin = world.code("803f00 74fb b807000000 c3")
    spinning = world.tasks.start(lambda: spin(world.page))
    world.tasks.yield_()  # comes back by the quantum alone

    world.memory.write(world.page, b"\1")

    assert world.tasks.join(spinning) == 7


def test_a_sleeper_wakes_while_another_task_runs_long(world):
    # cmp byte ptr [rdi], 0; je -5; mov eax, 7; ret
    spin = world.code("803f00 74fb b807000000 c3")
    spinning = world.tasks.start(lambda: spin(world.page))

    world.tasks.sleep(1_000_000)
    world.memory.write(world.page, b"\1")

    assert world.tasks.join(spinning) == 7


def test_tasks_that_are_stopped_anywhere_compute_as_if_they_were_not(world):
    # pxor xmm0, xmm0; cvtsi2sd xmm1, rsi; xor eax, eax
    # loop: addsd xmm0, xmm1; lea rax, [rax + rdi]; dec rdx; jnz loop
    # cvttsd2si rcx, xmm0; add rax, rcx; ret
    count = world.code(
        "660fefc0 f2480f2ace 31c0 f20f58c1 488d0438 48ffca 75f3 f2480f2cc8 4801c8 c3"
    )
    is_emulated = Ability.ISOLATION in world.platform.machine.abilities
    rounds = 3_000_000 if is_emulated else 60_000_000

    tasks = [world.tasks.start(lambda n=n: count(n, n * 2, rounds)) for n in range(1, 5)]

    assert [world.tasks.join(task) for task in tasks] == [n * 3 * rounds for n in range(1, 5)]
    assert world.tasks.switches > 12


def test_each_task_sees_its_own_stack_and_thread_pointer(world):
    stacks = set()

    def looking():
        task = world.tasks.current
        registers = []
        world.through_guest(lambda: registers.append(world.platform.machine.registers()))()
        assert registers[0].rsp in task.stack
        stacks.add((task.stack.start, task.thread.fs_base))

    for task in [world.tasks.start(looking) for _ in range(3)]:
        world.tasks.join(task)

    assert len(stacks) == 3


def test_a_backtrace_of_a_waiting_task_shows_where_it_waits(world):
    queue = WaitQueue("something")
    task = world.tasks.start(world.through_guest(lambda: world.tasks.wait(queue)))
    world.tasks.yield_()

    trace = world.platform.backtrace(task)

    assert trace[0].symbols[0].name == "body"
    assert len(trace) >= 2
    assert world.tasks.registers_of(task).rsp in task.stack
    assert world.platform.backtrace() == ()
    queue.wake()
    world.tasks.join(task)


def test_a_wait_can_be_interrupted_as_by_a_signal(world):
    from theseus_kit import PlatformError

    queue, errors = WaitQueue("something"), []

    def waiting():
        try:
            world.tasks.wait(queue)
        except PlatformError as error:
            errors.append(error.errno)

    task = world.tasks.start(waiting)
    world.tasks.yield_()

    assert world.tasks.interrupt_wait(task)
    world.tasks.join(task)
    assert errors == [4]
    assert not world.tasks.interrupt_wait(task)


def test_a_task_on_a_stack_of_the_guests_own_runs_there_and_leaves_it(world):
    from theseus_kit.values.memory import AddressRange, MapRequest, Protection

    hooks = world.platform.hooks
    base = hooks.memory_map(request=MapRequest(1 << 16, Protection.READ_WRITE)).base
    seen = []
    look = world.through_guest(lambda: seen.append(world.platform.machine.registers().rsp))

    world.tasks.join(world.tasks.start(look, stack=AddressRange.of_size(base, 1 << 16)))

    assert base < seen[0] < base + (1 << 16)
    assert hooks.memory_query(address=base).base == base


@pytest.mark.parametrize("waiters", [1, 3])
def test_a_host_pipe_is_waited_for_while_other_tasks_run(world, waiters):
    import os
    import select

    reading, writing = os.pipe()
    found, turns = [], []

    def waiting():
        found.append(world.tasks.wait_for_descriptors([(reading, select.POLLIN)]))

    def running():
        for turn in range(50):
            turns.append(turn)
            world.tasks.yield_()
        os.write(writing, b"x")

    tasks = [world.tasks.start(waiting) for _ in range(waiters)] + [world.tasks.start(running)]
    for task in tasks:
        world.tasks.join(task)

    assert found == [{reading: select.POLLIN}] * waiters
    assert len(turns) == 50
    assert world.tasks.wait_for_descriptors([(writing, select.POLLIN)], timeout_ns=1000) == {}
    os.close(reading)
    os.close(writing)
