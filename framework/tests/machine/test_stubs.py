"""Machine code says what stands beside it, and libunicorn's numbers are the package's own."""

from __future__ import annotations

import re

import capstone
import pytest

from theseus_kit.machine.emulated import library, stubs

OWN = 0x1000_0000_0000
SLOTS = {
    "export": stubs.EXPORT,
    "arguments": stubs.ARGUMENTS,
    "stack_pointer": stubs.STACK_POINTER,
    "result": stubs.RESULT,
    "attention": stubs.ATTENTION,
    "reason": stubs.REASON,
    "call_stack_pointer": stubs.CALL_STACK_POINTER,
    "call_target": stubs.CALL_TARGET,
    "call_arguments": stubs.CALL_ARGUMENTS,
    "call_vectors": stubs.CALL_VECTORS,
    "saved_rax": stubs.SAVED_RAX,
    "saved_rcx": stubs.SAVED_RCX,
    "flush_count": stubs.FLUSH_COUNT,
    "flush_pages": stubs.FLUSH_PAGES,
}
LABELS = {  # part: label: index of the instruction it stands before
    "answered": {"attention": 14, "again": 18, "failed": 25},
    "flush": {"again": 3, "done": 9},
}


def disassemble(code: bytes, address: int) -> list[capstone.CsInsn]:
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    return list(decoder.disasm(code, address))


def plain(text: str) -> str:
    text = re.sub(r"(qword|dword|byte) ptr ", "", text.strip())
    text = text.replace("*1", "").replace("0xffffffffffffffff", "-1")
    return re.sub(r"\b0x([0-9a-f]+)\b", lambda m: str(int(m[1], 16)), text).replace(" ", "")


@pytest.mark.parametrize("part", stubs.PARTS)
def test_the_bytes_of_a_shared_stub_are_its_assembly(part: str) -> None:
    instructions = stubs.PARTS[part]
    address = stubs.shared_stubs(OWN)[1][part]
    found = disassemble(stubs.encode(instructions, address, OWN), address)
    assert len(found) == len(instructions)
    for instruction, decoded in zip(instructions, found, strict=True):
        text = f"{decoded.mnemonic} {decoded.op_str}"
        if instruction.slot is not None:
            target = decoded.address + decoded.size + decoded.disp
            assert target == OWN + 8 * instruction.slot
            name, _, offset = re.search(r"\[(\w+)(\+(\d+))?\]", instruction.assembly).groups()
            assert SLOTS[name] + int(offset or 0) == instruction.slot
            text = re.sub(r"\[rip [+-] \w+\]", re.search(r"\[.*?\]", instruction.assembly)[0], text)
        jump = re.fullmatch(r"(j\w+) (\w+)", instruction.assembly)
        if jump is not None:
            text = f"{decoded.mnemonic} {jump[2]}"
            assert int(decoded.op_str, 16) == found[LABELS[part][jump[2]]].address
        assert plain(text) == plain(instruction.assembly)


def test_an_export_stub_loads_its_number_and_jumps() -> None:
    load, jump = disassemble(stubs.export_stub(0x1234, OWN, OWN - 0x100), OWN)
    assert (load.mnemonic, load.op_str) == ("mov", "r11d, 0x1234")
    assert (jump.mnemonic, jump.op_str) == ("jmp", hex(OWN - 0x100))


def test_a_prepared_call_has_its_arguments_built_in() -> None:
    code = stubs.prepared_call(OWN, OWN + 0x102000, 0x77, (1, 2, 3, 4, 5, 6), OWN + 0x1000)
    text = [f"{i.mnemonic} {i.op_str}".strip() for i in disassemble(code, OWN + 0x102000)]
    assert text[0] == "cld"
    assert text[2:] == [
        *("movabs rdi, 1", "movabs rsi, 2", "movabs rdx, 3", "movabs rcx, 4", "movabs r8, 5"),
        *("movabs r9, 6", "xor eax, eax", "xor ebp, ebp", "movabs r11, 0x77", "call r11"),
        f"jmp {OWN + 0x1000:#x}",
    ]


def test_the_shared_stubs_fit_their_page() -> None:
    assert len(stubs.shared_stubs(OWN)[0]) <= 0x1000


def test_the_constants_are_those_of_the_unicorn_package() -> None:
    from unicorn import unicorn_const, x86_const

    prefixed = {
        **{name: f"UC_{name}" for name in ("ARCH_X86", "MODE_64")},
        **{name: f"UC_{name}" for name in vars(library) if re.match(r"(ERR|HOOK|MEM)_", name)},
    }
    for name, theirs in prefixed.items():
        assert getattr(library, name) == getattr(unicorn_const, theirs), name
    for name in vars(library):
        if re.match(r"(REG|INS)_", name):
            assert getattr(library, name) == getattr(x86_const, f"UC_X86_{name}"), name


def test_the_control_codes_are_those_of_the_unicorn_package() -> None:
    from unicorn import unicorn_const as const

    def control(kind: int, count: int, direction: int) -> int:
        return kind | count << 26 | direction << 30

    write, read = const.UC_CTL_IO_WRITE, const.UC_CTL_IO_READ
    assert control(const.UC_CTL_TB_REMOVE_CACHE, 2, write) == library.CTL_TB_REMOVE_CACHE
    assert control(const.UC_CTL_TLB_FLUSH, 0, write) == library.CTL_TLB_FLUSH
    assert control(const.UC_CTL_TLB_TYPE, 1, write) == library.CTL_TLB_TYPE
    assert control(const.UC_CTL_TCG_BUFFER_SIZE, 1, read) == library.CTL_TCG_BUFFER_SIZE_READ
