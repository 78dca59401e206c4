"""Calls without Python in between, and where they do nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from theseus_kit.errors import MachineError

MASK = (1 << 64) - 1
# lea rax, [rdi + rsi*2]; lea rax, [rax + rdx*4]; lea rax, [rax + rcx*8]; add rax, r8; add rax, r9
WEIGHED = "488d0477 488d0490 488d04c8 4c01c0 4c01c8 c3"


def direct(guest, address: int) -> Callable[..., int | None]:
    found = guest.machine.direct_call(address)
    if found is None:
        pytest.skip("this machine has no direct calls")
    return lambda *arguments: found.function(*found.first, *arguments)


@pytest.mark.parametrize("count", range(7))
def test_a_direct_call_passes_up_to_six_integers(guest, count) -> None:
    code = guest.code(WEIGHED)
    arguments = [7**position for position in range(count)]
    guest.machine.call(code, [0] * 6)
    assert direct(guest, code)(*arguments, *[0] * (6 - count)) == guest.machine.call(
        code, arguments + [0] * (6 - count)
    )


def test_the_result_of_a_direct_call_is_unsigned(guest) -> None:
    code = guest.code("4889f8 c3")  # mov rax, rdi
    guest.machine.call(code, [0])
    assert direct(guest, code)(-1) == MASK


def test_a_direct_call_goes_below_the_guests_frame_inside_an_export(guest) -> None:
    code = guest.code("4889f8 c3")  # mov rax, rdi
    call = direct(guest, code)
    export = guest.machine.export(lambda number: call(number) + 1, 1, reenters=True)
    assert guest.machine.call(export, [41]) == 42


def test_nothing_is_done_inside_an_export_that_does_not_reenter(guest) -> None:
    call = direct(guest, guest.code("ff07 c3"))  # inc dword ptr [rdi]
    found: list[int | None] = []

    def inside() -> int:
        found.append(call(0))
        return 5

    assert guest.machine.call(guest.machine.export(inside, 0)) == 5
    assert found == [None]


def test_nothing_is_done_by_another_thread_while_a_call_is_in_progress(guest) -> None:
    call = direct(guest, guest.code("ff07 c3"))  # inc dword ptr [rdi]
    found: list[int | None] = []

    def inside() -> int:
        thread = threading.Thread(target=lambda: found.append(call(0)))
        thread.start()
        thread.join()
        return 5

    assert guest.machine.call(guest.machine.export(inside, 0, reenters=True)) == 5
    assert found == [None]


def test_nothing_is_done_once_the_machine_is_closed(guest) -> None:
    code = guest.code("c3")  # ret
    guest.machine.call(code)
    call = direct(guest, code)
    assert call() is not None
    guest.machine.close()
    assert call() is None
    with pytest.raises(MachineError):
        guest.machine.call(code)


def test_what_an_export_raises_comes_out_of_a_direct_call(guest) -> None:
    def fail() -> int:
        raise KeyError("export")

    export = guest.machine.export(fail, 0)
    guest.machine.call(guest.code("c3"))
    call = direct(guest, export)
    with pytest.raises(KeyError, match="export"):
        call()
