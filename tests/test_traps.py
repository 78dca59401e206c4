"""Every way WebAssembly traps, through signals, the guest's handler, and out as a Python error."""

from __future__ import annotations

from typing import Any

import pytest

from theseus_kit import Platform

TRAPS = """
(module
  (type $void (func))
  (memory 1)
  (table 2 funcref)
  (func $wrong (param i32))
  (elem (i32.const 1) $wrong)
  (func (export "unreachable") unreachable)
  (func (export "divide by zero") (drop (i32.div_s (i32.const 1) (i32.const 0))))
  (func (export "remainder by zero") (drop (i64.rem_u (i64.const 1) (i64.const 0))))
  (func (export "division overflow")
    (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
  (func (export "float too large") (drop (i32.trunc_f64_s (f64.const 1e300))))
  (func (export "float not a number") (drop (i32.trunc_f32_u (f32.const nan))))
  (func (export "load out of bounds") (drop (i32.load (i32.const 65533))))
  (func (export "store out of bounds") (i64.store (i32.const 0xfffffff8) (i64.const 1)))
  (func (export "fill out of bounds")
    (memory.fill (i32.const 65530) (i32.const 0) (i32.const 10)))
  (func (export "call of null") (call_indirect (type $void) (i32.const 0)))
  (func (export "call of another type") (call_indirect (type $void) (i32.const 1)))
  (func (export "call outside the table") (call_indirect (type $void) (i32.const 2)))
  (func $deeper (export "stack exhausted") (call $deeper))
  (func (export "answer") (result i32) (i32.const 42)))
"""

EXPECTED = {
    "unreachable": "UNREACHABLE",
    "divide by zero": "INTEGER_DIVISION_BY_ZERO",
    "remainder by zero": "INTEGER_DIVISION_BY_ZERO",
    "division overflow": "INTEGER_OVERFLOW",
    "float too large": "INTEGER_OVERFLOW",
    "float not a number": "BAD_CONVERSION_TO_INTEGER",
    "load out of bounds": "MEMORY_OUT_OF_BOUNDS",
    "store out of bounds": "MEMORY_OUT_OF_BOUNDS",
    "fill out of bounds": "MEMORY_OUT_OF_BOUNDS",
    "call of null": "INDIRECT_CALL_TO_NULL",
    "call of another type": "BAD_SIGNATURE",
    "call outside the table": "TABLE_OUT_OF_BOUNDS",
    "stack exhausted": "STACK_OVERFLOW",
}


@pytest.fixture(scope="module")
def instance(platform: Platform) -> tuple[Any, Any]:
    api = platform.wasmtime
    store = api.Store(platform.boot().engine)
    module = platform.wasmtime.Module(platform.boot().engine, TRAPS)
    return store, api.Instance(store, module, []).exports(store)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_trap_is_caught_ten_times_in_a_row_and_the_instance_goes_on(
    platform: Platform, instance: tuple[Any, Any], name: str
) -> None:
    store, exports = instance
    for _ in range(10):
        with pytest.raises(platform.wasmtime.Trap) as raised:
            exports[name](store)
        assert raised.value.trap_code.name == EXPECTED[name]
        assert exports["answer"](store) == 42


def test_a_trap_names_the_wasm_frames_it_went_through(
    platform: Platform, instance: tuple[Any, Any]
) -> None:
    store, exports = instance
    with pytest.raises(platform.wasmtime.Trap) as raised:
        exports["divide by zero"](store)
    assert "wasm trap: integer divide by zero" in raised.value.message
    assert [frame.func_index for frame in raised.value.frames] == [2]


def test_a_trap_fifty_host_calls_deep_reaches_every_caller(platform: Platform) -> None:
    api = platform.wasmtime
    store = api.Store(platform.boot().engine)
    depths: list[int] = []

    def host(depth: int) -> None:
        depths.append(depth)
        exports["down"](store, depth - 1)

    module = platform.wasmtime.Module(
        platform.boot().engine,
        """(module
          (import "host" "call" (func $host (param i32)))
          (func (export "down") (param i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (call $host (local.get 0))))""",
    )
    function = api.Func(store, api.FuncType([api.ValType.i32()], []), host)
    exports = api.Instance(store, module, [function]).exports(store)
    for _ in range(3):
        depths.clear()
        with pytest.raises(api.Trap, match="unreachable"):
            exports["down"](store, 50)
        assert depths == list(range(50, 0, -1))


def test_a_python_error_in_a_host_function_surfaces_as_itself_and_the_platform_goes_on(
    platform: Platform,
) -> None:
    api = platform.wasmtime
    store = api.Store(platform.boot().engine)
    error = ZeroDivisionError("of the host's own")

    def host() -> None:
        raise error

    module = platform.wasmtime.Module(
        platform.boot().engine,
        '(module (import "host" "call" (func $host)) (func (export "run") (call $host)))',
    )
    exports = api.Instance(store, module, [api.Func(store, api.FuncType([], []), host)]).exports(
        store
    )
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as raised:
            exports["run"](store)
        assert raised.value is error
