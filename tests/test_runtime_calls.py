"""Calls between Python and wasm, ordinary and prepared, on whole platforms."""

from __future__ import annotations

import gc
import math
import struct
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit import MachineError, ModuleError, Platform, assemble

WASM = """
(module
  (import "host" "function" (func $host (param i32) (result i32)))
  (memory (export "memory") 1 4)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "nothing"))
  (func (export "reverse") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
    local.get 3 local.get 2 local.get 1 local.get 0)
  (func (export "ask") (param i32) (result i32) (call $host (local.get 0)))
  (func (export "trap") unreachable)
  (func (export "reference") (param externref) (result externref) (local.get 0)))
"""


class Instance:
    """The module above on a platform, with a host function that tests replace."""

    def __init__(self, platform: Platform, module: Any = None, prepared_host: bool = False) -> None:
        self.runtime = runtime = platform.boot()
        self.api = api = runtime.wasmtime
        self.function: Callable[[int], Any] = lambda number: number + 1
        self.store = api.Store(runtime.engine)
        kind = api.FuncType([api.ValType.i32()], [api.ValType.i32()])

        def host(number: int) -> Any:
            return self.function(number)

        make = runtime.prepare_host_function if prepared_host else api.Func
        module = module or runtime.compile_text(WASM)
        instance = api.Instance(self.store, module, [make(self.store, kind, host)])
        self.exports = instance.exports(self.store)

    def ordinary(self, name: str) -> Callable[..., Any]:
        function = self.exports[name]
        return lambda *arguments: function(self.store, *arguments)

    def prepared(self, name: str) -> Callable[..., Any]:
        return self.runtime.prepare(self.store, self.exports[name])


@pytest.fixture(scope="module")
def module(platform: Platform) -> Any:
    return platform.boot().compile_text(WASM)


@pytest.fixture(params=[False, True], ids=["ordinary host", "prepared host"])
def instance(platform: Platform, module: Any, request: pytest.FixtureRequest) -> Instance:
    return Instance(platform, module, prepared_host=request.param)


@pytest.fixture(params=["ordinary", "prepared"])
def call(instance: Instance, request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Ways to call an export, by name."""
    made: Callable[[str], Any] = getattr(instance, request.param)
    return made


def test_numbers_go_in_and_come_out(call: Callable[[str], Any]) -> None:
    assert call("add")(40, 2) == 42
    assert call("add")(0x7FFF_FFFF, 1) == -0x8000_0000
    assert call("nothing")() is None
    assert list(call("reverse")(1, -2, 0.5, -1e300)) == [-1e300, 0.5, -2, 1]


NUMBERS = st.tuples(
    st.integers(-(1 << 31), (1 << 32) - 1),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(width=32, allow_nan=False),
    st.floats(allow_nan=False),
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=NUMBERS)
def test_a_prepared_call_gives_what_the_ordinary_one_gives(
    instance: Instance, numbers: tuple[int, int, float, float]
) -> None:
    prepared = instance.prepared("reverse")(*numbers)
    assert list(prepared) == instance.ordinary("reverse")(*numbers)


def test_a_nan_stays_a_nan(instance: Instance) -> None:
    assert all(math.isnan(n) for n in instance.prepared("reverse")(0, 0, math.nan, math.nan)[:2])


@pytest.mark.parametrize("arguments", [(1.0, 2), ("1", 2), (None, 2), (1,), (1, 2, 3)])
def test_a_wrong_argument_of_a_prepared_call_is_a_type_error(
    instance: Instance, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(TypeError):
        instance.prepared("add")(*arguments)
    with pytest.raises(TypeError):
        instance.prepared("reverse")(1, 2, "3", 4)


def test_a_function_with_references_cannot_be_prepared(instance: Instance) -> None:
    with pytest.raises(ModuleError, match=r"cannot pass \w+ref: call the Func itself"):
        instance.prepared("reference")
    thing = object()
    assert instance.ordinary("reference")(thing) is thing


def test_a_trap_is_wasmtimes_trap_every_time(
    instance: Instance, call: Callable[[str], Any]
) -> None:
    trap = call("trap")
    for _ in range(10):
        with pytest.raises(instance.api.Trap, match="unreachable") as caught:
            trap()
        assert caught.value.trap_code == instance.api.TrapCode.UNREACHABLE
        assert [frame.func_index for frame in caught.value.frames] == [5]
    assert call("add")(1, 2) == 3


class Unusual(BaseException):
    """An error that is no Exception, such as KeyboardInterrupt."""


@pytest.mark.parametrize("kind", [KeyError, Unusual, SystemExit, KeyboardInterrupt])
def test_a_host_functions_error_comes_out_as_itself(
    instance: Instance, call: Callable[[str], Any], kind: type[BaseException]
) -> None:
    cause = ValueError("the cause")
    error = kind("the error")

    def fail(_: int) -> int:
        raise error from cause

    instance.function = fail
    ask = call("ask")
    for _ in range(3):
        with pytest.raises(kind) as caught:
            ask(1)
        assert caught.value is error
        assert caught.value.__cause__ is cause
    instance.function = lambda number: number
    assert ask(5) == 5


@pytest.mark.parametrize("result", ["text", None, 1.5])
def test_a_host_functions_wrong_result_is_a_type_error(
    instance: Instance, call: Callable[[str], Any], result: Any
) -> None:
    instance.function = lambda number: result
    with pytest.raises(TypeError):
        call("ask")(1)


def test_host_functions_nest_with_a_trap_at_the_bottom(
    instance: Instance, call: Callable[[str], Any]
) -> None:
    ask, trap = call("ask"), call("trap")

    def descend(depth: int) -> int:
        if depth == 0:
            with pytest.raises(instance.api.Trap):
                trap()
            return 0
        result: int = ask(depth - 1)
        return result + 1

    instance.function = descend
    assert ask(50) == 50


def test_a_trap_at_the_bottom_passes_through_all_that_nest(
    instance: Instance, call: Callable[[str], Any]
) -> None:
    ask, trap = call("ask"), call("trap")
    instance.function = lambda depth: ask(depth - 1) if depth else trap()
    with pytest.raises(instance.api.Trap, match="unreachable"):
        ask(50)
    assert call("add")(1, 1) == 2


def test_memory_is_read_and_written_in_place(instance: Instance) -> None:
    memory, store = instance.exports["memory"], instance.store
    assert memory.write(store, b"platform", 100) == 8
    view = memory.get_buffer_ptr(store)
    assert bytes(view[100:108]) == b"platform"
    view[100] = ord("P")
    assert memory.read(store, 100, 108) == b"Platform"
    assert memory.grow(store, 3) == 1
    assert memory.data_len(store) == 4 * 65536
    assert memory.read(store, 100, 108) == b"Platform"
    with pytest.raises(instance.api.WasmtimeError, match="failed to grow memory"):
        memory.grow(store, 1)


def test_garbage_collected_inside_a_host_function_is_harmless(
    instance: Instance, call: Callable[[str], Any]
) -> None:
    api = instance.api

    def collect(number: int) -> int:
        cycle: list[Any] = [api.Store(instance.runtime.engine)]
        cycle.append(cycle)
        del cycle
        gc.collect()
        return number

    instance.function = collect
    ask = call("ask")
    assert [ask(number) for number in range(5)] == [0, 1, 2, 3, 4]


def test_a_prepared_call_into_a_closed_store_is_refused(platform: Platform) -> None:
    instance = Instance(platform)
    add = instance.prepared("add")
    instance.store.close()
    with pytest.raises(ValueError, match="already closed"):
        add(1, 2)


def test_a_closed_platform_refuses_calls_and_forgives_finalisers(machine: str) -> None:
    with assemble(machine=machine) as platform:
        instance = Instance(platform)
        add = instance.prepared("add")
        assert add(1, 2) == 3
    with pytest.raises(MachineError):
        add(1, 2)
    with pytest.raises(MachineError):
        instance.ordinary("add")(1, 2)
    del add, instance
    gc.collect()  # an error in a finaliser would fail the test


def test_a_prepared_call_where_the_guest_cannot_be_called_is_refused_and_harmless(
    platform: Platform,
) -> None:
    instance = Instance(platform)
    add, refused = instance.prepared("add"), []

    def call_back() -> int:
        try:
            return int(add(3, 4))
        except MachineError as error:
            refused.append(str(error))
            return 0

    leaf = platform.machine.export(call_back, 0, name="leaf")
    for _ in range(3):
        assert platform.machine.call(leaf) == 0
        assert add(1, 2) == 3
    assert len(refused) == 3
    assert "does not re-enter" in refused[0]
    assert platform.machine.call(platform.machine.export(call_back, 0, reenters=True)) == 7


def test_a_number_too_large_for_a_float_is_infinite_as_in_an_ordinary_call(
    call: Callable[[str], Any],
) -> None:
    assert list(call("reverse")(0, 0, 1e300, 0.0)) == [0.0, math.inf, 0, 0]


def test_prepared_host_functions_do_not_pile_up(platform: Platform) -> None:
    runtime = platform.boot()
    api = runtime.wasmtime
    kind = api.FuncType([], [])
    first = platform.machine.export(int, 0)
    for _ in range(20):
        store = api.Store(runtime.engine)
        for _ in range(20):
            runtime.prepare_host_function(store, kind, lambda: None)
        store.close()
    # Each export takes the next 16 bytes.
    assert platform.machine.export(int, 0) - first <= 16 * 21


def test_a_float_result_keeps_its_bits(instance: Instance) -> None:
    bits = 0x3F80_0001
    (number,) = struct.unpack("<f", struct.pack("<I", bits))
    result = instance.prepared("reverse")(0, 0, number, 0.0)[1]
    assert struct.unpack("<I", struct.pack("<f", result)) == (bits,)


def test_a_closed_platform_leaves_no_copy_of_the_package_behind(machine: str) -> None:
    with assemble(machine=machine) as platform:
        instance = Instance(platform)
        assert instance.ordinary("add")(1, 2) == 3
        left = [weakref.ref(platform.wasmtime), weakref.ref(platform.wasmtime.Store)]
        left.append(weakref.ref(platform.machine))
    del instance, platform
    gc.collect()
    assert [reference() for reference in left] == [None, None, None]


def test_garbage_collected_while_guest_code_pauses_is_harmless(platform: Platform) -> None:
    runtime = platform.boot()
    api = runtime.wasmtime
    store = api.Store(runtime.engine)
    module = runtime.compile_text(
        """(module (func $fib (export "fib") (param i32) (result i32)
             (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
               (then (local.get 0))
               (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                              (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"""
    )
    fib = runtime.prepare(store, api.Instance(store, module, []).exports(store)["fib"])
    thresholds = gc.get_threshold()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            cycle: list[Any] = [api.Store(runtime.engine)]
            cycle.append(cycle)
        del cycle
        gc.set_threshold(1)  # at the next thing that is allocated, wherever that is
        gc.enable()
        assert [fib(29) for _ in range(4)] == [514229] * 4
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()


def test_calls_that_nest_too_deep_end_in_a_recursion_error_and_no_harm(machine: str) -> None:
    with assemble(machine=machine) as platform:
        instance = Instance(platform)
        for name in ("ordinary", "prepared"):
            ask, trap = getattr(instance, name)("ask"), getattr(instance, name)("trap")
            instance.function = lambda depth, ask=ask, trap=trap: (
                ask(depth - 1) if depth else trap()
            )
            for depth in range(40, 240, 10):
                with pytest.raises((RecursionError, instance.api.Trap)):
                    ask(depth)
            with pytest.raises(instance.api.Trap, match="unreachable"):
                ask(5)
