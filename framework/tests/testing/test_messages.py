"""Which of Wasmtime's messages mean what a script expects."""

import pytest

from theseus_kit.testing.wast.messages import cause, says

BACKTRACE = "error while executing at wasm backtrace:\n    0: 0x2e - f\n\nCaused by:\n    "


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("wasm trap: integer divide by zero", "integer divide by zero"),
        ("wasm trap: uninitialized element", "uninitialized element 2"),
        ("wasm trap: null reference", "null function reference"),
        ("wasm trap: uninitialized element", "null function reference"),
        ("wasm trap: null reference", "null structure reference"),
    ],
)
def test_messages_that_mean_the_same(message: str, expected: str) -> None:
    assert says(BACKTRACE + message, expected)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("wasm trap: integer overflow", "integer divide by zero"),
        ("wasm trap: undefined element: out of bounds table access", "uninitialized element"),
        ("wasm trap: uninitialized element", "null structure reference"),
        ("wasm trap: null reference", "cast failure"),
    ],
)
def test_messages_that_do_not(message: str, expected: str) -> None:
    assert not says(BACKTRACE + message, expected)


def test_the_cause_is_the_last_line() -> None:
    assert cause(ValueError(BACKTRACE + "wasm trap: x\n")) == "wasm trap: x"
    assert cause(ValueError()) == "ValueError"
