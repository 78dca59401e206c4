"""theseus-kit check: what it says of right and of wrong plugins, and that it survives both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GROUP = "exception-registration"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment in which the broken plugins are installed."""
    where = tmp_path_factory.mktemp("installed")
    metadata = where / "broken_plugin-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[theseus_kit]\n"
        "broken-handlers = broken_plugin:BrokenHandlers\n"
        "misspelt-handlers = broken_plugin:MisspeltHandlers\n"
        "overreaching = broken_plugin:Overreaching\n"
    )
    (where / "broken_plugin.py").write_text((HERE / "broken_plugin.py").read_text())
    search = os.pathsep.join([str(where), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": search}


def check(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "theseus_kit.cli", "check", *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def broken(environment):
    """What a check of the broken plugin says, as JSON."""
    arguments = ("broken-handlers", "--machine", "emulated", "--json", "--timeout", "3")
    done = check(environment, *arguments)
    return done.returncode, {t["test"]: t for t in json.loads(done.stdout)["tests"]}


def test_a_right_plugin_passes_and_the_exit_status_says_so(environment):
    done = check(environment, "signals", "--machine", "emulated")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exception-registration" in done.stdout
    assert "beside" in done.stderr


def test_a_failure_tells_the_line_the_values_and_the_clause(broken):
    status, tests = broken
    failed = tests["test_a_taken_slot_is_refused_and_keeps_its_handler"]
    assert status == 1
    assert failed["outcome"] == "failed"
    assert "it was not refused: AlreadyRegisteredError was expected" in failed["detail"]
    clause = "ExceptionRegistration.exception_register: Raises AlreadyRegisteredError"
    assert failed["clauses"][0].startswith(clause)


def test_an_error_of_the_plugin_s_own_is_told_with_its_place_in_the_plugin(environment):
    arguments = ("misspelt-handlers", "--machine", "emulated", "--tests", "taken_slot")
    done = check(environment, *arguments)
    assert "PluginError: plugin 'misspelt-handlers', hook task_started" in done.stdout
    assert "broken_plugin.py:" in done.stdout.partition("raised at ")[2].splitlines()[0]


def test_the_command_line_tells_the_place_of_a_plugin_s_error(environment):
    plugins = "region,misspelt-handlers,backtrace,path,tlibc"
    done = subprocess.run(
        [sys.executable, "-m", "theseus_kit.cli", "assemble", "--plugins", plugins],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 70
    caused = done.stderr.splitlines()[-1]
    assert caused.startswith("  caused by AttributeError: ")
    assert "broken_plugin.py:" in caused
    assert caused.endswith(", in task_started)")


def test_a_test_that_needs_what_the_plugin_lacks_is_skipped_with_the_reason(broken):
    skipped = broken[1]["test_a_kill_handler_is_taken_once"]
    assert skipped["outcome"] == "skipped"
    assert "lacks exception-registration.kill-handler-taking" in skipped["detail"]


def test_a_plugin_that_ends_its_process_fails_that_test_and_no_other(broken):
    _, tests = broken
    assert "died of SIGKILL" in tests["test_a_kill_handler_can_be_removed"]["detail"]
    assert tests["test_guest_code_goes_on_where_a_handler_sends_it"]["outcome"] == "passed"


def test_a_plugin_that_hangs_is_given_up_after_the_time_asked_for(broken):
    hung = broken[1]["test_a_vector_of_no_category_kills_past_all_handlers"]
    assert hung["outcome"] == "failed"
    assert "did not end within 3 s" in hung["detail"]


def test_expected_failures_are_told_apart_and_end_when_they_pass(environment, tmp_path):
    path = tmp_path / "known.toml"
    path.write_text(
        f"[broken-handlers.{GROUP}]\n"
        'test_a_taken_slot_is_refused_and_keeps_its_handler = "handlers replace each other"\n'
    )
    arguments = ("broken-handlers", "--machine", "emulated", "--expected-failures", str(path))
    done = check(environment, *arguments, "--tests", "taken_slot")
    assert done.returncode == 0, done.stdout
    assert "handlers replace each other" in done.stdout
    path.write_text(f'[broken-handlers.{GROUP}]\ntest_an_empty_slot_gives_none = "it did once"\n')
    done = check(environment, *arguments, "--tests", "empty_slot")
    assert done.returncode == 1
    assert "remove the entry" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("signal",), "did you mean 'signals'"),
        (("signals", "--machine", "natve"), "did you mean 'native'"),
        (("signals", "--tests", "zzz"), "no test of 'signals'"),
        (("overreaching",), "lacks memory-mapping.locking, which is of a group it does not"),
        (("c-library",), "no group that has a conformance suite"),
        (("signals", "--expected-failures", "/none.toml"), "/none.toml"),
    ],
)
def test_a_user_s_mistake_is_one_line_and_status_2(environment, arguments, problem):
    done = check(environment, *arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
