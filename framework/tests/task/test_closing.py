"""Platforms that close while tasks are ready, wait, or have not begun."""

import gc
import threading
import weakref

import pytest

from theseus_kit import MachineError, PlatformError, TaskExit, WaitQueue, assemble
from theseus_kit.errors import AssemblyError


def test_closing_ends_each_task_where_it_stands(world):
    queue, ends = WaitQueue("nothing"), []

    def waiting():
        try:
            world.tasks.wait(queue)
        except TaskExit:
            ends.append(world.tasks.current.name)
            raise

    for name in ("first", "second"):
        world.tasks.start(world.through_guest(waiting), name)
    world.tasks.yield_()
    world.tasks.start(lambda: ends.append("never"), "not begun")

    world.platform.close()

    assert ends == ["first", "second"]
    assert len(world.tasks) == 1


def test_a_task_that_would_wait_again_while_it_ends_cannot(world):
    ends = []

    def stubborn():
        for _ in range(3):
            try:
                world.tasks.sleep(10**12)
            except TaskExit:
                ends.append("again")
        return 7

    task = world.tasks.start(stubborn)
    world.tasks.yield_()

    world.platform.close()

    assert ends == ["again"] * 3
    assert task.is_ended


def test_tasks_that_closing_ends_run_no_destructors(world):
    runs = []
    destructor = world.platform.machine.export(runs.append, 1, reenters=True)

    def waiting():
        hooks, task = world.platform.hooks, world.tasks.current
        hooks.tls_add_destructor(task=task, function=destructor, argument=1)
        world.tasks.sleep(10**12)

    world.tasks.start(waiting)
    world.tasks.yield_()
    world.platform.close()

    assert runs == []


def test_a_thousand_tasks_leave_nothing_behind(machine):
    with assemble(machine=machine) as platform:
        from theseus_kit.values.linkage import CFunction

        tasks, hooks = platform.tasks, platform.hooks
        queue = WaitQueue("nothing")
        body = platform.export(
            CFunction("long body(void)", lambda: int(tasks.wait(queue)), blocks=True)
        )
        # push rbx; call rdi; pop rbx; ret
        code = platform.machine.place_code(bytes.fromhex("53 ffd7 5b c3"))
        territory = platform.machine.memory.territory

        def regions():
            found = hooks.memory_query_range(address=territory.start, size=territory.size)
            return [region for region in found if "worker" in (region.label or "")]

        started = [
            weakref.ref(
                tasks.start(lambda: platform.machine.call(code, (body,)), "worker", 1 << 16)
            )
            for _ in range(1000)
        ]
        while len(queue) < 1000:
            tasks.yield_()
        assert len(regions()) >= 1000

        platform.tasks.close()

        assert len(queue) == 0
        assert regions() == []
        gc.collect()
        assert [task for task in started if task() is not None] == []


def test_a_thousand_tasks_that_end_leave_nothing_behind(world):
    started = []
    for _ in range(1000):
        task = world.tasks.start(lambda: 1, "worker", 1 << 16)
        started.append(weakref.ref(task))
        world.tasks.join(task)
        del task
    gc.collect()

    assert [task for task in started if task() is not None] == []
    assert len(world.tasks) == 1


def test_another_host_thread_cannot_close_a_platform_under_its_tasks(world):
    queue, errors = WaitQueue("nothing"), []
    world.tasks.start(world.through_guest(lambda: world.tasks.wait(queue)), "worker")
    world.tasks.yield_()

    def closing():
        try:
            world.platform.close()
        except MachineError as error:
            errors.append(str(error))

    thread = threading.Thread(target=closing)
    thread.start()
    thread.join()

    assert "close the platform there" in errors[0]
    assert world.tasks.join(world.tasks.start(lambda: 3)) == 3


def test_tasks_of_a_host_thread_that_has_ended_go_with_their_platform(world):
    queue = WaitQueue("nothing")

    def running():
        world.tasks.start(lambda: world.tasks.wait(queue), "worker")
        world.tasks.yield_()

    thread = threading.Thread(target=running)
    thread.start()
    thread.join()

    world.platform.close()

    assert len(world.tasks) == 1


def test_no_task_starts_on_a_closed_platform(world):
    world.platform.close()

    with pytest.raises(MachineError, match="closed"):
        world.tasks.start(lambda: 1)


def test_more_tasks_than_there_may_be_are_refused(machine):
    with assemble(machine=machine, options={"tasks": {"max_tasks": "3"}}) as platform:
        platform.tasks.start(lambda: 1)
        second = platform.tasks.start(lambda: 2)
        with pytest.raises(PlatformError, match="max_tasks") as refused:
            platform.tasks.start(lambda: 3)

        assert refused.value.errno == 11
        assert platform.tasks.join(second) == 2
        platform.tasks.start(lambda: 3)


def test_a_joinable_task_keeps_its_thread_local_storage_until_it_is_released(world):
    memory = world.memory
    task = world.tasks.start(lambda: 1, is_joinable=True)
    world.tasks.join(task)

    memory.read(task.thread.fs_base, 8)
    assert task in list(world.tasks)
    world.tasks.release(task)

    assert task not in list(world.tasks)
    with pytest.raises(PlatformError):
        memory.read(task.thread.fs_base, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantum_ms": -1}, "quantum_ms cannot be -1"),
        ({"max_tasks": 0}, "max_tasks cannot be 0"),
        ({"maximum": 1}, "no option 'maximum'"),
    ],
)
def test_wrong_options_of_tasks_are_refused_before_anything_runs(options, message):
    with pytest.raises(AssemblyError, match=message):
        assemble(options={"tasks": options})
