"""Rules as text: what they say, and what is refused."""

from __future__ import annotations

import errno
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit import UsageError
from theseus_kit.interception import CallKind
from theseus_kit_inject import Action, Rule
from theseus_kit_inject.rules import ERROR_NUMBERS, parse_rules


def test_a_rule_names_a_call_an_occurrence_and_an_error_number() -> None:
    rule = Rule.parse("mmap:3=ENOMEM")
    assert (rule.pattern.kind, rule.pattern.glob) == (None, "mmap")
    assert (rule.first, rule.last, rule.failure) == (3, 3, errno.ENOMEM)


def test_a_rule_may_name_a_kind_a_glob_all_occurrences_and_a_probability() -> None:
    rule = Rule.parse("hook.memory_*:*=ENOMEM@0.1")
    assert (rule.pattern.kind, rule.pattern.glob) == (CallKind.HOOK, "memory_*")
    assert (rule.first, rule.last, rule.probability) == (1, None, 0.1)


def test_a_plus_means_every_later_call_too() -> None:
    due = [Rule.parse("read:2+=EIO").is_due(n, Random(0)) for n in (1, 2, 3, 99)]
    assert due == [False, True, True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mmap", "'mmap' is no rule: write it as CALL"),
        ("mmap:x=ENOMEM", "'x' is no occurrence: write 3 for the third call"),
        ("mmap:0=ENOMEM", "'0' is no occurrence"),
        ("mmap=ENOMEN", "'ENOMEN' is no error number's name: did you mean ENOMEM?"),
        ("mmap=explode", "'explode' is no error number's name: "),
        ("mmap=ENOMEM@2", "'2' is no probability"),
        ("mmap=ENOMEM@often", "'often' is no probability"),
        ("hok.mmap=ENOMEM", "no kind of call is 'hok': there is hook, c, syscall"),
        ("=ENOMEM", "is no rule"),
    ],
)
def test_what_is_no_rule_is_refused_by_the_part_that_is_wrong(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_rules(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,12}\*?", fullmatch=True)
FAILURES = st.sampled_from([*ERROR_NUMBERS, *(action.value for action in Action)])


@given(
    st.sampled_from(["", "hook.", "c.", "syscall."]),
    NAMES,
    st.sampled_from(["*", "1", "7", "2+"]),
    FAILURES,
    st.sampled_from(["", "@0.5", "@0.001"]),
)
def test_a_rule_s_text_reads_back_as_the_rule(
    kind: str, name: str, when: str, failure: str, chance: str
) -> None:
    rule = Rule.parse(f"{kind}{name}:{when}={failure}{chance}")
    assert Rule.parse(str(rule)) == rule
