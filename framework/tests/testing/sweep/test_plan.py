"""Which faults a trace leads to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import UsageError
from theseus_kit.testing.sweep.plan import NO_GUEST, Plan, make_plan


class Trace:
    """Writes a trace as the plugin ``trace`` does."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._records: list[dict[str, Any]] = []

    def call(self, kind: str, name: str, *frames: str, parent: int | None = None) -> int:
        number = len(self._records) + 1
        self._records.append(
            {"number": number, "parent": parent, "kind": kind, "name": name, "frames": frames}
        )
        return number

    def plan(self, can_report: tuple[str, ...] = ("malloc", "open"), **limits: Any) -> Plan:
        # Inner calls end, and are written, first.
        lines = [json.dumps(record) for record in reversed(self._records)]
        self.file.write_text("".join(f"{line}\n" for line in lines))
        return make_plan(self.file, can_report, **{"per_site": 1, "per_phase": 9, **limits})


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(tmp_path / "trace")


def rules(plan: Plan) -> list[str]:
    return [fault.rule for fault in plan.faults]


def test_a_call_is_failed_once_for_each_place_it_is_made_from(trace: Trace) -> None:
    for place in ("f", "g", "f", "f", "g"):
        trace.call("c", "malloc", place, "api")
    plan = trace.plan()
    assert rules(plan) == ["c.malloc:1=ENOMEM", "c.malloc:2=ENOMEM"]
    assert [fault.alike for fault in plan.faults] == [3, 2]
    assert plan.calls == {"c.malloc": 5}


def test_more_of_each_place_are_tried_if_asked_for(trace: Trace) -> None:
    for place in ("f", "g", "f", "f"):
        trace.call("c", "malloc", place, "api")
    assert rules(trace.plan(per_site=2)) == [
        "c.malloc:1=ENOMEM",
        "c.malloc:3=ENOMEM",
        "c.malloc:2=ENOMEM",
    ]


def test_places_of_a_phase_beyond_the_limit_are_spread_and_counted(trace: Trace) -> None:
    for place in range(9):
        trace.call("c", "malloc", f"f{place}", "compile")
    trace.call("c", "malloc", "f", "run")
    plan = trace.plan(per_phase=3)
    assert [fault.occurrence for fault in plan.faults] == [1, 5, 9, 10]
    assert plan.left_out == 6


def test_functions_without_a_way_to_report_an_error_are_not_failed(trace: Trace) -> None:
    trace.call("c", "memcpy", "f")
    trace.call("hook", "task_started")
    trace.call("hook", "symbolicate")
    assert rules(trace.plan()) == []


def test_a_hook_is_failed_unless_it_is_asked_by_what_is_failed_itself(trace: Trace) -> None:
    mmap = trace.call("syscall", "mmap", "f", "api")
    trace.call("hook", "memory_map", "f", "api", parent=mmap)
    address = trace.call("c", "__tls_get_addr", "f", "api")
    tls = trace.call("hook", "tls_address", "f", "api", parent=address)
    trace.call("hook", "memory_map", "f", "api", parent=tls)
    trace.call("hook", "memory_map")
    plan = trace.plan()
    assert rules(plan) == [
        "syscall.mmap:1=ENOMEM",
        "hook.tls_address:1=ENOMEM",
        "hook.memory_map:3=ENOMEM",
    ]
    assert [fault.phase for fault in plan.faults] == ["api", "api", NO_GUEST]


def test_each_call_fails_with_what_suits_it_or_all_with_one(trace: Trace) -> None:
    trace.call("c", "open", "f")
    trace.call("syscall", "futex", "f")
    trace.call("syscall", "sigaltstack", "f")
    assert rules(trace.plan()) == [
        "c.open:1=EMFILE",
        "syscall.futex:1=ENOSYS",
        "syscall.sigaltstack:1=ENOMEM",
    ]
    assert {fault.errno for fault in trace.plan(error="EPERM").faults} == {"EPERM"}
    with pytest.raises(UsageError, match="--errno ENOPE: no error number has this name"):
        trace.plan(error="ENOPE")


def test_only_calls_that_patterns_mean_are_failed(trace: Trace) -> None:
    trace.call("c", "open", "f")
    trace.call("syscall", "mmap", "f")
    trace.call("c", "malloc", "f")
    assert rules(trace.plan(only="syscall.*,malloc")) == [
        "syscall.mmap:1=ENOMEM",
        "c.malloc:1=ENOMEM",
    ]
