"""Sending guest code on to another place: longjmp, made in Python."""

import capstone
import pytest

from theseus_kit.machine import create_machine, machine_names
from theseus_kit.machine.landing import LISTING, Landing
from theseus_kit.values.memory import AddressRange, Protection

# saves(export): keeps rbx, calls the export with rbx = 7, returns rbx
#   push rbx; mov ebx, 7; call rdi; mov eax, ebx; pop rbx; ret
CALLER = bytes.fromhex("53 bb07000000 ffd7 89d8 5b c3")
AFTER_CALL = 8


@pytest.fixture(params=machine_names())
def machine(request):
    machine = create_machine(request.param)
    start = machine.memory.territory.start + (1 << 24)
    machine.memory.map(start, 1 << 16, Protection.READ_WRITE)
    machine.select_thread(machine.create_thread(AddressRange.of_size(start, 1 << 15)))
    yield machine, AddressRange.of_size(start + (1 << 15), 1 << 15)
    machine.close()


def test_the_code_is_what_its_assembly_says():
    code = b"".join(bytes.fromhex(text) for text, _ in LISTING)
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    lines = [f"{one.mnemonic} {one.op_str}" for one in disassembler.disasm(code, 0)]
    assert lines == [assembly for _, assembly in LISTING]


@pytest.mark.parametrize("reenters", [False, True])
def test_an_exports_return_may_lead_to_a_frame_further_out(machine, reenters):
    machine, _ = machine
    landing = Landing(machine)
    frames = []

    def inner():
        registers = frames[0].copy()
        registers.rbx = 42
        return landing.go_on_at(registers)

    code = machine.place_code(CALLER)
    leave = machine.export(inner, 0, reenters=reenters)

    def outer():
        if not frames:
            frames.append(machine.registers())
        return landing.go_on_at(_calling(machine, code, leave))

    # The outer frame calls `outer`, which sends the guest into another frame of the same code.
    assert machine.call(code, (machine.export(outer, 0, reenters=reenters),)) == 42
    assert frames[0].rip == code + AFTER_CALL


def _calling(machine, function, argument):
    """Registers at the entry of a function that will never return to its caller."""
    registers = machine.registers()
    registers.rsp = (registers.rsp - 512 & -16) - 8
    registers.rip, registers.rdx = function, 0
    # rdi is no register that is brought back: a stub moves it there from rbx.
    stub = machine.place_code(bytes.fromhex("4889df 4157 c3"))  # mov rdi, rbx; push r15; ret
    registers.rbx, registers.r15, registers.rip = argument, function, stub
    return registers


def test_a_run_ends_where_python_says(machine):
    machine, scratch = machine
    landing = Landing(machine)
    seen = []

    def host():
        seen.append(machine.registers().rbx)
        return landing.go_on_at(landing.end_of(scratch.end, machine.registers()))

    export = machine.export(host, 0)
    code = machine.place_code(CALLER)

    def outer():
        registers = _calling(machine, code, export)
        landing.run_at(registers, scratch.end)
        return 0

    function = machine.export(outer, 0, reenters=True)
    assert machine.call(code, (function,)) == 7
    assert seen == [7]
