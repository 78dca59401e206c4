"""Files of the WebAssembly specification's test suite on an assembled platform.

The suite is no part of the project. It is found by the environment variable THESEUS_KIT_SPEC, a
directory of ``.wast`` files, or else in ``../shared/spec`` beside the repository. The ordinary
wasmtime package is held to the same files: what fails there is not the platform's failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import wasmtime

from theseus_kit import Platform
from theseus_kit.testing import SpecRunner
from theseus_kit.testing.wast.on_platform import platform_runner

FILES = (
    "i32",
    "i64",
    "f32",
    "f64",
    "memory",
    "memory_trap",
    "memory_grow",
    "call_indirect",
    "table_grow",
    "traps",
    "conversions",
    "bulk",
    "simd_lane",
)
COMPILED_IN_THE_GUEST = ("i32", "memory_trap", "traps")
"""Few: compiling in the guest takes many times as long, and is the same code for each file."""


@pytest.fixture(scope="module")
def suite() -> Path:
    given = os.environ.get("THESEUS_KIT_SPEC")
    root = Path(__file__).resolve().parent.parent
    directory = Path(given) if given else root.parent / "shared" / "spec"
    if not (directory / f"{FILES[0]}.wast").is_file():
        pytest.skip(f"{directory} has no suite: name its directory in THESEUS_KIT_SPEC")
    return directory


@pytest.fixture(scope="module")
def ordinary() -> SpecRunner:
    return SpecRunner(wasmtime)


@pytest.fixture(scope="module")
def compiling_on_the_host(platform: Platform) -> SpecRunner:
    return platform_runner(platform, "host")


@pytest.fixture(scope="module")
def compiling_in_the_guest(platform: Platform) -> SpecRunner:
    return platform_runner(platform, "guest")


def expect_all_passed(runner: SpecRunner, file: Path) -> None:
    result = runner.run_file(file)
    assert result.failures == ()
    assert result.skipped == ()
    assert result.passed > 0


@pytest.mark.parametrize("name", FILES)
def test_the_ordinary_package_passes(ordinary: SpecRunner, suite: Path, name: str) -> None:
    expect_all_passed(ordinary, suite / f"{name}.wast")


@pytest.mark.parametrize("name", FILES)
def test_the_platform_passes_with_modules_compiled_on_the_host(
    compiling_on_the_host: SpecRunner, suite: Path, name: str
) -> None:
    expect_all_passed(compiling_on_the_host, suite / f"{name}.wast")


@pytest.mark.parametrize("name", COMPILED_IN_THE_GUEST)
def test_the_platform_passes_with_modules_compiled_in_the_guest(
    compiling_in_the_guest: SpecRunner, suite: Path, name: str
) -> None:
    expect_all_passed(compiling_in_the_guest, suite / f"{name}.wast")
