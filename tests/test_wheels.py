"""Other versions of Wasmtime boot by path on the same platform."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from theseus_kit import assemble

VERSIONS = ("30.0.0", "40.0.0", "50.0.1")


@pytest.fixture(scope="session", params=VERSIONS)
def wasmtime_package(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a wasmtime package of one version, unpacked from its wheel."""
    folder = tmp_path_factory.mktemp(f"wasmtime-{request.param}")
    download = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--dest", str(folder), f"wasmtime=={request.param}"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        reason = (download.stderr.strip().splitlines() or ["no wheel came"])[-1]
        pytest.skip(f"wasmtime {request.param} cannot be downloaded: {reason}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder)
    return folder / "wasmtime"


def test_a_wheel_boots_by_path_and_compiles_and_runs_in_the_guest(
    machine: str, wasmtime_package: Path
) -> None:
    with assemble(machine=machine) as platform:
        api = platform.boot(wasmtime_package).wasmtime
        engine = api.Engine()
        store = api.Store(engine)
        module = api.Module(
            engine,
            """(module (func (export "add") (param i32 i32) (result i32)
                 (i32.add (local.get 0) (local.get 1)))
                 (func (export "trap") unreachable))""",
        )
        exports = api.Instance(store, module, []).exports(store)
        assert exports["add"](store, 40, 2) == 42
        with pytest.raises(api.Trap, match="unreachable"):
            exports["trap"](store)
