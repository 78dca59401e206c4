"""What ends one task, what ends them all, and who is told."""

import signal
import threading
from functools import partial

import pytest

from theseus_kit import (
    DeadlockError,
    GuestInterrupted,
    GuestKilled,
    MachineError,
    TaskExit,
    WaitQueue,
)
from theseus_kit.values.exceptions import Exited, KilledByException, KillRequested, Panicked


def test_a_task_may_end_itself_with_a_result(world):
    def ending():
        raise TaskExit(5)

    task = world.tasks.start(world.through_guest(ending))

    assert world.tasks.join(task) == 5


def test_a_kill_on_request_ends_that_task_alone(world):
    task = world.tasks.start(
        world.through_guest(lambda: world.platform.resume_unwind(KillRequested()))
    )

    assert world.tasks.join(task) is None
    assert task.killed.reason == KillRequested()
    assert world.tasks.join(world.tasks.start(lambda: 1)) == 1


@pytest.mark.parametrize("reason", [Panicked("enough"), Exited(3)])
def test_other_kills_reach_whoever_called_the_main_task(world, reason):
    def dying():
        raise GuestKilled(reason)

    task = world.tasks.start(world.through_guest(dying))

    with pytest.raises(GuestKilled) as killed:
        world.through_guest(lambda: world.tasks.join(task))()

    assert killed.value.reason == reason
    assert killed.value.backtrace[0].symbols[0].name == "body"


def test_an_exception_nobody_handles_ends_the_program(world):
    # mov dword ptr [8], 1; ret
    fault = world.code("c7042508000000 01000000 c3")
    task = world.tasks.start(fault)

    with pytest.raises(GuestKilled) as killed:
        world.tasks.join(task)

    assert killed.value.reason == KilledByException(14)
    assert killed.value.context.page_fault.accessed_address == 8
    assert killed.value.registers.rsp in task.stack


def test_an_error_of_python_in_a_task_reaches_whoever_called_the_main_task(world):
    def failing():
        raise ZeroDivisionError("in a task")

    task = world.tasks.start(failing)

    with pytest.raises(ZeroDivisionError, match="in a task") as raised:
        world.tasks.join(task)

    names = [entry.name for entry in raised.traceback]
    assert "failing" in names  # where it came from is told, not only where it arrived
    assert world.tasks.join(world.tasks.start(lambda: 2)) == 2


def test_the_main_task_gets_an_error_though_it_is_ready_or_asleep(world):
    def failing():
        raise ZeroDivisionError

    world.tasks.start(failing)
    with pytest.raises(ZeroDivisionError):
        world.tasks.yield_()
    world.tasks.start(failing)
    with pytest.raises(ZeroDivisionError):
        world.tasks.sleep(10**12)

    assert world.tasks.ready == 0
    world.tasks.sleep(1000)


def test_a_deadlock_names_every_task_what_it_waits_for_and_where(world):
    first, second = WaitQueue("mutex", 0x1000), WaitQueue("semaphore", 0x2000)
    world.tasks.start(world.through_guest(lambda: world.tasks.wait(first)), "worker")

    with pytest.raises(DeadlockError) as deadlock:
        world.through_guest(lambda: world.tasks.wait(second))()

    main, worker = deadlock.value.stuck
    assert str(main) == "task 1 'main' waits for semaphore at 0x2000"
    assert str(worker) == "task 2 'worker' waits for mutex at 0x1000"
    assert worker.backtrace[0].symbols[0].name == "body"
    assert len(worker.backtrace) >= 2
    assert isinstance(deadlock.value, GuestKilled)
    assert str(main) in str(deadlock.value)
    assert str(worker) in str(deadlock.value)


def test_a_task_that_waits_for_itself_is_a_deadlock_of_the_main_tasks_caller(world):
    tasks = []
    tasks.append(world.tasks.start(lambda: world.tasks.join(tasks[0])))

    with pytest.raises(DeadlockError, match="task 2 'task' waits for the end of task 2"):
        world.tasks.join(tasks[0])


def test_a_deadlock_of_hundreds_is_reported_in_a_few_lines(world):
    queue = WaitQueue("nothing")
    for _ in range(300):
        world.tasks.start(lambda: world.tasks.wait(queue))

    with pytest.raises(DeadlockError) as deadlock:
        world.tasks.wait(queue)

    assert len(deadlock.value.stuck) == 301
    assert "and 285 more" in str(deadlock.value)


def test_waiting_for_a_host_pipe_is_no_deadlock_and_can_be_interrupted(world):
    import os
    import select

    reading, writing = os.pipe()
    waits = threading.Event()

    def interrupting():
        waits.wait()
        while not world.platform.tasks.interrupt():
            pass  # until the wait has begun

    thread = threading.Thread(target=interrupting)
    thread.start()
    waits.set()
    with pytest.raises(GuestInterrupted):
        world.tasks.wait_for_descriptors([(reading, select.POLLIN)])
    thread.join()

    os.write(writing, b"x")
    assert world.tasks.wait_for_descriptors([(reading, select.POLLIN)]) == {reading: select.POLLIN}
    os.close(reading)
    os.close(writing)


def test_sleeping_tasks_are_interrupted_where_the_main_task_stands(world):
    queue = WaitQueue("something")
    sleeper = world.tasks.start(lambda: world.tasks.wait(queue, 60_000_000_000))

    def interrupting():
        while not world.platform.tasks.interrupt():
            pass  # until the wait has begun

    thread = threading.Thread(target=interrupting)
    thread.start()
    with pytest.raises(GuestInterrupted):
        world.tasks.join(sleeper)
    thread.join()

    queue.wake()
    assert world.tasks.join(sleeper) is True


def test_ctrl_c_while_all_tasks_wait_reaches_whoever_called_the_main_task(world):
    sleeper = world.tasks.start(lambda: world.tasks.sleep(60_000_000_000))
    python = threading.main_thread().ident

    def pressing():
        while not world.tasks._events or not world.tasks._events.is_waiting:
            pass
        signal.pthread_kill(python, signal.SIGINT)

    thread = threading.Thread(target=pressing)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        world.tasks.join(sleeper)
    thread.join()

    assert not sleeper.is_ended  # it goes on waiting


def test_guest_code_that_is_interrupted_in_a_task_ends_the_main_tasks_call(world):
    # jmp $
    endless = world.code("ebfe")
    task = world.tasks.start(endless)

    def interrupting():
        while not world.platform.tasks.interrupt():
            pass  # until the task runs

    thread = threading.Thread(target=interrupting)
    thread.start()
    with pytest.raises(GuestInterrupted):
        world.tasks.join(task)
    thread.join()


def test_a_task_goes_on_on_the_host_thread_where_it_began_alone(world):
    queue = WaitQueue("something")
    task = world.tasks.start(lambda: world.tasks.wait(queue), "worker")
    world.tasks.yield_()
    queue.wake()
    errors = []

    def joining():
        try:
            world.tasks.join(task)
        except MachineError as error:
            errors.append(str(error))

    thread = threading.Thread(target=joining)
    thread.start()
    thread.join()

    assert "began on the thread 'MainThread'" in errors[0]
    assert world.tasks.join(task) is True


def test_a_task_that_has_not_begun_may_run_on_any_host_thread(world):
    task = world.tasks.start(lambda: threading.current_thread().name)
    results = []

    thread = threading.Thread(target=lambda: results.append(world.tasks.join(task)), name="other")
    thread.start()
    thread.join()

    assert results == ["other"]


def test_what_a_task_held_goes_while_guest_code_can_be_called(world):
    """A finaliser may call guest code: there must be a stack for it, whenever Python runs it."""
    # push rbx; mov rax, [rsp]; pop rbx; ret
    touch = world.code("53 488b0424 5b c3")
    calls = []

    class Held:
        def __del__(self):
            touch()
            calls.append(world.tasks.current)

    def holding(held):
        return lambda: held

    task = world.tasks.start(holding(Held()))
    world.tasks.join(task)
    task.result = None
    task = world.tasks.start(partial(lambda held: None, Held()))
    world.tasks.join(task)

    assert len(calls) == 2
