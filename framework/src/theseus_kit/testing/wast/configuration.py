"""The engine the suite needs, from whichever wasmtime package is at hand."""

from __future__ import annotations

from typing import Any

PROPOSALS = (
    "wasm_reference_types",
    "wasm_function_references",
    "wasm_gc",
    "wasm_exceptions",
    "wasm_tail_call",
    "wasm_multi_memory",
    "wasm_multi_value",
    "wasm_memory64",
    "wasm_bulk_memory",
    "wasm_simd",
    "wasm_relaxed_simd",
    # Lets relaxed operations give the same results on every machine; all results the suite allows.
    "wasm_relaxed_simd_deterministic",
    "wasm_wide_arithmetic",
)
"""What the suite of WebAssembly 3.0 uses, by the names of Config's setters."""


def spec_config(api: Any) -> Any:
    """Return a new ``Config`` of a wasmtime package with all that the suite needs switched on.

    ``api`` is the package or an object with its names. A setter this version does not have is
    passed over: the files that need the proposal then fail, as they should.
    """
    config = api.Config()
    for proposal in PROPOSALS:
        if hasattr(api.Config, proposal):
            setattr(config, proposal, True)
    return config
