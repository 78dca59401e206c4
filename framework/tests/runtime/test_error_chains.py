"""Reading the causes off the text of Wasmtime's errors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.runtime.error_chains import causes


def as_anyhow_writes(message: str, reasons: list[str]) -> str:
    """An error's ``{:?}`` as anyhow (fmt.rs) writes it: indented, numbered from two on."""
    if not reasons:
        return message
    lines = [message, "", "Caused by:"]
    for number, reason in enumerate(reasons):
        first, *rest = reason.split("\n")
        mark = f"{number:>5}: " if len(reasons) > 1 else " " * 4
        lines.append(mark + first)
        lines += [" " * len(mark) + line if line else "" for line in rest]
    return "\n".join(lines) + "\n"


def test_an_error_without_causes_has_none() -> None:
    assert causes("unknown import: `a::b` has not been defined") == []
    assert causes("") == []


def test_one_cause_is_indented() -> None:
    assert causes("failed to open file\n\nCaused by:\n    No such file (os error 2)\n") == [
        "No such file (os error 2)"
    ]


def test_several_causes_are_numbered() -> None:
    text = (
        "error while executing at wasm backtrace:\n    0:     0x34 - <unknown>!<wasm function 2>"
        "\n\nCaused by:\n    0: memory fault at wasm address 0xffffffff in linear memory of size 1"
        "\n    1: wasm trap: out of bounds memory access\n"
    )
    assert causes(text) == [
        "memory fault at wasm address 0xffffffff in linear memory of size 1",
        "wasm trap: out of bounds memory access",
    ]


def test_a_cause_of_several_lines_loses_its_indentation_only() -> None:
    assert causes(as_anyhow_writes("outer", ["expected `)`\n  --> <anon>:1:8", "inner"])) == [
        "expected `)`\n  --> <anon>:1:8",
        "inner",
    ]


def test_a_stack_backtrace_is_no_cause() -> None:
    text = "outer\n\nCaused by:\n    inner\n\nStack backtrace:\n   0: anyhow::error\n   1: main"
    assert causes(text) == ["inner"]


REASON = st.from_regex(
    r"[a-z`:]([ -~]{0,20}[a-z])?(\n {0,3}[a-z][ -~]{0,10}[a-z]){0,2}", fullmatch=True
)


@given(reasons=st.lists(REASON, max_size=12))
def test_causes_are_what_was_written(reasons: list[str]) -> None:
    assert causes(as_anyhow_writes("message", reasons)) == reasons
