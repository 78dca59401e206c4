"""Machine code beside its source: the one must be the other, as capstone reads it."""

import pytest
from capstone import CS_ARCH_X86, CS_MODE_64, Cs

from theseus_kit_tlibc import (
    direct,
    heap_code,
    link,
    math,
    pthread_code,
    signal_frame,
    signal_send,
    signal_vectors,
    string_code,
    syscall,
)
from theseus_kit_tlibc.listing import HOLE, Listing

LISTINGS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in (
        *(direct, heap_code, link, math, pthread_code, signal_frame, signal_send, signal_vectors),
        *(string_code, syscall),
    )
    for name, value in vars(module).items()
    if isinstance(value, Listing)
}


@pytest.mark.parametrize("name", LISTINGS)
def test_every_line_disassembles_to_its_source(name):
    position = 0
    disassembler = Cs(CS_ARCH_X86, CS_MODE_64)
    for code, source in LISTINGS[name].lines:
        (instruction,) = disassembler.disasm(code, position)
        assert f"{instruction.mnemonic} {instruction.op_str}".strip() == source
        assert instruction.size == len(code)
        position += len(code)


@pytest.mark.parametrize("name", LISTINGS)
def test_every_jump_lands_on_an_instruction(name):
    starts, position = set(), 0
    for code, _ in LISTINGS[name].lines:
        starts.add(position)
        position += len(code)
    targets = [
        int(source.split()[1], 16)
        for _, source in LISTINGS[name].lines
        if source[0] == "j" or source.startswith("call 0x")
        if source.split()[1].startswith("0x")
    ]
    assert set(targets) <= starts


def test_an_address_fills_every_hole():
    code = heap_code.REALLOC.with_address(0x1122334455667788)

    assert HOLE not in code
    assert code.count(bytes.fromhex("8877665544332211")) == heap_code.REALLOC.code.count(HOLE) > 1


def test_routines_are_whole_by_themselves():
    from theseus_kit_tlibc.heap_code import CALLOC, FREE, MALLOC, REALLOC

    # Their jumps are relative to themselves, so a copy is the same but for its place.
    assert len(CALLOC.code) > len(MALLOC.code)
    assert CALLOC.code.endswith(MALLOC.code)
    assert REALLOC.code.endswith(MALLOC.code + FREE.code)
