"""Files of expected failures: what they say, and what is wrong with them."""

import pytest

from theseus_kit.errors import UsageError
from theseus_kit.testing.conformance import ExceptionRegistrationConformance
from theseus_kit.testing.conformance.expected_failures import (
    ExpectedFailure,
    read_expected_failures,
)

TEST = "test_an_empty_slot_gives_none"


def read(tmp_path, text, plugin="mine"):
    path = tmp_path / "expected-failures.toml"
    path.write_text(text, encoding="utf-8")
    return read_expected_failures(path, plugin, [ExceptionRegistrationConformance])


def test_a_reason_stands_for_all_machines(tmp_path):
    found = read(tmp_path, f'[mine.exception-registration]\n{TEST} = "it is so"\n')
    key = ("exception-registration", TEST)
    assert found == {key: ExpectedFailure("it is so", ("emulated", "native"))}


def test_machines_can_be_named(tmp_path):
    text = f'[mine.exception-registration.{TEST}]\nreason = "so"\nmachines = ["native"]\n'
    assert read(tmp_path, text)["exception-registration", TEST].machines == ("native",)


def test_what_is_said_of_other_plugins_is_left_to_them(tmp_path):
    assert read(tmp_path, '[other.exception-registration]\nanything = "so"\n') == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[mine", "expected-failures.toml"),
        ('[mine.exception-registraton]\na = "b"\n', "did you mean 'exception-registration'"),
        (f'[mine.exception-registration]\n{TEST}s = "b"\n', f"did you mean '{TEST}'"),
        ('[mine.exception-registration]\nzzz = "b"\n', "has no test 'zzz'"),
        (f'[mine.exception-registration]\n{TEST} = ""\n', "gives no reason"),
        (f"[mine.exception-registration]\n{TEST} = 5\n", "must be a table"),
        (f"[mine.exception-registration.{TEST}]\nmachines = []\n", "gives no reason"),
        (
            f'[mine.exception-registration.{TEST}]\nreason = "a"\nmachines = ["natve"]\n',
            "did you mean 'native'",
        ),
        (f'[mine.exception-registration.{TEST}]\nreason = "a"\nsince = 1\n', "has no 'since'"),
        ('mine = "wrong"\n', "must be a table"),
    ],
)
def test_what_does_not_belong_there_is_one_clear_line(tmp_path, text, problem):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_expected_failures(tmp_path / "none.toml", "mine", [])
