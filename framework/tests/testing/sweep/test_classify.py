"""What a run with a fault is called, against the run without."""

from __future__ import annotations

import pytest

from theseus_kit.testing.sweep.classify import Ended, Verdict, classify
from theseus_kit.testing.sweep.job import Outcome

CLEAN = Ended(0, Outcome("finished"), b"one\ntwo\n", "")
TRAPPING = Ended(0, Outcome("trap", 0, "Trap", "wasm trap: unreachable"), b"", "")


def verdict(
    outcome: Outcome | None,
    stdout: bytes = CLEAN.stdout,
    *,
    status: int | None = 0,
    stderr: str = "",
    clean: Ended = CLEAN,
    was_injected: bool = True,
) -> tuple[Verdict, str]:
    return classify(Ended(status, outcome, stdout, stderr), clean, was_injected=was_injected)


def test_the_same_end_and_the_same_output_is_no_effect() -> None:
    assert verdict(Outcome("finished")) == (Verdict.NO_EFFECT, "")
    assert verdict(TRAPPING.outcome, b"", clean=TRAPPING)[0] is Verdict.NO_EFFECT


def test_a_fault_that_was_never_reached_proves_nothing() -> None:
    assert verdict(Outcome("finished"), was_injected=False)[0] is Verdict.NOT_REACHED


@pytest.mark.parametrize(
    ("outcome", "expected", "detail"),
    [
        (
            Outcome("error", 0, "WasmtimeError", "failed to grow\n\nCaused by:\n    no memory"),
            Verdict.CLEAN_ERROR,
            "WasmtimeError: no memory",
        ),
        (Outcome("raised", 0, "MemoryError", "no"), Verdict.CLEAN_ERROR, "MemoryError: no"),
        (Outcome("finished", 1), Verdict.CLEAN_ERROR, "exit status 1: it says why"),
        (
            Outcome("trap", 0, "Trap", "error\n\nCaused by:\n    wasm trap: out of bounds"),
            Verdict.TRAPPED,
            "wasm trap: out of bounds",
        ),
        (
            Outcome("killed", 0, "GuestKilled", "guest killed: Panic: abort() called"),
            Verdict.ABORTED,
            "Panic: abort() called; it says why",
        ),
        (
            Outcome("killed", 0, "DeadlockError", "guest killed: Panic: deadlock: a; b"),
            Verdict.HUNG,
            "Panic: deadlock: a; b",
        ),
        (Outcome("hung", message="it was still running after 3 s"), Verdict.HUNG, None),
        (Outcome("raised", 0, "TypeError", "what?"), Verdict.MISBEHAVED, "TypeError: what?"),
    ],
)
def test_an_end_has_its_name(outcome: Outcome, expected: Verdict, detail: str | None) -> None:
    found = verdict(outcome, b"one\n", stderr="it says why\n")
    assert found == (expected, outcome.message if detail is None else detail)


def test_a_panic_s_place_and_message_are_told_together() -> None:
    killed = Outcome("killed", 0, "GuestKilled", "guest killed: Panic: abort(); it said: …")
    stderr = "thread 'main' panicked at lib.rs:1:2:\nno memory\nnote: run with RUST_BACKTRACE"
    _, detail = verdict(killed, stderr=stderr)
    assert detail == "Panic: abort(); thread 'main' panicked at lib.rs:1:2: no memory"


def test_another_output_of_a_run_that_ended_well_is_for_a_reader_to_judge() -> None:
    found, detail = verdict(Outcome("finished"), b"one\nzwei\n")
    assert (found, detail) == (Verdict.OTHER_RESULT, "it printed 'zwei' instead of 'two'")
    assert verdict(Outcome("finished"), b"one\n")[1] == "it printed 1 lines instead of 2"
    assert found.wants_backtrace


def test_a_process_that_died_misbehaved_and_one_that_stayed_hung() -> None:
    died = verdict(None, status=-11, stderr="Fatal Python error: Segmentation fault")
    expected = "the process died of SIGSEGV: Fatal Python error: Segmentation fault"
    assert died == (Verdict.MISBEHAVED, expected)
    assert verdict(None, status=None)[0] is Verdict.HUNG
