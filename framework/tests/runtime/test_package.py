"""Private copies of packages, made of real files."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from theseus_kit.runtime.package import PrivatePackage
from theseus_kit.runtime.wheel import find_wheel


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package whose modules import each other in every way there is."""
    files = {
        "__init__.py": """
            from ._state import STATE, remember
            from .user import use, late
            import samplepackage
            ME = samplepackage
        """,
        "_state.py": """
            import json
            STATE = []
            def remember(value):
                from . import _state
                _state.STATE.append(value)
                return json.dumps(value)
        """,
        "user.py": """
            from samplepackage import remember
            from . import _circular as circular
            def use(value):
                return remember(value)
            def late():
                import samplepackage.inner.deep as deep
                return deep.name()
        """,
        "_circular.py": """
            from . import user
            PARTNER = user
        """,
        "inner/__init__.py": "from .. import STATE",
        "inner/deep.py": """
            from .._state import STATE
            from . import STATE as same
            import ctypes
            def name():
                assert STATE is same
                return ctypes.__name__, __name__, __package__
        """,
        "broken.py": "import samplepackage.absent",
    }
    directory = tmp_path / "samplepackage"
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(textwrap.dedent(content))
    return directory


def test_the_copys_modules_import_each_other_and_nothing_enters_sys_modules(package: Path) -> None:
    root = PrivatePackage("samplepackage", package).load()
    assert root.use([1]) == "[1]"
    assert root.STATE == [[1]]
    assert root.ME is root
    assert root.user.circular.PARTNER is root.user
    assert not [name for name in sys.modules if name.startswith("samplepackage")]


def test_two_copies_share_nothing(package: Path) -> None:
    first = PrivatePackage("samplepackage", package).load()
    second = PrivatePackage("samplepackage", package).load()
    first.use(1)
    assert first.STATE == [1]
    assert second.STATE == []


def test_modules_load_when_they_are_first_imported(package: Path) -> None:
    copy = PrivatePackage("samplepackage", package)
    root = copy.load()
    assert "samplepackage.inner" not in copy.modules
    assert root.late() == ("ctypes", "samplepackage.inner.deep", "samplepackage.inner")
    assert copy.load("samplepackage.inner.deep") is root.inner.deep


def test_a_replacement_is_imported_in_place_of_the_module(package: Path) -> None:
    replacement = ModuleType("replaced")
    copy = PrivatePackage("samplepackage", package, {"ctypes": replacement})
    assert copy.load().late()[0] == "replaced"


def test_an_unknown_module_is_not_found_by_its_full_name(package: Path) -> None:
    copy = PrivatePackage("samplepackage", package)
    with pytest.raises(ModuleNotFoundError, match=r"samplepackage\.absent"):
        copy.load("samplepackage.absent")


def test_a_module_that_fails_leaves_nothing_behind(package: Path) -> None:
    copy = PrivatePackage("samplepackage", package)
    root = copy.load()
    with pytest.raises(ModuleNotFoundError, match=r"samplepackage\.absent"):
        copy.load("samplepackage.broken")
    assert "samplepackage.broken" not in copy.modules
    assert not hasattr(root, "broken")


def test_cached_bytecode_is_used(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    PrivatePackage("samplepackage", package).load()
    compiled = list((package / "__pycache__").glob("user.*.pyc"))
    assert len(compiled) == 1
    before = compiled[0].stat().st_mtime_ns
    PrivatePackage("samplepackage", package).load()
    assert compiled[0].stat().st_mtime_ns == before


def test_the_installed_wheels_types_keep_their_ordinary_names() -> None:
    copy = PrivatePackage("wasmtime", find_wheel().package)
    root = copy.load()
    assert root.Func.__module__ == "wasmtime._func"
    assert root.Func is not sys.modules.get("wasmtime", ModuleType("none")).__dict__.get("Func")
    assert copy.load("wasmtime.component").Component.__module__ == "wasmtime.component._component"
