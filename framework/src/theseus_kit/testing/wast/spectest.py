"""The module ``spectest``, which scripts import from without defining it.

Source: the specification's test suite, ``harness/`` and its README, "Spectest host module"; the
print functions print nothing here, as in Wasmtime's own runs of the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# A module rather than host objects: a 64-bit table has no name in wasmtime-py's API, and a global
# made from a Python float would be rounded twice.
SPECTEST = b"""
(module
  (global (export "global_i32") i32 (i32.const 666))
  (global (export "global_i64") i64 (i64.const 666))
  (global (export "global_f32") f32 (f32.const 666.6))
  (global (export "global_f64") f64 (f64.const 666.6))
  (table (export "table") 10 20 funcref)
  (table (export "table64") i64 10 20 funcref)
  (memory (export "memory") 1 2))
"""
PRINT_FUNCTIONS = {
    "print": (),
    "print_i32": ("i32",),
    "print_i64": ("i64",),
    "print_f32": ("f32",),
    "print_f64": ("f64",),
    "print_i32_f32": ("i32", "f32"),
    "print_f64_f64": ("f64", "f64"),
}


def define_spectest(
    api: Any, linker: Any, store: Any, compile_text: Callable[[bytes], Any]
) -> None:
    """Define ``spectest`` in a linker; ``compile_text`` makes a module of module text."""
    instance = api.Instance(store, compile_text(SPECTEST), [])
    linker.define_instance(store, "spectest", instance)
    for name, parameters in PRINT_FUNCTIONS.items():
        types = [getattr(api.ValType, parameter)() for parameter in parameters]
        linker.define_func("spectest", name, api.FuncType(types, []), _print_nothing)


def _print_nothing(*_values: object) -> None:
    """Take whatever is printed."""
