"""Wasmtime on either provider: its traps are exceptions that its own sigaction handlers answer."""

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.machine import machine_names

MODULE = """
(module
  (memory 1)
  (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 6) (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "unreachable") (param i32) (result i32) unreachable))
"""


@pytest.mark.parametrize("provider", ["signals", "signals-persistent"])
@pytest.mark.parametrize("machine", machine_names())
def test_traps_are_caught_again_and_again_and_the_instance_goes_on(machine, provider):
    with assemble(["region", provider, "backtrace", "path", "tlibc"], machine=machine) as platform:
        api = platform.wasmtime
        store = api.Store(platform.boot().engine)
        exports = api.Instance(store, api.Module(store.engine, MODULE), []).exports(store)
        for _ in range(5):
            for name, argument in (("divide", 0), ("load", -1), ("unreachable", 0)):
                with pytest.raises(api.Trap):
                    exports[name](store, argument)
            assert exports["divide"](store, 2) == 3
