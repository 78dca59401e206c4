"""How calls are named, and which a pattern means."""

from __future__ import annotations

import pytest

from theseus_kit import UsageError
from theseus_kit.interception import CallKind, CallPattern, PlatformCall, parse_patterns

MMAP = PlatformCall(CallKind.SYSTEM_CALL, "mmap")
MALLOC = PlatformCall(CallKind.C_FUNCTION, "malloc")
MAP = PlatformCall(CallKind.HOOK, "memory_map")
CALLS = (MMAP, MALLOC, MAP)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("*", CALLS),
        ("mmap", (MMAP,)),
        ("m*", CALLS),
        ("syscall.*", (MMAP,)),
        ("hook.memory_*", (MAP,)),
        ("c.m?lloc", (MALLOC,)),
        ("c.mmap", ()),
        ("MMAP", ()),
    ],
)
def test_a_pattern_means_calls_by_kind_and_glob(text: str, meant: tuple[PlatformCall]) -> None:
    assert tuple(filter(CallPattern.parse(text).matches, CALLS)) == meant


def test_patterns_are_separated_by_commas_and_read_back_as_they_were() -> None:
    patterns = parse_patterns(" mmap, hook.memory_* ,,c.malloc")
    assert ",".join(map(str, patterns)) == "mmap,hook.memory_*,c.malloc"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hok.memory_map", "no kind of call is 'hok': there is hook, c, syscall"),
        ("hook.", "names no call: write it as mmap, hook.memory_map"),
        ("", "names no call"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CallPattern.parse(text)


def test_a_pattern_that_means_nothing_is_refused_with_the_nearest_name_of_its_kind() -> None:
    with pytest.raises(UsageError, match=r"'mmop'.*did you mean 'mmap'\?"):
        CallPattern.parse("mmop").check(CALLS, "plugin 'x'")
    with pytest.raises(UsageError, match=r"'hook.mmap' *$|'hook.mmap'"):
        CallPattern.parse("hook.mmap").check(CALLS, "plugin 'x'")
    CallPattern.parse("c.*").check(CALLS, "plugin 'x'")


def test_a_call_is_written_with_its_kind() -> None:
    assert [str(call) for call in CALLS] == ["syscall.mmap", "c.malloc", "hook.memory_map"]
