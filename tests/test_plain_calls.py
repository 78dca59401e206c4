"""The package's own hot methods, once they are prepared, beside those of the ordinary package."""

from __future__ import annotations

import math
import struct
import threading
import weakref
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import pytest
import wasmtime as ordinary
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from theseus_kit import Platform
from theseus_kit.runtime.guest_function import NotNowError
from theseus_kit.runtime.plain_calls import CALLS_BEFORE

WASM = """
(module
  (import "" "host" (func $host (param i32) (result i32)))
  (memory (export "memory") 1 3)
  (func (export "i32") (param i32) (result i32) local.get 0)
  (func (export "i64") (param i64) (result i64) local.get 0)
  (func (export "f32") (param f32) (result f32) local.get 0)
  (func (export "f64") (param f64) (result f64) local.get 0)
  (func (export "externref") (param externref) (result externref) local.get 0)
  (func (export "reverse") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
    local.get 3 local.get 2 local.get 1 local.get 0)
  (func (export "nothing"))
  (func (export "divide") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
  (func (export "ask") (param i32) (result i32) local.get 0 call $host))
"""
TYPES = ("i32", "i64", "f32", "f64", "externref")


class Small(IntEnum):
    ONE = 1


class Instance:
    """The module above, every function called until it would be prepared."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.store = api.Store()
        self.answer: Any = lambda number: number
        kind = api.FuncType([api.ValType.i32()], [api.ValType.i32()])
        host = api.Func(self.store, kind, lambda number: self.answer(number))
        module = api.Module(self.store.engine, WASM)
        self.exports = api.Instance(self.store, module, [host]).exports(self.store)
        arguments = {"reverse": (1, 2, 3.0, 4.0), "nothing": (), "divide": (1, 1), "ask": (1,)}
        arguments |= {"i32": (1,), "i64": (1,), "f32": (1.0,), "f64": (1.0,), "externref": (None,)}
        for name, values in arguments.items():
            for _ in range(CALLS_BEFORE + 2):
                self.call(name, *values)

    def call(self, name: str, *arguments: Any) -> Any:
        return self.exports[name](self.store, *arguments)

    def outcome(self, name: str, *arguments: Any) -> tuple[str, Any]:
        """What a call gives: its result's type and bits, or its error's type and text."""
        try:
            result = self.call(name, *arguments)
        except (
            ArithmeticError,
            TypeError,
            ValueError,
            self.api.Trap,
            self.api.WasmtimeError,
        ) as error:
            return type(error).__name__, str(error)
        return type(result).__name__, _bits(result)


def _bits(value: Any) -> Any:
    if isinstance(value, list):
        return [_bits(item) for item in value]
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return value


@pytest.fixture(scope="module")
def instance(platform: Platform) -> Instance:
    return Instance(platform.wasmtime)


@pytest.fixture(scope="module")
def expected() -> Instance:
    return Instance(ordinary)


ANYTHING = st.one_of(
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.booleans(),
    st.sampled_from([None, "1", b"1", Small.ONE, 1j, -0.0, 1e39, -1e39, 1e-46]),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(TYPES), arguments=st.lists(ANYTHING, min_size=1, max_size=1))
@example(name="f32", arguments=[1e300])
@example(name="i32", arguments=[True])
@example(name="i32", arguments=[])
@example(name="i64", arguments=[1, 2])
def test_one_number_of_any_kind(
    instance: Instance, expected: Instance, name: str, arguments: list[Any]
) -> None:
    assert instance.outcome(name, *arguments) == expected.outcome(name, *arguments)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(arguments=st.tuples(ANYTHING, ANYTHING, ANYTHING, ANYTHING))
@example(arguments=(1, 2, 3.0, 4.0))
def test_four_numbers_of_any_kind(
    instance: Instance, expected: Instance, arguments: tuple[Any, ...]
) -> None:
    assert instance.outcome("reverse", *arguments) == expected.outcome("reverse", *arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("nothing", ()),
        ("nothing", (1,)),
        ("divide", (7, 2)),
        ("divide", (1, 0)),
        ("divide", (-(1 << 31), -1)),
        ("divide", (1,)),
    ],
)
def test_results_and_traps(
    instance: Instance, expected: Instance, name: str, arguments: tuple[Any, ...]
) -> None:
    assert instance.outcome(name, *arguments) == expected.outcome(name, *arguments)


def test_values_of_the_api_are_taken_as_ever(instance: Instance) -> None:
    value = instance.api.Val
    assert instance.call("i64", value.i64(5)) == 5
    with pytest.raises(TypeError, match="wrong type of `Val`"):
        instance.call("i64", value.i32(5))


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt])
def test_a_host_functions_error_comes_through(
    instance: Instance, kind: type[BaseException]
) -> None:
    error = kind("mine")

    def fail(number: int) -> int:
        raise error

    instance.answer = fail
    try:
        with pytest.raises(kind) as caught:
            instance.call("ask", 1)
    finally:
        instance.answer = lambda number: number
    assert caught.value is error
    assert caught.value.__context__ is None
    assert instance.call("ask", 3) == 3


def test_a_function_calls_itself_through_the_host(instance: Instance) -> None:
    instance.answer = lambda number: number and 1 + instance.call("ask", number - 1)
    try:
        assert instance.call("ask", 20) == 20
    finally:
        instance.answer = lambda number: number


def test_a_caller_may_stand_for_its_store(platform: Platform) -> None:
    api: Any = platform.wasmtime
    store = api.Store()
    kept: list[Any] = []

    def host(caller: Any) -> None:
        add = caller["add"]
        kept.extend(add(caller, number, 1) for number in range(CALLS_BEFORE + 3))
        kept.append(caller)
        kept.append(add)

    function = api.Func(store, api.FuncType([], []), host, access_caller=True)
    module = api.Module(
        store.engine,
        """(module (import "" "host" (func $host))
             (func (export "call") call $host)
             (func (export "add") (param i32 i32) (result i32)
               local.get 0 local.get 1 i32.add))""",
    )
    api.Instance(store, module, [function]).exports(store)["call"](store)
    caller, add = kept[-2:]
    assert kept[:-2] == list(range(1, CALLS_BEFORE + 4))
    with pytest.raises(ValueError, match="no longer valid"):
        add(caller, 1, 1)


def test_a_function_of_a_closed_store_is_refused_as_ever(platform: Platform) -> None:
    instance = Instance(platform.wasmtime)
    instance.store.close()
    for name, arguments in (("i32", (1,)), ("nothing", ())):
        with pytest.raises(ValueError, match="already closed"):
            instance.call(name, *arguments)
    with pytest.raises(ValueError, match="already closed"):
        instance.exports["memory"].data_len(instance.store)


def test_neither_a_function_nor_a_memory_keeps_its_store_alive(platform: Platform) -> None:
    api: Any = platform.wasmtime
    store = api.Store()
    module = api.Module(
        store.engine, '(module (memory (export "memory") 1) (func (export "nothing")))'
    )
    exports = api.Instance(store, module, []).exports(store)
    for _ in range(CALLS_BEFORE + 2):
        exports["nothing"](store)
        exports["memory"].read(store, 0, 8)
    alive = weakref.ref(store)
    del store
    assert alive() is None
    assert len(list(exports)) == 2


def test_neither_calls_nor_memory_serve_another_thread_meanwhile(instance: Instance) -> None:
    memory = instance.exports["memory"]
    for _ in range(CALLS_BEFORE + 2):
        assert memory.read(instance.store, 0, 4) == bytes(4)
    refused: list[str] = []

    def elsewhere() -> None:
        attempts: tuple[Callable[[], Any], ...] = (
            lambda: instance.call("i32", 1),
            lambda: memory.data_len(instance.store),
            lambda: memory.data_ptr(instance.store),
            lambda: memory.size(instance.store),
        )
        for attempt in attempts:
            try:
                attempt()
            except NotNowError:
                refused.append(threading.current_thread().name)

    def answer(number: int) -> int:
        thread = threading.Thread(target=elsewhere, name="elsewhere")
        thread.start()
        thread.join()
        return number

    instance.answer = answer
    assert instance.call("ask", 5) == 5
    assert refused == ["elsewhere"] * 4
    instance.answer = lambda number: number


def test_memory_is_followed_where_it_grows(platform: Platform) -> None:
    def observe(subject: Instance) -> list[Any]:
        memory, store = subject.exports["memory"], subject.store
        for _ in range(CALLS_BEFORE + 2):
            memory.read(store, 0, 1)
        seen = [memory.data_len(store), memory.write(store, b"before", 65530)]
        memory.grow(store, 1)
        seen += [memory.data_len(store), memory.read(store, 65530, 65540)]
        memory.write(store, b"after", -5)
        seen += [memory.read(store, -5), type(memory.data_ptr(store)).__name__]
        return seen

    # Instances of their own: memory that has grown stays so.
    assert observe(Instance(platform.wasmtime)) == observe(Instance(ordinary))
