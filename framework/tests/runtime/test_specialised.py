"""C functions that are called often and get code of their own."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from types import ModuleType
from typing import Any

import pytest

from theseus_kit.errors import MachineError
from theseus_kit.runtime.guest_function import NotNowError, let_stand_in

U64, COUNTER = ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint32)


@pytest.fixture
def direct(bench: Any) -> Any:
    """A bench whose machine can be called without Python in between."""
    if bench.machine.direct_call(bench.library.load.address) is None:
        pytest.skip("this machine has no direct calls")
    bench.library.calls_before = 3
    return bench


def module_of(**functions: Any) -> ModuleType:
    module = ModuleType("bindings")
    vars(module).update(functions)
    package: Any = None  # which is not looked at
    let_stand_in(package, module)
    return module


def test_the_code_takes_the_functions_place_after_some_calls(direct: Any) -> None:
    function = direct.function("first_argument", U64, U64)
    module = module_of(_first=function)
    for number in range(3):
        assert module._first(number) == number
        assert module._first is function
    assert module._first(3) == 3
    assert module._first is not function
    assert module._first(4) == function(4) == 4


def test_another_signature_gives_the_place_back(direct: Any) -> None:
    function = direct.function("first_argument", U64, U64)
    module = module_of(_first=function)
    for number in range(5):
        module._first(number)
    function.restype = ctypes.c_uint8
    assert module._first is function
    for _ in range(5):
        assert module._first(0x1234) == 0x34
    assert module._first is not function


def test_a_closed_library_gives_the_place_back(direct: Any) -> None:
    module = module_of(
        _read=direct.function("first_argument", U64, U64),
        _delete=direct.function("increment", None, COUNTER),
    )
    counter = ctypes.c_uint32(0)
    for _ in range(5):
        module._read(0)
        module._delete(counter)
    direct.library.close()
    module._delete(counter)
    assert counter.value == 5
    with pytest.raises(MachineError, match="is closed"):
        module._read(0)


def test_functions_of_one_shape_share_their_code(direct: Any) -> None:
    modules = [
        module_of(call=direct.function(name, U64, COUNTER)) for name in ("load", "first_byte")
    ]
    other = module_of(call=direct.function("store", None, COUNTER, U64))
    cell = (ctypes.c_uint32 * 2)()
    for _ in range(5):
        for module in modules:
            module.call(cell)
        other.call(cell, 1)
    first, second = (module.call for module in modules)
    assert first is not second
    assert first.__code__ is second.__code__ is not other.call.__code__


@pytest.mark.parametrize(
    "argument",
    [
        pytest.param(lambda cell: cell, id="the value itself"),
        pytest.param(ctypes.byref, id="byref"),
        pytest.param(ctypes.pointer, id="a pointer"),
        pytest.param(lambda cell: (ctypes.c_uint32 * 1).from_buffer(cell), id="an array"),
        pytest.param(lambda cell: Wrapped(ctypes.byref(cell)), id="_as_parameter_"),
    ],
)
def test_what_a_pointer_argument_may_be_reaches_the_same_memory(bench: Any, argument: Any) -> None:
    increment = bench.function("increment", None, COUNTER)
    cell = ctypes.c_uint32(41)
    increment(argument(cell))
    assert cell.value == 42


class Wrapped:
    """What ctypes takes for its ``_as_parameter_``."""

    def __init__(self, value: Any) -> None:
        self._as_parameter_ = value


def test_a_null_pointer_result_is_a_pointer_object_of_its_own(bench: Any) -> None:
    function = bench.function("first_argument", COUNTER, U64)
    first, second = function(0), function(0)
    assert not first
    assert not second
    first.contents = ctypes.c_uint32(1)
    assert not second


def test_an_array_of_another_type_is_no_such_pointer(bench: Any) -> None:
    increment = bench.function("increment", None, COUNTER)
    with pytest.raises(ctypes.ArgumentError, match="argument 1"):
        increment((ctypes.c_uint8 * 4)())
    with pytest.raises(ctypes.ArgumentError, match="argument 1"):
        increment(ctypes.byref(ctypes.c_uint8()))


def test_each_of_many_finalisers_that_had_to_wait_runs_once(bench: Any) -> None:
    increment = bench.function("increment", None, COUNTER)
    read = bench.function("first_argument", U64, U64)
    counter = ctypes.c_uint32(0)

    def inside(_: int) -> int:
        for _ in range(2000):  # more than calls could nest
            increment(counter)
        return 0

    bench.machine.call(bench.machine.export(inside, 1, reenters=False), [0])
    assert counter.value == 0
    read(0)
    assert counter.value == 2000


def test_an_error_kept_for_an_outer_call_is_not_an_inner_ones(bench: Any) -> None:
    kind = bench.types.function_type(U64, U64)
    call = bench.function("call_with", U64, kind, U64)
    inner_results: list[int] = []

    def fail(_: int) -> int:
        raise KeyError("inner")

    def catch(_: int) -> int:
        with pytest.raises(KeyError):
            call(failing, 0)
        inner_results.append(call(echo, 7))
        return 1

    echo, failing, catching = kind(lambda number: number), kind(fail), kind(catch)
    assert call(catching, 0) == 1
    assert inner_results == [7]
    assert bench.library.errors == []


def test_calls_are_counted_while_python_serves_them(bench: Any) -> None:
    kind = bench.types.function_type(U64, U64)
    call = bench.function("call_with", U64, kind, U64)
    seen = []

    def descend(depth: int) -> int:
        seen.append(bench.library.nesting)
        if depth:
            call(callback, depth - 1)
        elif not depth:
            raise KeyError("the innermost")
        return 0

    callback = kind(descend)
    with pytest.raises(KeyError):
        call(callback, 3)
    assert seen == [1, 2, 3, 4]
    assert bench.library.nesting == 0


def test_a_finaliser_where_calls_can_nest_no_deeper_waits(bench: Any) -> None:
    kind = bench.types.function_type(U64, U64)
    call = bench.function("call_with", U64, kind, U64)
    delete = bench.function("counter_delete", None, COUNTER)
    counter = ctypes.c_uint32(0)
    made = []

    def descend(depth: int) -> int:
        made.append(depth)
        delete(counter)
        call(callback, depth + 1)
        return 0

    callback = kind(descend)
    with pytest.raises(RecursionError):
        call(callback, 0)
    assert counter.value < len(made)
    delete(counter)
    delete(counter)  # what has waited runs before another call does
    assert counter.value == len(made) + 2


def test_threads_that_take_turns_call_as_they_like(bench: Any) -> None:
    function = bench.function("first_argument", U64, U64)
    found: list[int] = []

    def calls() -> None:
        found.extend(function(number) for number in range(100))

    for _ in range(3):
        thread = threading.Thread(target=calls)
        thread.start()
        thread.join()
        calls()
    assert found == [*range(100)] * 6
    assert bench.library.nesting == 0


def test_threads_that_call_at_once_are_served_or_refused(bench: Any) -> None:
    kind = bench.types.function_type(U64, U64)
    call = bench.function("call_with", U64, kind, U64)
    first = bench.function("first_argument", U64, U64)
    eighth = bench.function("eighth_argument", U64, *[U64] * 8)
    increment = bench.function("increment", None, COUNTER)
    counter = ctypes.c_uint32(0)
    wrong: list[Any] = []

    def serve(number: int) -> int:
        inner: int = call(callback, number + 1) if number % 2 else first(number)
        return inner

    callback = kind(serve)

    def calls(start: int) -> None:
        for number in range(start, start + 200):
            try:
                found = (first(number), eighth(*range(number, number + 8)), call(callback, number))
                if found != (number, number + 7, number + number % 2):
                    wrong.append(found)
            except NotNowError:
                time.sleep(0)
            except Exception as error:  # noqa: BLE001  # whatever it is, the test tells
                wrong.append(error)
            increment(counter)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=calls, args=(1000 * index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    first(0)
    assert wrong == []
    assert counter.value == 800
    assert (bench.library.nesting, bench.library.errors) == (0, [])
