"""What tests a runtime or a plugin, shipped with the kit.

:class:`SpecRunner` runs the WebAssembly specification's test suite against any object with
wasmtime-py's API. The :mod:`~theseus_kit.testing.conformance` suites hold plugins to the contract.
Nothing here needs pytest but :mod:`~theseus_kit.testing.pytest_plugin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theseus_kit.testing.wast import FileResult, SpecRunner, spec_config

__all__ = ["FileResult", "SpecRunner", "spec_config"]


def __getattr__(name: str) -> Any:
    """Import the suite's runner where it is wanted: pytest imports this package at every start."""
    if name in __all__:
        from theseus_kit.testing import wast

        return getattr(wast, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
