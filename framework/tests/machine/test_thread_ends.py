"""How guest threads end: killed, collected, closed, refused; and what others of them see."""

from __future__ import annotations

import contextlib
import gc

import pytest
from greenlet import GreenletExit, greenlet

from theseus_kit.errors import MachineError

# push rbx; mov rbx, rdi; call rsi; add rax, rbx; pop rbx; ret
FRAME = "53 4889fb ffd6 4801d8 5b c3"


@pytest.mark.parametrize("error", [GreenletExit, KeyboardInterrupt, LookupError])
def test_a_thread_that_is_killed_leaves_the_others_unharmed(guest, switcher, error) -> None:
    machine = guest.machine
    frame = guest.code(FRAME)
    cleaned = []
    add = guest.code("488d0437 c3")

    def deeper(remaining: int) -> int:
        try:
            switcher.switch()
            return 0 if remaining == 0 else machine.call(frame, (remaining - 1, export))
        except BaseException:
            cleaned.append(machine.call(add, (remaining, 1)))
            raise

    export = machine.export(deeper, 1, reenters=True)
    victim = switcher.start(lambda: machine.call(frame, (3, export)))
    switcher.start(lambda: machine.call(frame, (4, export)))

    def killer() -> str:
        for _ in range(3):
            switcher.switch()
        switcher.ready.remove(victim)
        me = switcher.current
        victim[1].parent = me[1]
        machine.select_thread(victim[0])
        with contextlib.suppress(error):
            victim[1].throw(error("killed"))
        machine.select_thread(me[0])
        return "killed"

    switcher.start(killer)
    assert switcher.run() == {0: None, 1: 10, 2: "killed"}
    assert cleaned == [1, 2, 3, 4]
    assert victim[1].dead
    assert machine.waiting(victim[0]) == []


def test_a_greenlet_that_python_collects_ends_its_calls(guest, switcher) -> None:
    machine = guest.machine
    frame = guest.code(FRAME)

    def abandon(_: int) -> int:
        switcher.go_to(switcher.hub)
        return 0

    def survive(_: int) -> int:
        switcher.ready.clear()
        abandoned.clear()
        gc.collect()
        return 5

    machine_exports = [
        machine.export(abandon, 1, reenters=True),
        machine.export(survive, 1, reenters=True),
        machine.export(survive, 1),
    ]
    for collecting in machine_exports[1:]:
        abandoned = [greenlet(lambda: machine.call(frame, (1, machine_exports[0])))]
        thread = switcher.new_thread()
        switcher.go_to((thread, abandoned[0]))
        switcher.current = switcher.hub
        assert len(machine.waiting(thread)) == 1
        assert machine.call(frame, (2, collecting)) == 7
        assert machine.waiting(thread) == []


def test_closing_while_other_threads_wait_leaves_them_to_fail(make_switcher) -> None:
    switcher = make_switcher()
    guest, machine = switcher.guest, switcher.machine
    outcomes = []

    def pause() -> int:
        switcher.go_to(switcher.hub)
        return 0

    def run(code: int) -> None:
        try:
            machine.call(code, (export,))
        except BaseException as error:  # noqa: BLE001
            outcomes.append(type(error))

    export = machine.export(pause, 0, reenters=True)
    code = guest.code("ffd7 c3")
    tasks = [(switcher.new_thread(), greenlet(run)) for _ in range(3)]
    for thread, runner in tasks:
        machine.select_thread(thread)
        runner.switch(code)
        machine.select_thread(guest.thread)
    machine.close()
    tasks[0][1].switch()
    tasks[1][1].throw(GreenletExit)
    tasks[2][1].throw(KeyboardInterrupt)
    assert outcomes == [MachineError, GreenletExit, KeyboardInterrupt]
    del tasks
    with pytest.raises(MachineError, match="closed"):
        machine.call(code)


def test_calls_that_do_not_return_innermost_first_are_refused(guest, switcher) -> None:
    """Greenlets of somebody else's, which know of no guest threads."""
    machine = guest.machine
    hub = greenlet.getcurrent()
    other = switcher.new_thread()
    machine.select_thread(other)
    export = machine.export(lambda: hub.switch() or 0, 0, reenters=True)
    code = guest.code("ffd7 c3")
    outcomes = []

    def run() -> None:
        try:
            machine.call(code, (export,))
        except MachineError as error:
            outcomes.append(str(error))

    runners = [greenlet(run) for _ in range(3)]
    for runner in runners:
        runner.switch()
    for runner in runners:
        runner.switch()
    assert len(outcomes) == 3
    assert all("innermost first" in text for text in outcomes)
    with pytest.raises(MachineError, match="innermost first"):
        machine.call(code, (export,))
    machine.select_thread(guest.thread)
    assert guest.run("488d4701 c3", 1) == 2


def test_selecting_inside_an_export_that_does_not_re_enter_is_refused(guest, switcher) -> None:
    machine = guest.machine
    other = switcher.new_thread()
    export = machine.export(lambda: machine.select_thread(other), 0)
    with pytest.raises(MachineError, match="does not re-enter"):
        machine.call(export)


def test_a_nested_call_starts_with_direction_and_trap_flag_clear(guest) -> None:
    machine = guest.machine
    # pushfq; pop rax; and eax, 0x500; ret
    flags = guest.code("9c 58 2500050000 c3")
    found = []

    def handler(context) -> None:
        found.append(machine.call(flags))
        context.registers.rflags &= ~0x100

    guest.on_exception(handler)
    # std; pushfq; or qword [rsp], 0x100; popfq; nop; nop; cld; ret
    guest.run("fd 9c 48810c2400010000 9d 90 90 fc c3")
    assert found == [0]


def test_machines_of_two_platforms_switch_inside_each_other_s_calls(make_switcher) -> None:
    first, second = make_switcher(), make_switcher()
    inner = second.guest.code(FRAME)
    pause = second.machine.export(lambda _: second.switch(), 1, reenters=True)
    into_second = first.machine.export(
        lambda value: second.machine.call(inner, (value, pause)), 1, reenters=True
    )
    outer = first.guest.code(FRAME)

    def both(value: int) -> int:
        thread = first.new_thread()
        first.machine.select_thread(thread)
        return first.machine.call(outer, (value, into_second))

    for value in range(4):
        second.start(lambda value=value: both(value))
    assert second.run() == {value: 2 * value for value in range(4)}


def test_a_machine_that_waits_in_an_export_that_does_not_re_enter_refuses_others(
    make_switcher,
) -> None:
    first, second = make_switcher().guest, make_switcher()
    pause = second.machine.export(lambda: second.switch(), 0, reenters=True)
    into_second = first.machine.export(lambda: second.machine.call(pause), 0)
    refused = []

    def other() -> None:
        try:
            first.run("488d4701 c3", 1)
        except MachineError as error:
            refused.append(str(error))

    second.start(lambda: first.machine.call(into_second))
    second.start(other)
    second.run()
    assert len(refused) == 1
    assert first.run("488d4701 c3", 1) == 2
