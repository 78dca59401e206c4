"""Values with fields: what typing's NamedTuple would have made of them."""

import pickle
import subprocess
import sys
import typing

import pytest

from theseus_kit.values.memory import MapRequest, Protection
from theseus_kit.values.record import NamedTuple


class Span(NamedTuple):
    """Where something is."""

    base: int
    size: int = 4096

    @property
    def end(self) -> int:
        return self.base + self.size


class Twin(typing.NamedTuple):
    """Where something is."""

    base: int
    size: int = 4096

    @property
    def end(self) -> int:
        return self.base + self.size


@pytest.mark.parametrize(
    "seen",
    [
        lambda made: (made(1), made(1, size=2), made(base=1).end, made(1)._replace(base=2)),
        lambda made: (made.__bases__, made._fields, made._field_defaults, made.__match_args__),
        lambda made: (made.__doc__, made.__module__, made.__mro__[1:], made.__slots__),
        lambda made: (hash(made(1)), made(1) == (1, 4096), made(1)._asdict()),
        lambda made: typing.get_type_hints(made),
    ],
)
def test_a_record_is_what_typing_makes_of_the_same_text(seen):
    assert seen(Span) == seen(Twin)


def test_a_record_shows_its_name_and_its_fields():
    assert repr(Span(1)) == "Span(base=1, size=4096)"


def test_a_record_survives_pickling():
    assert pickle.loads(pickle.dumps(Span(3))) == Span(3)


def test_a_field_without_a_default_behind_one_with_a_default_is_refused():
    source = "class Wrong(NamedTuple):\n    first: int = 1\n    second: int\n"
    with pytest.raises(TypeError, match="Wrong: a field without a default"):
        exec(source, {"NamedTuple": NamedTuple, "__name__": "wrong"})


def test_annotations_are_left_as_text_and_can_be_evaluated_later():
    assert MapRequest.__annotations__["protection"] == "Protection"
    assert typing.get_type_hints(MapRequest)["protection"] is Protection


def test_a_type_checker_sees_a_named_tuple(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from __future__ import annotations\n"
        "from theseus_kit.values.record import NamedTuple\n"
        "class Span(NamedTuple):\n    base: int\n    size: int = 1\n"
        "reveal_type(Span(1).base)\n"
        "Span('a')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert 'Revealed type is "int"' in done.stdout.replace("builtins.", "")
    assert 'incompatible type "str"; expected "int"' in done.stdout
