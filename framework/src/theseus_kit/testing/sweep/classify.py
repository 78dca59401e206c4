"""What a run with a fault says of the runtime, measured against the run without."""

from __future__ import annotations

import signal
from enum import Enum

from theseus_kit.errors import DeadlockError
from theseus_kit.testing.sweep.job import Outcome
from theseus_kit.values.record import NamedTuple


class Verdict(Enum):
    """What became of the runtime."""

    NO_EFFECT = "no effect"
    CLEAN_ERROR = "clean error"
    TRAPPED = "trapped"
    ABORTED = "aborted"
    HUNG = "hung"
    OTHER_RESULT = "other result"
    MISBEHAVED = "misbehaved"
    NOT_REACHED = "not reached"

    @property
    def wants_backtrace(self) -> bool:
        return self in _BAD


_BAD = (Verdict.ABORTED, Verdict.HUNG, Verdict.OTHER_RESULT, Verdict.MISBEHAVED)


class Ended(NamedTuple):
    """How a run's process ended, and what it left."""

    status: int | None
    """As subprocess has it, negative for a signal; None: it was killed for taking too long."""
    outcome: Outcome | None
    stdout: bytes
    stderr: str


_TELLING = ("panicked at", "allocation of", "thread '", "Fatal Python error", "assertion")


def classify(ended: Ended, clean: Ended, *, was_injected: bool) -> tuple[Verdict, str]:
    """Return the verdict, and a line that says why."""
    outcome, expected = ended.outcome, clean.outcome
    assert expected is not None
    if ended.status is None or (outcome is not None and outcome.kind == "hung"):
        return Verdict.HUNG, "it did not end" if outcome is None else outcome.message
    if outcome is None:
        how = f"status {ended.status}"
        if ended.status < 0:
            how = signal.Signals(-ended.status).name
        return Verdict.MISBEHAVED, f"the process died of {how}: {_telling_line(ended.stderr)}"
    if not was_injected:
        return Verdict.NOT_REACHED, "the call was not made so often this time"
    same = outcome[:4] == expected[:4] and ended.stdout == clean.stdout
    if same:
        return Verdict.NO_EFFECT, ""
    return _different(ended, clean, outcome, expected)


def _different(
    ended: Ended, clean: Ended, outcome: Outcome, expected: Outcome
) -> tuple[Verdict, str]:
    message = _first_line(outcome.message)
    if outcome.kind == "killed":
        message = message.removeprefix("guest killed: ")
        if outcome.type == DeadlockError.__name__:
            return Verdict.HUNG, message
        # A C library may pass on what was written to stderr; it is told here, and in full.
        message = message.partition("; it said:")[0]
        told = _telling_line(ended.stderr)
        return Verdict.ABORTED, f"{message}; {told}" if told else message
    if outcome.kind == "trap":
        return Verdict.TRAPPED, _last_line(outcome.message)
    if outcome.kind in ("error", "refused"):
        return Verdict.CLEAN_ERROR, f"{outcome.type}: {_last_line(outcome.message)}"
    if outcome.kind == "raised":
        if outcome.type in ("MemoryError", "OSError"):
            return Verdict.CLEAN_ERROR, f"{outcome.type}: {message}"
        return Verdict.MISBEHAVED, f"{outcome.type}: {message}"
    if outcome.status not in (0, expected.status):
        return Verdict.CLEAN_ERROR, f"exit status {outcome.status}: {_last_line(ended.stderr)}"
    return Verdict.OTHER_RESULT, _difference(clean.stdout, ended.stdout)


def _difference(clean: bytes, other: bytes) -> str:
    """The first line that is another one."""
    before, after = (text.decode(errors="replace").splitlines() for text in (clean, other))
    for old, new in zip(before, after, strict=False):
        if old != new:
            return f"it printed {new!r} instead of {old!r}"
    return f"it printed {len(after)} lines instead of {len(before)}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _last_line(text: str) -> str:
    """Where Wasmtime's errors have their root cause."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return lines[-1] if lines else ""


def _telling_line(stderr: str) -> str:
    """What the guest itself said before it died: a panic's place and message."""
    lines = [line.strip() for line in stderr.splitlines()]
    for place, line in enumerate(lines):
        if any(sign in line for sign in _TELLING):
            following = lines[place + 1] if line.endswith(":") and place + 1 < len(lines) else ""
            return f"{line} {following}".strip()
    return lines[-1] if lines else ""
