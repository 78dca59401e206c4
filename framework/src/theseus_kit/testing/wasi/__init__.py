"""Running WASI's test suite (WebAssembly/wasi-testsuite) against any object with wasmtime-py's API.

:func:`read_suite` finds a directory's programs and what is expected of them; :func:`run_program`
runs one of them in this process, on any such object; :func:`run_tests` runs many, each in a process
of its own, on a platform or on the ordinary ``wasmtime`` package, and judges them.
"""

from theseus_kit.testing.platform_choice import PlatformChoice
from theseus_kit.testing.wasi.program import run_program
from theseus_kit.testing.wasi.results import WasiResult
from theseus_kit.testing.wasi.runner import run_tests
from theseus_kit.testing.wasi.suite import WasiTest, read_suite

__all__ = [
    "PlatformChoice",
    "WasiResult",
    "WasiTest",
    "read_suite",
    "run_program",
    "run_tests",
]
