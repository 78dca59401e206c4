"""The machine code that the host runs for the emulated machine says what stands beside it."""

from __future__ import annotations

import ctypes
import re

import capstone
import pytest

from theseus_kit.machine.emulated import host_code
from theseus_kit.machine.emulated.host_code import NOTE, TRANSLATE, HostCode, assembled

LABELS = {  # label: index of the instruction it stands before
    "translate": {"again": 11, "done": 24},
    "note": {"done": 6},
}

pytestmark = pytest.mark.skipif(not host_code.runs_here(), reason="for x86-64 hosts")


def plain(text: str) -> str:
    text = re.sub(r"(qword|dword) ptr ", "", text.strip())
    return re.sub(r"\b0x([0-9a-f]+)\b", lambda m: str(int(m[1], 16)), text).replace(" ", "")


@pytest.mark.parametrize(("name", "routine"), [("translate", TRANSLATE), ("note", NOTE)])
def test_the_bytes_of_a_host_routine_are_its_assembly(name, routine) -> None:
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = list(decoder.disasm(assembled(routine), 0))
    assert len(found) == len(routine)
    for instruction, decoded in zip(routine, found, strict=True):
        jump = re.fullmatch(r"(j\w+) (\w+)", instruction.assembly)
        if jump is None:
            assert plain(f"{decoded.mnemonic} {decoded.op_str}") == plain(instruction.assembly)
        else:
            assert decoded.mnemonic == jump[1]
            assert int(decoded.op_str, 16) == found[LABELS[name][jump[2]]].address


@pytest.fixture
def asked():
    """A stand-in for uc_ctl: what it was asked for, and what it answers for which address."""

    class Asked(list):
        def __init__(self) -> None:
            super().__init__()
            self.errors: dict[int, int] = {}
            self.code = HostCode()
            kind = ctypes.CFUNCTYPE(
                *(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64, ctypes.c_void_p)
            )
            self.function = kind(self.answer)

        def answer(self, engine, request, address, block) -> int:
            assert block % 16 == 0
            self.append((engine, request, address))
            return self.errors.get(address, 0)

        def run(self, addresses: list[int], stop: int = 0) -> int:
            wanted = (ctypes.c_uint64 * len(addresses))(*addresses)
            ended = ctypes.c_uint32(stop)
            control = ctypes.cast(self.function, ctypes.c_void_p)
            return self.code.translate(
                *(7, ctypes.addressof(wanted), len(addresses), control, ctypes.addressof(ended))
            )

    return Asked()


def test_each_block_is_asked_for_in_turn(asked) -> None:
    assert asked.run([0x1000, 0xFFFF_FFFF_FFFF_F000, 3]) == 0
    request = 8 | 2 << 26 | 3 << 30
    assert asked == [(7, request, 0x1000), (7, request, 0xFFFF_FFFF_FFFF_F000), (7, request, 3)]


def test_a_block_that_is_refused_is_the_last(asked) -> None:
    asked.errors = {2: 21}
    assert asked.run([1, 2, 3]) == 2
    assert [address for _, _, address in asked] == [1, 2]


def test_nothing_is_asked_for_once_it_is_to_stop(asked) -> None:
    assert asked.run([1, 2], stop=1) == 2
    assert asked == []


def test_blocks_are_noted_up_to_the_limit() -> None:
    code = HostCode()
    note = ctypes.CFUNCTYPE(None, *(ctypes.c_void_p,) * 4)(code.note)
    noted = (ctypes.c_uint64 * 5)(0, 2)
    for address in (0x1234_5678_9ABC, 2, 3):
        block = (ctypes.c_uint64 * 2)(address, 0)
        note(1, ctypes.addressof(block), 2, ctypes.addressof(noted))
    assert list(noted) == [2, 2, 0x1234_5678_9ABC, 2, 0]
