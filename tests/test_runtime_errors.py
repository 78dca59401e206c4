"""Errors of Wasmtime and of Python on their way through the guest, with what they came from."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
import wasmtime as ordinary
import wasmtime.component as ordinary_component

from theseus_kit import Platform

CALLS_OUT = """
(module
  (import "" "host" (func $host))
  (func (export "call") call $host))
"""
COMPONENT_CALLS_OUT = """
(component
  (import "host" (func $host (result u32)))
  (core func $lowered (canon lower (func $host)))
  (core module $inner
    (import "" "host" (func $host (result i32)))
    (func (export "call") (result i32) call $host))
  (core instance $instance
    (instantiate $inner (with "" (instance (export "host" (func $lowered))))))
  (func (export "call") (result u32) (canon lift (core func $instance "call"))))
"""


def chain(error: BaseException | None) -> list[str]:
    """The texts of an error's causes, nearest first."""
    texts = []
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
        texts.append(str(error))
    return texts


def mistakes(api: Any, store: Any) -> dict[str, Callable[[], Any]]:
    """Ways to make Wasmtime refuse something."""
    trapping = api.Module(
        store.engine,
        """(module (memory 1) (func (export "divide") (drop (i32.div_u (i32.const 1)
             (i32.const 0)))) (func (export "load") (drop (i32.load (i32.const -1)))))""",
    )
    exports = api.Instance(store, trapping, []).exports(store)
    result = api.FuncType([], [api.ValType.i32()])
    wrong = api.Func(store, result, lambda: 1)
    needy = api.Module(store.engine, CALLS_OUT)
    return {
        "an invalid function": lambda: api.Module(store.engine, "(module (func (result i32)))"),
        "text that is none": lambda: api.wat2wasm("(module"),
        "an import of another type": lambda: api.Instance(store, needy, [wrong]),
        "an artifact that is none": lambda: api.Module.deserialize(store.engine, b"nothing"),
        "a trap of one cause": lambda: exports["divide"](store),
        "a trap of two causes": lambda: exports["load"](store),
    }


NAMES = list(mistakes(ordinary, ordinary.Store()))


@pytest.mark.parametrize("name", NAMES)
def test_the_causes_in_an_errors_text_are_its_chain(platform: Platform, name: str) -> None:
    api: Any = platform.wasmtime
    with pytest.raises((api.WasmtimeError, api.Trap)) as caught:
        mistakes(api, api.Store())[name]()
    error = caught.value
    texts = chain(error)
    assert bool(texts) == ("Caused by:" in str(error))
    position = 0
    for text in texts:
        position = str(error).index(text.splitlines()[0], position)
    cause = error.__cause__
    while cause is not None:
        assert isinstance(cause, api.WasmtimeError)
        assert type(cause).__module__ == "wasmtime._error"
        cause = cause.__cause__


@pytest.mark.parametrize("name", NAMES)
def test_an_errors_own_text_is_the_ordinary_one(platform: Platform, name: str) -> None:
    texts = []
    for api in (ordinary, platform.wasmtime):
        store = api.Store()
        with pytest.raises((api.WasmtimeError, api.Trap)) as caught:
            mistakes(api, store)[name]()
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def call_of(api: Any, function: Callable[[], Any]) -> Callable[[], Any]:
    """A wasm function that calls a Python one."""
    store = api.Store()
    host = api.Func(store, api.FuncType([], []), function)
    instance = api.Instance(store, api.Module(store.engine, CALLS_OUT), [host])
    call = instance.exports(store)["call"]
    return lambda: call(store)


def component_call_of(api: Any, component: Any, function: Callable[[], Any]) -> Callable[[], Any]:
    """A component's function that calls a Python one."""
    store = api.Store()
    linker = component.Linker(store.engine)
    with linker.root() as root:
        root.add_func("host", lambda _store: function())
    made = component.Component(store.engine, COMPONENT_CALLS_OUT)
    function_ = linker.instantiate(store, made).get_func(store, "call")
    return lambda: function_(store)


def failing(kind: type[BaseException]) -> Callable[[], Any]:
    def fail() -> Any:
        try:
            raise LookupError("first")
        except LookupError as error:
            raise kind("second") from error

    return fail


KINDS = [ValueError, KeyboardInterrupt, SystemExit]


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_functions_error_keeps_its_cause_and_context(
    platform: Platform, kind: type[BaseException]
) -> None:
    call = call_of(platform.wasmtime, failing(kind))
    with pytest.raises(kind, match="second") as caught:
        call()
    assert isinstance(caught.value.__cause__, LookupError)
    assert caught.value.__context__ is caught.value.__cause__


def test_a_host_functions_error_keeps_what_it_was_raised_during(platform: Platform) -> None:
    def fail() -> None:
        try:
            raise LookupError("first")
        except LookupError:
            raise ValueError("second")  # noqa: B904  # without a cause on purpose

    call = call_of(platform.wasmtime, fail)

    def call_while_handling() -> None:
        try:
            raise KeyError("the caller's")
        except KeyError:
            call()

    with pytest.raises(ValueError, match="second") as caught:
        call_while_handling()
    assert caught.value.__cause__ is None
    assert str(caught.value.__context__) == "first"


@pytest.mark.parametrize("kind", KINDS)
def test_a_components_host_functions_error_comes_out_as_itself(
    platform: Platform, kind: type[BaseException]
) -> None:
    component = platform.boot().load_submodule("wasmtime.component")
    error = kind("mine")
    results: list[Any] = [error]

    def function() -> Any:
        (result,) = results
        if isinstance(result, BaseException):
            raise result
        return result

    call = component_call_of(platform.wasmtime, component, function)
    with pytest.raises(kind) as caught:
        call()
    assert caught.value is error
    # The platform goes on, and so does all the ordinary package can do.
    results[:] = [7]
    assert component_call_of(platform.wasmtime, component, function)() == 7
    assert component_call_of(ordinary, ordinary_component, function)() == 7


def test_a_finalisers_error_is_reported_and_its_object_is_gone_for_good(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = platform.boot()
    api: Any = runtime.wasmtime
    value = runtime.load_submodule("wasmtime._value")
    reported: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: reported.append(about.exc_value))

    def deallocate(index: int) -> None:
        raise ValueError("in a finaliser")

    store = api.Store(data=object())
    monkeypatch.setattr(value.SLAB, "deallocate", deallocate, raising=False)
    store.close()
    assert [str(error) for error in reported] == ["in a finaliser"]
    del store  # a store that was left half deleted would be deleted again
    gc.collect()
    assert api.wat2wasm("(module)") == b"\0asm\x01\0\0\0"
