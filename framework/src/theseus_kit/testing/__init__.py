"""What tests a runtime or a plugin, shipped with the kit.

:class:`SpecRunner` runs the WebAssembly specification's test suite against any object with
wasmtime-py's API. Nothing here needs pytest.
"""

from theseus_kit.testing.wast import FileResult, SpecRunner, spec_config

__all__ = ["FileResult", "SpecRunner", "spec_config"]
