"""The bytes of the native machine's code are the assembly that stands beside them."""

from __future__ import annotations

import re

import capstone
import pytest

from theseus_kit.machine.native import layout, own_code, prepared
from theseus_kit.machine.native.code import entering, leaving, link, mapping, processor, signals
from theseus_kit.machine.native.code.link import Instruction, read_listing

CODE, DATA = 0x7000_0000_0000, 0x7000_0001_0000
LISTINGS = {
    "entering": entering.LISTING,
    "leaving": leaving.LISTING,
    "signals": signals.LISTING,
    "processor": processor.LISTING,
    "mapping": mapping.LISTING,
}


def instructions(listing: str) -> list[Instruction]:
    return [item for item in read_listing(listing) if isinstance(item, Instruction)]


def labels_of(listing: str) -> list[str]:
    return [item for item in read_listing(listing) if isinstance(item, str)]


ALL = tuple(LISTINGS.values())
LABELS = {label for listing in ALL for label in labels_of(listing)}
NAMES = sorted(
    {i.reference for listing in ALL for i in instructions(listing) if i.reference} - LABELS
)
PLACES = {name: DATA + 16 * index for index, name in enumerate(NAMES)}


def disassemble(code: bytes, address: int) -> list[capstone.CsInsn]:
    return list(capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64).disasm(code, address))


def plain(text: str) -> str:
    """One spelling: numbers signed and decimal, names of the layout replaced, sums worked out."""
    constants = layout.constants()
    text = re.sub(r"^(rep \w+) .*", r"\1", text)  # their operands are implied
    text = re.sub(r"\b[A-Z][A-Z_0-9]+\b", lambda m: str(constants.get(m[0], m[0])), text)
    text = re.sub(r"\b0x([0-9a-f]+)\b", lambda m: str(int(m[1], 16)), text)
    text = re.sub(r"\b(\d{19,20})\b", lambda m: str(int(m[1]) - (int(m[1]) >> 63 << 64)), text)
    text = re.sub(r"\b(\d+) ([+-]) (\d+)", lambda m: str(eval(m[0])), text)
    return text.replace(" + 0]", "]").replace("*1]", "]").replace("*1 ", " ").replace(" ", "")


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_s_bytes_are_its_assembly(name: str) -> None:
    linked = link(ALL, CODE, PLACES)
    start = linked.labels[labels_of(LISTINGS[name])[0]]
    written = instructions(LISTINGS[name])
    size = sum(len(instruction.code) for instruction in written)
    code = linked.code[start - CODE : start - CODE + size]
    decoded = disassemble(code, start)
    assert len(decoded) == len(written)
    for instruction, found in zip(written, decoded, strict=True):
        assembly = instruction.assembly
        reference = instruction.reference
        if reference is not None:
            target = linked.labels.get(reference) or PLACES[reference]
            if "[rip" in assembly:
                distance = target - found.address - found.size
                sign = "+" if distance >= 0 else "-"
                assembly = assembly.replace(f"+ {reference}", f"{sign} {abs(distance):#x}")
            else:
                assembly = assembly.replace(f" {reference}", f" {target:#x}")
        assert plain(assembly) == plain(f"{found.mnemonic} {found.op_str}")


def test_every_reference_has_a_target() -> None:
    linked = link(ALL, CODE, PLACES)
    assert set(linked.labels) == LABELS
    for listing in ALL:
        for instruction in instructions(listing):
            assert instruction.reference is None or instruction.reference in LABELS | set(NAMES)


def test_an_export_s_stub_loads_its_number_and_goes_the_way_out() -> None:
    first, second = disassemble(own_code.export_stub(77, 0x10040, 0x10000)[:11], 0x10040)
    assert (first.mnemonic, first.op_str) == ("mov", "r11d, 0x4d")
    assert (second.mnemonic, second.op_str) == ("jmp", "0x10000")


def test_the_way_out_loads_the_context_and_jumps() -> None:
    code = own_code.way_out(0x1122_3344_5566_7788, 0x7766_5544_3322_1100)
    first, second = disassemble(code[:16], 0)
    assert (first.mnemonic, first.op_str) == ("movabs", "r10, 0x1122334455667788")
    assert (second.mnemonic, second.op_str) == ("jmp", "qword ptr [rip]")
    assert int.from_bytes(code[16:], "little") == 0x7766_5544_3322_1100


def test_a_prepared_call_s_stub_loads_its_slot_and_jumps() -> None:
    first, second = disassemble(prepared.stub(0x1000, 0x9000, 0x100)[:12], 0x1000)
    assert (first.mnemonic, first.op_str) == ("lea", "r11, [rip + 0x7ff9]")
    assert (second.mnemonic, second.op_str) == ("jmp", "0x100")
    assert prepared.STUB_ASSEMBLY == "lea r11, [rip + slot]; jmp prepared"
