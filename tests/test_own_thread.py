"""Platforms with a thread of their own: the wasmtime API called from any thread."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import FrameType
from typing import Any

import pytest

from theseus_kit import Platform, assemble
from theseus_kit.errors import GuestInterrupted
from theseus_kit.runtime.own_thread import NAME

HELLO = r"""
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""

ASK = """
(module
  (import "host" "ask" (func $ask (param i32) (result i32)))
  (func (export "ask") (param i32) (result i32) local.get 0 call $ask)
  (func (export "double") (param i32) (result i32) local.get 0 i32.const 2 i32.mul)
  (func (export "sum") (param i32) (result i32) (local i32)
    (loop $again
      (local.set 1 (i32.add (local.get 1) (local.get 0)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    local.get 1)
  (func (export "ask_and_spin")
    (drop (call $ask (i32.const 0)))
    (loop $again (br $again))))
"""

WHO: ContextVar[str] = ContextVar("WHO")


@pytest.fixture(scope="module")
def shared(machine: str) -> Iterator[Platform]:
    with assemble(machine=machine, own_thread=True) as platform:
        platform.boot()
        yield platform


@pytest.fixture
def own(machine: str) -> Iterator[Platform]:
    """A platform that nobody else uses."""
    with assemble(machine=machine, own_thread=True) as platform:
        yield platform


class Instance:
    """An instance of ASK in a store of its own; ``answer`` is its host function."""

    def __init__(self, platform: Platform) -> None:
        wasmtime: Any = platform.wasmtime
        self.answer: Callable[[int], int] = lambda number: number + 1
        self.store = wasmtime.Store()
        i32 = wasmtime.ValType.i32()
        host = wasmtime.Func(
            self.store, wasmtime.FuncType([i32], [i32]), lambda number: self.answer(number)
        )
        module = wasmtime.Module(self.store.engine, ASK)
        self.exports = wasmtime.Instance(self.store, module, [host]).exports(self.store)

    def call(self, name: str, *arguments: int) -> Any:
        return self.exports[name](self.store, *arguments)


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """Run functions on threads, all at the same time; return what they returned, or raised."""
    results: list[Any] = [None] * len(functions)
    begin = threading.Barrier(len(functions))

    def run(index: int) -> None:
        begin.wait()
        try:
            results[index] = functions[index]()
        except BaseException as error:  # noqa: BLE001  # for the test to look at
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Struck(Exception):
    """Raised by the tests' signal handler."""


@pytest.fixture
def strikes() -> Iterator[None]:
    """SIGUSR1 raises Struck in the main thread."""

    def strike(number: int, frame: FrameType | None) -> None:
        raise Struck

    before = signal.signal(signal.SIGUSR1, strike)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_programs_run_in_threads_one_after_the_other(shared: Platform) -> None:
    wasmtime: Any = shared.wasmtime
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    module = wasmtime.Module(engine, HELLO)
    written: list[bytes] = []

    def run() -> None:
        store = wasmtime.Store(engine)
        wasi = wasmtime.WasiConfig()
        wasi.stdout_custom = written.append
        store.set_wasi(wasi)
        linker.instantiate(store, module).exports(store)["_start"](store)

    for _ in range(3):
        assert at_once(run) == [None]
    run()
    assert written == [b"hello\n"] * 4


def test_threads_with_a_store_each_are_served_in_turn(shared: Platform) -> None:
    def work() -> list[int]:
        instance = Instance(shared)
        return [instance.call(name, 100) for name in ("sum", "double", "ask") * 5]

    assert at_once(*[work] * 4) == [[5050, 200, 101] * 5] * 4


def test_host_functions_run_on_the_platforms_thread_and_may_call_back(shared: Platform) -> None:
    instance = Instance(shared)
    seen: list[str] = []

    def answer(number: int) -> int:
        seen.append(threading.current_thread().name)
        return int(instance.call("double", number)) + 1

    instance.answer = answer
    assert instance.call("ask", 20) == 41
    assert at_once(lambda: instance.call("ask", 30)) == [61]
    assert seen == [NAME] * 2


def test_a_host_function_sees_its_callers_context_and_cannot_change_it(shared: Platform) -> None:
    instance = Instance(shared)

    def answer(number: int) -> int:
        length = len(WHO.get())
        WHO.set("host")
        return length

    def call(who: str) -> tuple[int, str]:
        WHO.set(who)
        return instance.call("ask", 0), WHO.get()

    instance.answer = answer
    assert at_once(lambda: call("me"), lambda: call("another")) == [(2, "me"), (7, "another")]


def test_a_host_functions_error_comes_out_of_the_call_it_was_raised_in(shared: Platform) -> None:
    errors = [ValueError(str(number)) for number in range(4)]

    def fail(mine: ValueError) -> list[BaseException]:
        instance = Instance(shared)

        def answer(number: int) -> int:
            try:
                raise KeyError(str(mine))
            except KeyError as cause:
                raise mine from cause

        instance.answer = answer
        caught: list[BaseException] = []
        for _ in range(5):
            with pytest.raises(ValueError, match=str(mine)) as info:
                instance.call("ask", 0)
            caught.append(info.value)
        names = [entry.name for entry in info.traceback]
        assert (names[0], names[-1]) == ("fail", "answer")
        assert isinstance(mine.__context__, KeyError)
        return caught

    results = at_once(*[lambda mine=error: fail(mine) for error in errors])
    assert results == [[error] * 5 for error in errors]


def test_the_error_of_a_start_function_reaches_the_thread_that_instantiates(
    shared: Platform,
) -> None:
    wasmtime: Any = shared.wasmtime
    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, '(module (import "" "f" (func $f)) (start $f))')

    def instantiate(mine: ValueError) -> list[BaseException]:
        def start() -> None:
            try:
                raise KeyError(str(mine))
            except KeyError:
                raise mine  # noqa: B904  # its context is looked at

        caught: list[BaseException] = []
        for _ in range(5):
            store = wasmtime.Store(engine)
            host = wasmtime.Func(store, wasmtime.FuncType([], []), start)
            with pytest.raises(ValueError, match=str(mine)) as info:
                wasmtime.Instance(store, module, [host])
            assert isinstance(mine.__context__, KeyError)
            caught.append(info.value)
        return caught

    errors = [ValueError(str(number)) for number in range(3)]
    results = at_once(*[lambda mine=error: instantiate(mine) for error in errors])
    assert results == [[error] * 5 for error in errors]


def test_a_trap_comes_out_as_itself_and_the_platform_goes_on(shared: Platform) -> None:
    wasmtime: Any = shared.wasmtime
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, '(module (func (export "f") unreachable))')
    function = wasmtime.Instance(store, module, []).exports(store)["f"]
    with pytest.raises(wasmtime.Trap, match="unreachable"):
        function(store)
    (error,) = at_once(lambda: function(store))
    assert isinstance(error, wasmtime.Trap)
    assert Instance(shared).call("double", 4) == 8


def test_prepared_calls_go_there_too(shared: Platform) -> None:
    instance = Instance(shared)
    prepared = shared.prepare(instance.store, instance.exports["ask"])
    seen: list[str] = []

    def answer(number: int) -> int:
        seen.append(threading.current_thread().name)
        return number

    instance.answer = answer
    assert at_once(lambda: prepared(1), lambda: prepared(2)) == [1, 2]
    assert seen == [NAME] * 2


def test_what_a_signal_handler_raises_ends_the_call_that_is_waited_for(
    own: Platform, strikes: None
) -> None:
    instance = Instance(own)
    entered = threading.Event()

    def answer(number: int) -> int:
        entered.set()
        return number

    def strike() -> None:
        entered.wait()
        os.kill(os.getpid(), signal.SIGUSR1)

    instance.answer = answer
    thread = threading.Thread(target=strike)
    thread.start()
    with pytest.raises(Struck):
        instance.call("ask_and_spin")
    thread.join()
    assert own.tasks.is_broken
    assert len(own.wasmtime.wat2wasm("(module)")) == 8


def test_a_signal_ends_the_callers_own_waiting_and_no_other_threads_call(
    own: Platform, strikes: None
) -> None:
    spinning, waiting = Instance(own), Instance(own)
    entered = threading.Event()
    asked: list[int] = []

    def answer(number: int) -> int:
        entered.set()
        return number

    def ask(number: int) -> int:
        asked.append(number)
        return number

    spinning.answer, waiting.answer = answer, ask
    errors: list[BaseException] = []

    def spin() -> None:
        try:
            spinning.call("ask_and_spin")
        except GuestInterrupted as error:
            errors.append(error)

    def strike() -> None:
        assert own.own_thread is not None
        while not own.own_thread._requests:  # until the main thread waits for its turn
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGUSR1)

    spinner = threading.Thread(target=spin)
    spinner.start()
    entered.wait()
    striker = threading.Thread(target=strike)
    striker.start()
    with pytest.raises(Struck):
        waiting.call("ask", 1)
    striker.join()
    assert spinner.is_alive()
    assert errors == []
    while spinner.is_alive():
        own.interrupt()
        spinner.join(0.05)
    assert len(errors) == 1
    assert asked == []


def test_finalisers_of_other_threads_wait_for_nobody_and_run_at_the_next_call(
    own: Platform,
) -> None:
    instance = Instance(own)
    deferred = own.boot()._library.deferred
    stores = [own.wasmtime.Store() for _ in range(3)]

    def waiting() -> int:
        return [function.__name__ for function, _ in deferred].count("wasmtime_store_delete")

    def dropping(number: int) -> int:
        # The platform's thread is busy with this very call.
        thread = threading.Thread(target=lambda: (stores.clear(), gc.collect()))
        thread.start()
        thread.join()
        return waiting()

    instance.answer = dropping
    assert instance.call("ask", 0) == 3
    instance.call("double", 1)
    assert waiting() == 0
