"""Platforms used from more than one host thread, without a thread of their own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from theseus_kit import Platform, assemble
from theseus_kit.runtime.guest_function import NotNowError
from theseus_kit.runtime.plain_calls import CALLS_BEFORE

ANSWER = '(module (func (export "answer") (result i32) i32.const 42))'


@pytest.fixture
def own(machine: str) -> Iterator[Platform]:
    """A platform that nobody else has used."""
    with assemble(machine=machine) as platform:
        yield platform


def on_a_thread(function: Callable[[], Any], name: str) -> Any:
    """Run a function on a thread of that name, to the thread's end; return what it returned."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()), name=name)
    thread.start()
    thread.join()
    return results[0]


def refusals(attempts: list[Callable[[], Any]]) -> list[str]:
    messages = []
    for attempt in attempts:
        with pytest.raises(NotNowError) as caught:
            attempt()
        messages.append(str(caught.value).partition(": ")[2])
    return messages


def prepared_answer(platform: Platform) -> list[Callable[[], Any]]:
    """Compile a module, which starts tasks where the library has threads; call it until it is
    prepared. Returns calls of every kind: prepared, a C function's, a whole object's."""
    wasmtime = platform.wasmtime
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, ANSWER), [])
    answer = instance.exports(store)["answer"]
    for _ in range(CALLS_BEFORE + 2):
        assert answer(store) == 42
    platform.tasks.start(lambda: platform.tasks.sleep(10**15), "waits")
    platform.tasks.yield_()
    return [
        lambda: answer(store),
        lambda: wasmtime.Module(store.engine, ANSWER),
        wasmtime.Store,
        platform.prepare(store, answer),
    ]


def test_where_tasks_wait_another_thread_is_refused_before_anything_runs(own: Platform) -> None:
    attempts = prepared_answer(own)
    switches = own.tasks.switches
    messages = on_a_thread(lambda: refusals(attempts), "elsewhere")
    here = threading.current_thread().name
    assert set(messages) == {
        f"guest tasks of this platform live on the thread {here!r}: call from that one, "
        "or assemble a platform with a thread of its own "
        "(own_thread=True; theseus-kit python --own-thread)"
    }
    assert own.tasks.switches == switches
    assert attempts[0]() == 42  # here all is as it was


def test_where_the_thread_of_waiting_tasks_has_ended_every_other_is_refused(own: Platform) -> None:
    attempts = on_a_thread(lambda: prepared_answer(own), "first")
    expected = (
        "guest tasks of this platform lived on the thread 'first', which has ended: "
        "assemble a platform with a thread of its own "
        "(own_thread=True; theseus-kit python --own-thread)"
    )
    assert set(refusals(attempts)) == {expected}
    # The system gives a new thread the number, and often the stack, of one that has ended.
    for _ in range(3):
        assert set(on_a_thread(lambda: refusals(attempts), "later")) == {expected}


def test_a_platform_closes_though_the_thread_of_its_tasks_has_ended(own: Platform) -> None:
    attempts = on_a_thread(lambda: prepared_answer(own), "first")
    on_a_thread(own.close, "closing")
    assert own.machine.is_closed
    assert len(own.tasks) == 1
    del attempts


def test_where_no_task_waits_threads_may_take_turns(own: Platform) -> None:
    wasmtime = own.wasmtime
    configs = [on_a_thread(lambda: wasmtime.Engine(wasmtime.Config()), "one") for _ in range(3)]
    assert len({id(config) for config in configs}) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_of_another_thread_than_the_tasks_can_close_the_platform(own: Platform) -> None:
    attempts = prepared_answer(own)

    def forking() -> int:
        child = os.fork()
        if child == 0:
            status = 99
            try:
                refused = refusals(attempts)
                own.close()
                status = 0 if own.machine.is_closed and "has ended" in refused[0] else 1
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert on_a_thread(forking, "forking") == 0
    assert attempts[0]() == 42
