"""Finding wasmtime wheels."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

from theseus_kit.errors import ImageError
from theseus_kit.runtime.wheel import GUEST_LIBRARY, SUPPORTED, find_wheel


def test_the_installed_wheel_is_the_one_python_would_import() -> None:
    specification = importlib.util.find_spec("wasmtime")
    assert specification is not None
    wheel = find_wheel()
    assert [str(wheel.package)] == specification.submodule_search_locations
    assert wheel.version == importlib.metadata.version("wasmtime")
    assert wheel.library.is_file()


def test_a_wheel_is_found_by_its_package_or_by_what_holds_it() -> None:
    installed = find_wheel().package
    assert find_wheel(installed).package == installed
    by_holder = find_wheel(str(installed.parent))
    assert (by_holder.package, by_holder.version) == (installed, find_wheel().version)


def test_a_directory_without_a_package_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"{tmp_path}: no wasmtime package here"):
        find_wheel(tmp_path)


def test_a_wheel_for_another_system_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "wasmtime").mkdir()
    (tmp_path / "wasmtime" / "_bindings.py").write_text("")
    with pytest.raises(ImageError, match="the guest needs the wheel for Linux"):
        find_wheel(tmp_path)


def test_a_missing_package_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ImageError, match="pip install wasmtime"):
        find_wheel()


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no wasmtime package here"):
        find_wheel(tmp_path / "absent" / "too")


@pytest.mark.parametrize(
    ("version", "is_supported"),
    [("29.0.0", False), ("30.0.0", True), ("50.0.1", True), ("51.0.0", False), ("0.40.0", False)],
)
def test_versions_outside_the_declared_range_are_refused(
    tmp_path: Path, version: str, is_supported: bool
) -> None:
    package = tmp_path / "wasmtime"
    (package / GUEST_LIBRARY.parent).mkdir(parents=True)
    (package / "_bindings.py").write_text("")
    (package / GUEST_LIBRARY).write_bytes(b"")
    (tmp_path / f"wasmtime-{version}.dist-info").mkdir()
    if is_supported:
        assert find_wheel(tmp_path).version == version
        return
    with pytest.raises(ImageError) as caught:
        find_wheel(tmp_path)
    assert str(caught.value) == (
        f"wasmtime {version} is not supported, 30 to 50 are: pip install 'wasmtime>=30,<51'"
    )


def test_the_distribution_declares_the_supported_range() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (specifier,) = [text for text in project["dependencies"] if text.startswith("wasmtime")]
    assert specifier == f"wasmtime>={SUPPORTED.start},<{SUPPORTED.stop}"
