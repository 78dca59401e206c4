"""What a trace holds: every call that is wanted, decoded, in its place, however the run ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from theseus_kit import (
    BUNDLED,
    AssemblyError,
    Plugin,
    PluginDescription,
    UsageError,
    assemble,
    hookimpl,
)
from theseus_kit.values.linkage import CFunction

# mov eax, 9 (mmap); mov r10, rcx; syscall; ret
MMAP = bytes.fromhex("b809000000 4989ca 0f05 c3")


class CallCounter(Plugin):
    """Counts the calls that reach the functions themselves."""

    description = PluginDescription(name="counter", version="1.0")

    def __init__(self, services: Any, options: Any) -> None:
        super().__init__(services, options)
        self.calls: Counter[str] = Counter()

    @hookimpl(wrapper=True)
    def c_symbols(self) -> Any:
        return [
            symbol._replace(body=self._counted(symbol), machine_code=None)
            if isinstance(symbol, CFunction) and not symbol.machine_code_only
            else symbol
            for symbol in (yield)
        ]

    def _counted(self, function: CFunction) -> Any:
        def body(*arguments: Any) -> Any:
            self.calls[function.name] += 1
            return function.body(*arguments)

        return body


def test_a_c_function_s_call_is_a_line_with_decoded_arguments_and_result(
    traced: Any, machine: str
) -> None:
    run = traced(machine, include="c.getenv", times=False)
    run.call("getenv", run.place(b"HOME\0"))
    assert run.text() == 'main    c.getenv("HOME") = NULL\n'


def test_a_system_call_shows_flags_by_name_and_the_hook_it_asks_inside(
    traced: Any, machine: str
) -> None:
    run = traced(machine, include="syscall.mmap,hook.memory_map", times=False)
    before = len(run.text())
    code = run.platform.machine.place_code(MMAP)
    address = run.platform.machine.call(code, (0, 4096, 3, 0x22, (1 << 64) - 1, 0))
    assert run.text()[before:].splitlines() == [
        "main    syscall.mmap(NULL, 4096, PROT_READ|PROT_WRITE, "
        "MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) {",
        "main      hook.memory_map(request=<4096 bytes rw- 'mmap'>) = "
        f"{address:#x}-{address + 4096:#x} rw- 'mmap'",
        f"main    }} syscall.mmap = {address:#x}",
    ]


def test_an_error_is_shown_by_the_name_of_its_number(traced: Any, machine: str) -> None:
    run = traced(machine, include="syscall.mmap", times=False)
    code = run.platform.machine.place_code(MMAP)
    run.platform.machine.call(code, (0, 0, 3, 0x22, (1 << 64) - 1, 0))
    assert "= -1 EINVAL (mmap of 0 bytes at offset 0)" in run.text()


def test_a_system_call_that_nobody_serves_is_seen_too(traced: Any, machine: str) -> None:
    run = traced(machine, include="hook.system_call_*", times=False)
    code = bytes.fromhex("b8ab000000 0f05 c3")  # mov eax, 171; syscall; ret
    address = run.platform.machine.place_code(code)
    assert run.platform.machine.call(address, (5,)) == 2**64 - 38
    assert run.text().startswith(
        "main    hook.system_call_unanswered(number=setdomainname, arguments=[0x5, "
    )


def test_what_a_call_leaves_behind_a_pointer_is_shown_at_its_end(traced: Any) -> None:
    run = traced(include="posix_memalign", times=False)
    pointer = run.place(bytes(8))
    run.call("posix_memalign", pointer, 64, 10)
    found = run.platform.machine.memory.read_u64(pointer)
    assert run.text() == f"main    c.posix_memalign({pointer:#x}, 64, 10) = 0 memptr=[{found:#x}]\n"


def test_a_function_that_is_machine_code_is_traced_by_its_body(traced: Any, machine: str) -> None:
    run = traced(machine, include="c.malloc")
    address = run.call("malloc", 100)
    assert f"c.malloc(100) = {address:#x}" in run.text()


def test_the_number_of_calls_in_a_trace_is_the_number_of_calls(traced: Any, machine: str) -> None:
    run = traced(machine, CallCounter, include="c.*", format="json")
    api = run.platform.wasmtime
    store = api.Store()
    api.Instance(store, api.Module(store.engine, "(module (memory 1))"), [])
    counted = run.platform.plugin("counter").calls
    run.platform.close()  # what other tasks are still in is written now
    assert counted["malloc"] > 50
    assert Counter(line["name"] for line in run.lines()) == counted


def test_nesting_is_told_by_numbers_of_parents(traced: Any) -> None:
    run = traced(format="json", include="syscall.mmap,hook.memory_map")
    code = run.platform.machine.place_code(MMAP)
    run.platform.machine.call(code, (0, 4096, 3, 0x22, (1 << 64) - 1, 0))
    (outer,) = run.of("mmap")
    inner = run.of("memory_map")[-1]
    assert inner["parent"] == outer["number"]
    assert (outer["depth"], inner["depth"]) == (0, 1)
    assert outer["start_us"] <= inner["start_us"]
    assert inner["duration_us"] <= outer["duration_us"]
    assert outer["plugin"] == "tlibc"
    assert outer["arguments"]["prot"] == "PROT_READ|PROT_WRITE"
    assert outer["arguments"]["length"] == 4096


def test_only_what_is_wanted_is_wrapped(traced: Any) -> None:
    run = traced(include="hook.memory_*,c.m*", exclude="hook.memory_query,malloc")
    is_wrapped = run.platform.services.is_wrapped
    assert is_wrapped("memory_map")
    assert not is_wrapped("memory_query")
    assert not is_wrapped("tls_address")
    get = run.platform.namespace.provided
    assert get("malloc").machine_code is not None
    assert get("memcpy").machine_code is None


def test_nothing_is_wrapped_on_a_platform_without_it() -> None:
    with assemble() as platform:
        assert not any(platform.services.is_wrapped(name) for name in ("memory_map", "c_symbols"))


def test_frames_name_the_guest_functions_that_led_to_a_call(traced: Any, machine: str) -> None:
    run = traced(machine, include="syscall.mmap", format="json", frames=30)
    api = run.platform.wasmtime
    store = api.Store()
    api.Memory(store, api.MemoryType(api.Limits(1, None)))
    frames = run.of("mmap")[-1]["frames"]
    assert frames[-1] == "wasmtime_memory_new"
    assert any("mmap" in frame.lower() for frame in frames)


def test_an_error_that_ends_a_call_is_in_the_trace(traced: Any, machine: str) -> None:
    from theseus_kit import GuestKilled

    run = traced(machine, include="__stack_chk_fail", times=False)
    with pytest.raises(GuestKilled) as raised:
        run.call("__stack_chk_fail")
    assert run.text() == f"main    c.__stack_chk_fail() ! GuestKilled: {raised.value}\n"


def test_a_function_whose_body_cannot_stand_in_is_seen_in_the_one_behind_it(
    traced: Any, machine: str
) -> None:
    run = traced(machine, include="c.*raise", times=False)
    run.call("raise", 0)
    assert run.text().startswith("main    c.__raise(0, ")


def test_the_trace_is_there_when_the_process_dies_in_a_call(tmp_path: Any) -> None:
    program = """if True:
        import os, sys
        from theseus_kit import BUNDLED, Plugin, PluginDescription, assemble, hookimpl
        from theseus_kit.values.linkage import CFunction

        class Dying(Plugin):
            description = PluginDescription(name="dying", version="1.0")

            @hookimpl
            def c_symbols(self):
                return [CFunction("int die(int status)", os._exit)]

        options = {"trace": {"file": sys.argv[2], "format": sys.argv[1], "include": "c.die,c.mal*"}}
        with assemble(["trace", Dying, *BUNDLED], options=options) as platform:
            call, resolve = platform.machine.call, platform.namespace.resolve
            call(resolve("malloc"), (7,))
            call(resolve("die"), (3,))
    """
    texts = {}
    for form in ("text", "json", "perfetto"):
        file = tmp_path / form
        done = subprocess.run([sys.executable, "-c", program, form, file], check=False)
        assert done.returncode == 3
        texts[form] = file.read_text()
    assert texts["text"].splitlines()[-1].endswith("main    c.die(3)")
    assert [json.loads(line)["name"] for line in texts["json"].splitlines()] == ["malloc"]
    assert [e["ph"] for e in json.loads(texts["perfetto"] + "]")] == list("MMBEB")


def test_calls_in_progress_when_the_platform_closes_are_said_to_be_unfinished(
    traced: Any, machine: str
) -> None:
    run = traced(machine, include="hook.platform_closed,hook.task_started", format="json")
    run.platform.close()
    assert run.lines()[-1]["name"] == "platform_closed"


def test_a_reader_that_goes_away_ends_the_trace_and_not_the_run() -> None:
    program = """if True:
        from theseus_kit import BUNDLED, assemble
        with assemble(["trace", *BUNDLED]) as platform:
            for _ in range(3000):
                platform.machine.call(platform.namespace.resolve("getpid"))
        print("ran to its end")
    """
    read, write = os.pipe()
    running = subprocess.Popen(
        [sys.executable, "-c", program], stderr=write, stdout=subprocess.PIPE, text=True
    )
    os.close(write)
    os.read(read, 100)
    os.close(read)
    out, _ = running.communicate(timeout=60)
    assert (out, running.returncode) == ("ran to its end\n", 0)


def test_an_unknown_name_is_refused_with_the_one_that_was_meant(traced: Any) -> None:
    with pytest.raises(UsageError, match=r"'hook.memory_mop'.*did you mean 'hook.memory_map'"):
        traced(include="hook.memory_mop")
    with pytest.raises(UsageError, match=r"exclude|'maloc'.*did you mean 'malloc'"):
        traced(exclude="maloc")


def test_an_unknown_kind_and_an_unwritable_file_are_refused(traced: Any) -> None:
    with pytest.raises(UsageError, match="no kind of call is 'hok': there is hook, c, syscall"):
        traced(include="hok.memory_map")
    with pytest.raises(UsageError, match="cannot write /nowhere/trace: No such file"):
        assemble(["trace", *BUNDLED], options={"trace": {"file": "/nowhere/trace"}})


def test_a_count_that_is_none_is_refused(traced: Any) -> None:
    with pytest.raises(AssemblyError, match="strings and frames are counts"):
        traced(strings=-1)
