"""The package's public names are all there, and its components and structures work, as ordinary."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import wasmtime
import wasmtime.component

from theseus_kit import Platform, assemble

MODULES = {"wasmtime": wasmtime, "wasmtime.component": wasmtime.component}

ECHO = """
(component
  (core module $inner
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3))))
    (func (export "one") (param i32) (result i32) local.get 0)
    (func (export "wide") (param i64) (result i64) local.get 0)
    (func (export "real") (param f64) (result f64) local.get 0)
    (func (export "pair") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      i32.const 16)
    (func (export "mixed") (param i32 f64) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (f64.store (i32.const 24) (local.get 1))
      i32.const 16))
  (core instance $i (instantiate $inner))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (type $record' (record (field "count" u32) (field "share" float64)))
  (export $record "record" (type $record'))
  (type $color' (enum "red" "green" "blue"))
  (export $color "color" (type $color'))
  (type $flags' (flags "a" "b" "c"))
  (export $flags "set" (type $flags'))
  (type $variant' (variant (case "number" u32) (case "nothing")))
  (export $variant "variant" (type $variant'))
  {functions}
)
"""
FUNCTIONS = {
    "bool": ("one", "bool", [True, False]),
    "char": ("one", "char", ["a", "\N{SNOWMAN}"]),
    "s8": ("one", "s8", [-128, 127]),
    "u64": ("wide", "u64", [0, (1 << 64) - 1]),
    "s64": ("wide", "s64", [-(1 << 63), (1 << 63) - 1]),
    "float64": ("real", "float64", [0.1, -1e300]),
    "string": ("pair", "string", ["", "text", "\N{SNOWMAN}" * 100]),
    "bytes": ("pair", "(list u8)", [b"", b"\x01\x02\xff"]),
    "list": ("pair", "(list string)", [["a", "", "\N{SNOWMAN}"]]),
    "nested": ("pair", "(list (list (tuple u8 string)))", [[[(1, "a")], []]]),
    "option": ("pair", "(option u32)", [None, 7]),
    "result": ("pair", "(result u32 (error u32))", []),
    "tuple": ("pair", "(tuple u32 s32)", [(1, -1)]),
    "record": ("mixed", "$record", [(3, 0.5)]),
    "enum": ("one", "$color", ["blue"]),
    "flags": ("one", "$flags", [set(), {"a", "c"}]),
    "variant": ("pair", "$variant", [5]),
}


def echo(component: Any, api: Any, name: str, value: Any) -> Any:
    core, kind, _ = FUNCTIONS[name]
    function = f"""
      (func (export "echo") (param "value" {kind}) (result {kind})
        (canon lift (core func $i "{core}") (memory $memory) (realloc (core func $realloc))))
    """
    store = api.Store()
    made = component.Component(store.engine, ECHO.replace("{functions}", function))
    instance = component.Linker(store.engine).instantiate(store, made)
    called = instance.get_func(store, "echo")
    if name == "record":
        count, share = value
        value = component.Record()
        value.count, value.share = count, share
        result = called(store, value)
        return result.count, result.share
    return called(store, value)


CASES = [(name, value) for name, (_, _, values) in FUNCTIONS.items() for value in values]


def identify(value: Any) -> str:
    """A test's name for a value: of a set in order, which every process must agree on."""
    return ascii(sorted(value) if isinstance(value, set) else value)[:20]


@pytest.mark.parametrize(("name", "value"), CASES, ids=identify)
def test_a_component_takes_and_returns_every_type(
    platform: Platform, name: str, value: Any
) -> None:
    component = platform.boot().load_submodule("wasmtime.component")
    result = echo(component, platform.wasmtime, name, value)
    assert result == echo(wasmtime.component, wasmtime, name, value)
    assert result == value


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_there_with_the_ordinary_signature(
    platform: Platform, module: str
) -> None:
    ordinary, ours = MODULES[module], platform.boot().load_submodule(module)
    names = [name for name in dir(ordinary) if not name.startswith("_")]
    assert [name for name in names if not hasattr(ours, name)] == []
    assert ours.__all__ == ordinary.__all__
    for name in ordinary.__all__:
        theirs, mine = getattr(ordinary, name), getattr(ours, name)
        assert mine is not theirs or not isinstance(mine, type)
        if isinstance(theirs, type):
            methods = [key for key, value in vars(theirs).items() if inspect.isfunction(value)]
            assert [key for key in methods if not hasattr(mine, key)] == []


def test_two_platforms_and_the_ordinary_package_do_not_mix_handles(machine: str) -> None:
    with assemble(machine=machine) as first, assemble(machine=machine) as second:
        apis = [wasmtime, first.wasmtime, second.wasmtime]
        stores = [api.Store() for api in apis]
        functions = []
        for number, (api, store) in enumerate(zip(apis, stores, strict=True)):
            host = api.Func(store, api.FuncType([], [api.ValType.i32()]), lambda n=number: n)
            module = api.Module(
                store.engine,
                """(module (import "" "" (func $h (result i32)))
                     (func (export "f") (result i32) call $h))""",
            )
            functions.append(api.Instance(store, module, [host]).exports(store)["f"])
        for _ in range(4):
            assert [f(s) for f, s in zip(functions, stores, strict=True)] == [0, 1, 2]
        with pytest.raises(TypeError):
            first.wasmtime.Store(second.wasmtime.Engine())
        with pytest.raises(TypeError):
            first.wasmtime.Store(wasmtime.Engine())
