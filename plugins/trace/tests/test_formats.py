"""The formats for programs are what their readers take: trace events, JSON lines, text."""

from __future__ import annotations

import json
from typing import Any

from theseus_kit_trace.guest_memory import quote
from theseus_kit_trace.machine_readable import JsonLines, TraceEvents
from theseus_kit_trace.spans import CallFormat, Outcome, Span
from theseus_kit_trace.text import TextFormatter

ODD = 'a "quoted" \\ text\nwith ends, % and é'


def a_span(number: int = 1, task: int = 1, depth: int = 0, **more: Any) -> Span:
    span = Span()
    call = CallFormat("c.f", "c", "f", "tlibc", ("text", "count"), (False, True))
    fields = {
        "call": call,
        "number": number,
        "parent": 0,
        "depth": depth,
        "task": task,
        "task_name": f"task {task}",
        "start": 1500 * number,
        "arguments": (ODD, "7"),
        "values": (0, 7),
        "frames": (),
        **more,
    }
    for name, value in fields.items():
        setattr(span, name, value)
    return span


def test_trace_events_begin_and_end_in_pairs_on_a_named_track(traced: Any, machine: str) -> None:
    run = traced(machine, format="perfetto", include="c.*,syscall.*,hook.memory_*")
    api = run.platform.wasmtime
    store = api.Store()
    api.Instance(store, api.Module(store.engine, "(module (memory 1))"), [])
    run.platform.close()
    events = json.loads(run.text())
    stacks: dict[int, list[dict[str, Any]]] = {}
    last = 0.0
    for event in events:
        assert event["ph"] in "BEM"
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
            continue
        assert event["ts"] >= last  # of one host thread: never back in time
        last = event["ts"]
        stack = stacks.setdefault(event["tid"], [])
        if event["ph"] == "B":
            assert event["name"]
            assert event["cat"] in ("hook", "c", "syscall")
            stack.append(event)
        else:
            stack.pop()
    assert not any(stacks.values())
    tracks = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert tracks[run.platform.tasks.current.id] == "main"
    assert set(stacks) <= set(tracks)


def test_any_text_survives_in_json() -> None:
    span = a_span()
    outcome = Outcome(ODD, False, (("buf", ODD),), "ENOMEM", ODD, "Error")
    (line,) = JsonLines(times=True).end(span, outcome, 9000).splitlines()
    record = json.loads(line)
    assert record["arguments"] == {"text": ODD, "count": 7}
    assert record["result"] == ODD
    assert record["outputs"] == {"buf": ODD}
    assert record["error"] == {"type": "Error", "errno": "ENOMEM", "message": ODD}
    events = TraceEvents(ODD)
    text = events.opening() + events.begin(span) + events.end(span, outcome, 9000)
    assert json.loads(text + events.closing([], 9000))[0]["args"]["name"] == ODD


def test_a_task_that_is_switched_to_ends_the_open_line() -> None:
    text = TextFormatter(times=False)
    first = a_span(1, 1, task_name="main")
    second = a_span(2, 2, task_name="main")
    written = text.begin(first) + text.begin(second)
    written += text.end(second, Outcome("0", True), 0) + text.end(first, Outcome("1", True), 0)
    lines = written.replace(ODD, "…").splitlines()
    assert lines == ["main    c.f(…, 7) {", "main/2  c.f(…, 7) = 0", "main    } c.f = 1"]


def test_calls_that_are_not_over_are_closed_from_the_inside() -> None:
    text = TextFormatter(times=False)
    spans = [a_span(1), a_span(2, depth=1)]
    for span in spans:
        text.begin(span)
    assert text.closing(spans, 0).splitlines() == [
        " {",
        "task 1    } c.f = ? <unfinished>",
        "task 1  } c.f = ? <unfinished>",
    ]


def test_strings_are_quoted_so_that_an_octal_escape_ends_where_it_should() -> None:
    assert quote(b"\x011\x01x\t") == r'"\0011\1x\t"'
