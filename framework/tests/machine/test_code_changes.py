"""What guest code meets after its memory, or its code, was changed under it."""

from __future__ import annotations

import pytest

from theseus_kit.values.memory import Protection

RW, R, RX = Protection.READ_WRITE, Protection.READ, Protection.READ_EXECUTE
RETURN_1, RETURN_2 = bytes.fromhex("b801000000c3"), bytes.fromhex("b802000000c3")


def ways(guest, action):
    """Guest code that has ``action`` done by an export, a re-entering one, or a system call.

    ::

        mov rax, [rdi]; mov [rdi], rax; call rsi | syscall; mov [rdi], rax | mov rax, [rdi]; ret
    """
    return {
        "export": guest.machine.export(action, 0),
        "reentering export": guest.machine.export(action, 0, reenters=True),
        # mov eax, 1; syscall; ret
        "system call": guest.code("b801000000 0f05 c3"),
    }


WAYS = ["export", "reentering export", "system call"]


@pytest.mark.parametrize("way", WAYS)
def test_a_permission_taken_away_is_gone_at_the_next_access(guest, way) -> None:
    def action(*_: int) -> int:
        guest.memory.protect(guest.data, 0x1000, R)
        return 0

    faults = []
    # push rdi; mov [rdi], rax (fills the TLB); call rsi; mov rdi, [rsp]; mov [rdi], rax; pop rdi
    code = guest.code("57 488907 ffd6 488b3c24 488907 5f c3")
    leave = guest.code("5f c3")

    def handler(context) -> None:
        faults.append((context.instruction_pointer, context.page_fault.accessed_address))
        context.registers.rip = leave

    guest.machine.set_handlers(handler, action)
    guest.machine.call(code, (guest.data, ways(guest, action)[way]))
    assert faults == [(code + 10, guest.data)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pages", [1, 300])
def test_unmapped_pages_are_gone_and_others_stay(guest, way, pages) -> None:
    size = pages * 0x1000
    guest.memory.map(guest.free, size + 0x1000, RW)
    # touch every page: mov rax, rdi; mov ecx, pages; mov [rax], cl; add rax, 4096; loop
    touch = guest.code("4889f8 4889f1 8808 480500100000 e2f6 c3")
    guest.machine.call(touch, (guest.free, pages + 1))

    def action(*_: int) -> int:
        guest.memory.unmap(guest.free, size)
        return 0

    faults = []
    leave = guest.code("5b c3")

    def handler(context) -> None:
        faults.append(context.page_fault.accessed_address)
        context.registers.rip = leave

    guest.machine.set_handlers(handler, action)
    # push rbx; mov rbx, rdi; call rsi; mov al, [rbx]; pop rbx; ret
    code = guest.code("53 4889fb ffd6 8a03 5b c3")
    target = ways(guest, action)[way]
    for page in (size, size - 0x1000, 0):
        guest.machine.call(code, (guest.free + page, target))
    assert faults == [guest.free + size - 0x1000, guest.free]


@pytest.mark.parametrize("way", WAYS)
def test_a_permission_added_works_at_the_next_access(guest, way) -> None:
    guest.memory.protect(guest.data, 0x1000, R)

    def action(*_: int) -> int:
        guest.memory.protect(guest.data, 0x1000, RW)
        return 0

    guest.machine.set_handlers(lambda context: None, action)
    # push rbx; mov rbx, rdi; mov rax, [rdi]; call rsi; mov dword [rbx], 7; mov eax, [rbx]; pop rbx
    code = guest.code("53 4889fb 488b07 ffd6 c70307000000 8b03 5b c3")
    assert guest.machine.call(code, (guest.data, ways(guest, action)[way])) == 7


def test_protections_changed_between_calls_count(guest) -> None:
    guest.give_up_on_exception()
    store = guest.code("488907 c3")
    guest.machine.call(store, (guest.data,))
    guest.memory.protect(guest.data, 0x1000, R)
    guest.machine.call(store, (guest.data,))
    guest.memory.protect(guest.data, 0x1000, RW)
    guest.machine.call(store, (guest.data,))
    assert [c.page_fault.accessed_address for c in guest.contexts] == [guest.data]


def test_an_error_after_a_protection_change_does_not_lose_the_change(guest) -> None:
    def action() -> int:
        guest.memory.protect(guest.data, 0x1000, R)
        raise LookupError

    store = guest.code("488907 c3")
    guest.machine.call(store, (guest.data,))
    with pytest.raises(LookupError):
        guest.machine.call(guest.machine.export(action, 0))
    guest.give_up_on_exception()
    guest.machine.call(store, (guest.data,))
    assert len(guest.contexts) == 1


def test_code_that_python_rewrites_runs_anew(guest) -> None:
    guest.memory.map(guest.free, 0x1000, Protection.READ_WRITE_EXECUTE)
    for code, value in ((RETURN_1, 1), (RETURN_2, 2), (RETURN_1, 1)):
        guest.memory.write(guest.free, code)
        assert guest.machine.call(guest.free) == value


def test_code_rewritten_while_not_executable_runs_anew(guest) -> None:
    for code, value in ((RETURN_1, 1), (RETURN_2, 2)):
        guest.memory.map(guest.free, 0x1000, RW)
        guest.memory.write(guest.free, code)
        guest.memory.protect(guest.free, 0x1000, RX)
        assert guest.machine.call(guest.free) == value
    guest.memory.protect(guest.free, 0x1000, RW)
    guest.memory.write(guest.free, RETURN_1)
    guest.memory.protect(guest.free, 0x1000, RX)
    assert guest.machine.call(guest.free) == 1


def test_code_that_the_guest_rewrites_runs_anew(guest) -> None:
    guest.memory.map(guest.free, 0x1000, Protection.READ_WRITE_EXECUTE)
    guest.memory.write(guest.free, RETURN_1)
    assert guest.machine.call(guest.free) == 1
    # mov byte ptr [rdi+1], 2; call rdi; ret
    assert guest.run("c6470102 ffd7 c3", guest.free) == 2
    assert guest.run("c6470103 ffd7 c3", guest.free) == 3


def test_code_the_guest_rewrites_while_not_executable_runs_anew(guest) -> None:
    guest.memory.map(guest.free, 0x20000, RW)
    guest.memory.write(guest.free, RETURN_1)
    for value in (1, 5, 9):
        guest.memory.protect(guest.free, 0x20000, RW)
        guest.run("40887701 c3", guest.free, value)  # mov [rdi+1], sil
        guest.memory.protect(guest.free, 0x20000, RX)
        assert guest.machine.call(guest.free) == value


def test_discarded_code_is_gone(guest) -> None:
    guest.memory.map(guest.free, 0x1000, RW)
    guest.memory.write(guest.free, RETURN_1)
    guest.memory.protect(guest.free, 0x1000, RX)
    assert guest.machine.call(guest.free) == 1
    guest.memory.discard(guest.free, 0x1000)
    guest.give_up_on_exception()
    guest.machine.call(guest.free)  # add [rax], al: rax is the address called
    assert guest.contexts


def test_taking_execution_away_stops_code_that_has_run(guest) -> None:
    guest.give_up_on_exception()
    guest.memory.map(guest.free, 0x1000, RW)
    guest.memory.write(guest.free, RETURN_1)
    guest.memory.protect(guest.free, 0x1000, RX)
    guest.machine.call(guest.free)
    guest.memory.protect(guest.free, 0x1000, R)
    guest.machine.call(guest.free)
    assert [c.page_fault.accessed_address for c in guest.contexts] == [guest.free]


def test_the_tlb_grows_under_a_large_working_set_and_changes_nothing(emulated_guest) -> None:
    guest = emulated_guest
    pages = 3000
    guest.memory.map(guest.free, pages * 0x1000, RW)
    # mov rax, rdi; mov rcx, rsi; add qword [rax], 1; add rax, 4096; loop
    touch = guest.code("4889f8 4889f1 48830001 480500100000 e2f4 c3")
    fills = []
    for _ in range(12):
        before = guest.machine._translation.fills
        guest.machine.call(touch, (guest.free, pages))
        fills.append(guest.machine._translation.fills - before)
    assert all(
        guest.memory.read_u64(guest.free + page * 0x1000) == 12 for page in range(0, pages, 100)
    )
    assert fills[-1] < pages // 10
