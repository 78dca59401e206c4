"""Wasmtime itself on this C library, in the ways that lean on it most."""

import pytest

from theseus_kit.assembly import BUNDLED, assemble
from theseus_kit.hookspecs import Group, hookimpl
from theseus_kit.values.linkage import CFunction
from theseus_kit_tlibc import TlibcPlugin

MODULE = """
(module
  (import "" "again" (func $again (param i32)))
  (memory (export "memory") 1 3)
  (table funcref (elem $nothing))
  (type $other (func (result i64)))
  (func $nothing)
  (func (export "divide") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
  (func (export "unreachable") unreachable)
  (func (export "load") (param i32) (result i32) local.get 0 i32.load)
  (func (export "indirect") (param i32) (result i64) local.get 0 call_indirect (type $other))
  (func $deep (export "deep") (result i32) i32.const 1 call $deep i32.add)
  (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
  (func (export "nest") (param i32) local.get 0 call $again))
"""

TRAPS = [
    ("divide", (1, 0), "integer divide by zero"),
    ("divide", (-(1 << 31), -1), "integer overflow"),
    ("unreachable", (), "unreachable"),
    ("load", (65536,), "out of bounds memory access"),
    ("load", (-1,), "out of bounds memory access"),
    ("indirect", (0,), "indirect call type mismatch"),
    ("indirect", (7,), "undefined element"),
    ("deep", (), "call stack exhausted"),
]


class Bodies(TlibcPlugin):
    """The library without its machine code: every function is served by its Python body."""

    @hookimpl
    def c_symbols(self):
        return [
            symbol._replace(machine_code=None) if isinstance(symbol, CFunction) else symbol
            for symbol in super().c_symbols()
        ]


@pytest.fixture(scope="module", params=["machine code", "Python bodies"])
def instance(request):
    """The module's exports by name, called without the store; ``again`` calls nest."""
    library = "tlibc" if request.param == "machine code" else Bodies
    plugins = [library if name == "tlibc" else name for name in BUNDLED]
    with assemble(plugins) as platform:
        wasmtime = platform.wasmtime
        store = wasmtime.Store()
        module = wasmtime.Module(store.engine, MODULE)

        def again(depth):
            if depth:
                exports["nest"](store, depth - 1)
            else:
                exports["divide"](store, 1, 0)

        kind = wasmtime.FuncType([wasmtime.ValType.i32()], [])
        function = wasmtime.Func(store, kind, again)
        exports = wasmtime.Instance(store, module, [function]).exports(store)
        yield wasmtime, lambda name, *arguments: exports[name](store, *arguments)


@pytest.mark.parametrize(("name", "arguments", "message"), TRAPS)
def test_every_trap_is_caught_ten_times_in_a_row(instance, name, arguments, message):
    wasmtime, call = instance
    for _ in range(10):
        with pytest.raises(wasmtime.Trap, match=message):
            call(name, *arguments)
    assert call("divide", 42, 7) == 6


def test_a_trap_below_fifty_nested_host_calls_unwinds_them_all(instance):
    wasmtime, call = instance
    for _ in range(2):
        with pytest.raises(wasmtime.Trap, match="integer divide by zero"):
            call("nest", 50)
    assert call("divide", 42, 7) == 6


def test_memory_grows_to_its_maximum_and_no_further(instance):
    _, call = instance

    assert [call("grow", 1), call("grow", 1), call("grow", 1)] == [1, 2, -1]
    assert call("load", 3 * 65536 - 4) == 0


def test_the_library_without_thread_local_storage_leaves_that_group_open():
    from theseus_kit_tlibc import CLibraryPlugin

    assert CLibraryPlugin.description.provides == {Group.C_LIBRARY}
    assert TlibcPlugin.description.provides == {Group.C_LIBRARY, Group.THREAD_LOCAL_STORAGE}
