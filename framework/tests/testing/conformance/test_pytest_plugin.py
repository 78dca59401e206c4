"""The pytest plugin, in a pytest of its own: fixtures, options, suites, expected failures."""

import os
import subprocess
import sys

import pytest

SUITE = """
from theseus_kit.testing.conformance import ExceptionRegistrationConformance

class TestSignals(ExceptionRegistrationConformance):
    plugin = "signals"
"""


def run(directory, text, *arguments, **files):
    (directory / "test_it.py").write_text(text)
    for name, contents in files.items():
        (directory / name.replace("__", ".")).write_text(contents)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", "-W", "error"]
    return subprocess.run(
        [*command, *arguments], cwd=directory, capture_output=True, text=True, env=os.environ
    )


def test_a_test_that_asks_for_a_machine_runs_on_each(tmp_path):
    done = run(tmp_path, "def test_it(machine): pass")
    assert "test_it[emulated]" in done.stdout
    assert "test_it[native]" in done.stdout
    done = run(tmp_path, "def test_it(machine): pass", "--theseus-machine", "native")
    assert "emulated" not in done.stdout


def test_a_platform_is_of_the_machine_and_the_plugins_asked_for(tmp_path):
    text = (
        "def test_it(platform, machine, assembly):\n"
        "    assert platform.report.machine == machine == 'emulated'\n"
        "    groups = {p.group: p.plugin for p in platform.report.providers}\n"
        "    assert groups['exception-registration'] == assembly[0] == 'signals-persistent'\n"
        "    assert groups['memory-mapping'] == 'region'\n"
    )
    options = ("--theseus-machine", "emulated", "--theseus-plugins", "signals-persistent")
    done = run(tmp_path, text, *options)
    assert "1 passed" in done.stdout, done.stdout
    done = run(tmp_path, "def test_it(assembly): pass", *options, "--theseus-plugins", "signals")
    assert "test_it[signals-persistent]" in done.stdout
    assert "test_it[signals]" in done.stdout


def test_a_conftest_s_own_fixture_comes_first(tmp_path):
    conftest = "import pytest\n@pytest.fixture\ndef machine(): return 'mine'\n"
    text = "def test_it(machine): assert machine == 'mine'"
    assert "1 passed" in run(tmp_path, text, conftest__py=conftest).stdout


@pytest.mark.parametrize("name", ["emulatd", ""])
def test_an_unknown_machine_is_a_usage_error(tmp_path, name):
    done = run(tmp_path, "def test_it(machine): pass", "--theseus-machine", name)
    assert done.returncode == 4
    assert "there is emulated, native, and all" in done.stderr


def test_an_inherited_suite_runs_on_each_machine_and_its_base_alone_does_not(tmp_path):
    done = run(tmp_path, SUITE, "-k", "empty_slot")
    assert "2 passed" in done.stdout, done.stdout
    assert "test_an_empty_slot_gives_none[native]" in done.stdout


def test_a_failing_suite_shows_the_values_of_its_assertion(tmp_path):
    text = SUITE + (
        "    def take(self, category, task=None): return super().take(category, task) or 7\n"
    )
    done = run(tmp_path, text, "-k", "empty_slot", "--theseus-machine", "emulated")
    assert "assert 7 is None" in done.stdout


def test_an_expected_failure_beside_the_tests_is_strict(tmp_path):
    toml = '[signals.exception-registration]\ntest_an_empty_slot_gives_none = "so it was"\n'
    files = {"expected-failures__toml": toml}
    done = run(tmp_path, SUITE, "-k", "empty_slot", "--theseus-machine", "emulated", **files)
    assert done.returncode == 1
    assert "XPASS(strict)" in done.stdout
    wrong = {"expected-failures__toml": toml.replace("slot_gives", "slot_give")}
    done = run(tmp_path, SUITE, "-k", "empty_slot", **wrong)
    assert done.returncode == 4
    assert "did you mean 'test_an_empty_slot_gives_none'" in done.stderr


def test_a_suite_that_names_no_plugin_says_so(tmp_path):
    done = run(tmp_path, SUITE.replace('plugin = "signals"', "pass"), "-k", "empty_slot")
    assert done.returncode == 4
    assert "names no plugin" in done.stderr


def test_a_run_that_uses_none_of_it_imports_no_suite(tmp_path):
    text = (
        "import sys\n"
        "def test_it():\n"
        "    assert not [m for m in sys.modules if 'conformance' in m or 'unicorn' in m]\n"
    )
    assert "1 passed" in run(tmp_path, text).stdout
