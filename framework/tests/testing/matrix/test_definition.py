"""What a matrix file may say, and how it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from theseus_kit.errors import UsageError
from theseus_kit.testing.matrix.definition import Limits, matches
from theseus_kit.testing.matrix.suite_files import suite_files, unset_variable

from .conftest import Read

TESTS = """
[[tests]]
name = "core"
kind = "spec"
paths = ["*.wast"]
"""


def test_the_axes_are_machines_versions_plugins_and_tests_in_this_order(read: Read) -> None:
    definition = read(
        """
        [matrix]
        machines = ["emulated", "native"]
        [plugins]
        paths = ["path", "path-theseus"]
        """
        + TESTS
    )
    assert definition.axes == {
        "machine": ("emulated", "native"),
        "wasmtime": ("installed",),
        "paths": ("path", "path-theseus"),
        "tests": ("core",),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[matrix", "not valid TOML"),
        ("", "missing required field `tests`"),
        ("[matrix]\nmachine = ['native']" + TESTS, "unknown field `machine` - at `$.matrix`"),
        (TESTS.replace("spec", "speck"), "Invalid enum value 'speck' - at `$.tests[0].kind`"),
        (TESTS.replace('paths = ["*.wast"]', ""), "'core' has no paths"),
        ("[matrix]\nmachines = []" + TESTS, "axis 'machine' has no value"),
        ("[plugins]\npaths = ['a', 'a']" + TESTS, "axis 'paths' has 'a' twice"),
        ("[plugins]\nmachine = ['a']" + TESTS, "cannot have an axis 'machine'"),
        ("[limits]\nmemory = '4 parsecs'" + TESTS, "write it as in '512 MiB' or '4 GiB'"),
        (
            "[[skip]]\nwhen = {machin = 'native'}\nreason = 'r'" + TESTS,
            "names the axis 'machin': did you mean 'machine'?",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(read: Read, text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_sizes_have_units() -> None:
    assert Limits(memory="4 GiB").bytes == 4 << 30
    assert Limits(memory="100").bytes == 100


def test_a_rule_fits_one_of_several_plugins_of_a_value() -> None:
    cell = {"machine": "native", "c-library": "c-library+tls-static"}
    assert matches({"c-library": "tls-*"}, cell)
    assert matches({"machine": ["emulated", "native"], "c-library": "c-library"}, cell)
    assert not matches({"machine": "emulated", "c-library": "tls-*"}, cell)


def test_paths_count_from_the_file_and_take_variables(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.wast", "a.wast", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in suite_files(read(TESTS).tests[0])] == ["a.wast", "b.wast"]
    elsewhere = read(TESTS.replace("*.wast", "$SOME_SUITE/*.wast")).tests[0]
    assert unset_variable(elsewhere) == "SOME_SUITE"
    monkeypatch.setenv("SOME_SUITE", str(tmp_path))
    elsewhere = read(TESTS.replace("*.wast", "$SOME_SUITE/*.wast")).tests[0]
    assert unset_variable(elsewhere) is None
    assert len(suite_files(elsewhere)) == 2


def test_the_kit_s_own_scripts_have_a_variable(read: Read) -> None:
    own = read(TESTS.replace("*.wast", "$THESEUS_KIT_SMOKE/*.wast")).tests[0]
    assert "memory.wast" in [path.name for path in suite_files(own)]


def test_a_path_that_names_nothing_is_refused(read: Read, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'core': .*missing\.wast: no such file or directory"):
        suite_files(read(TESTS.replace("*.wast", "missing.wast")).tests[0])
