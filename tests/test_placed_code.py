"""The stack rules read off the platform's machine code, against a CPU that runs it.

The oracle is the CPU: where an invocation's frame ends is noted when it begins, and must be what
the rules say before each of its instructions, as must its caller's registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
import unicorn.x86_const as x86
from capstone import CS_ARCH_X86, CS_MODE_64, Cs
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import (
    UC_ARCH_X86,
    UC_HOOK_CODE,
    UC_MODE_64,
    UC_PROT_ALL,
    UC_PROT_EXEC,
    UC_PROT_READ,
    Uc,
    UcError,
)

import theseus_kit_tlibc
from theseus_kit.runtime.stack_arguments import machine_code
from theseus_kit_backtrace.call_frame_information import RETURN_ADDRESS_COLUMN
from theseus_kit_backtrace.placed_code import PlacedRow, rows_of
from theseus_kit_tlibc.listing import HOLE, Listing

CODE, DATA, STACK, END = 0x1000_0000, 0x2000_0000, 0x3000_0000, 0x4000_0000
SIZE = 0x10000
INSTRUCTIONS = 400
"""Executed at most of one call: a loop's later rounds are like its first ones."""
ANSWER = bytes.fromhex("31c0 c3")
"""xor eax, eax; ret: what every function that the code calls does."""
SAVED = {3: "rbx", 6: "rbp", 12: "r12", 13: "r13", 14: "r14", 15: "r15"}
"""Registers that a function must keep, by DWARF number."""
ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")

OWN_TABLE = ("SIGNAL_RETURN", "SIGNAL_RETURN_XSAVE")
"""They restore what no rule can tell, and are placed with an unwind table."""
LEAVING = ("SELF_SIGNAL", "LONGJMP")
"""They end in a jump to another place, with the stack of that place; longjmp() has given its
caller's registers up before."""


def routines() -> dict[str, bytes]:
    """All machine code of the C library by name, and the runtime's."""
    found = {f"stack arguments.{count}": machine_code(DATA, count) for count in range(7, 11)}
    for module in iter_modules(theseus_kit_tlibc.__path__):
        for name, value in vars(import_module(f"theseus_kit_tlibc.{module.name}")).items():
            if isinstance(value, Listing) and name not in OWN_TABLE:
                found.setdefault(name, value.code)
    return found


ROUTINES = routines()


class Invocation:
    """One function's run: its CFA, its return address, and the registers it must keep."""

    def __init__(self, cpu: Uc) -> None:
        stack_pointer = register(cpu, "rsp")
        self.frame_address = stack_pointer + 8
        self.return_address = word(cpu, stack_pointer)
        self.kept = {number: register(cpu, name) for number, name in SAVED.items()}


def register(cpu: Uc, name: str) -> int:
    value: int = cpu.reg_read(getattr(x86, f"UC_X86_REG_{name.upper()}"))
    return value


def word(cpu: Uc, address: int) -> int:
    return int.from_bytes(cpu.mem_read(address, 8), "little")


def check(cpu: Uc, row: Any, invocation: Invocation) -> None:
    """Compare what the rules say now with what was noted when the invocation began."""
    base = register(cpu, "rsp" if row.cfa_register == 7 else "rbp")
    assert base + row.cfa_offset == invocation.frame_address
    caller = {number: register(cpu, name) for number, name in SAVED.items()}
    for number, rule in row.rules.items():
        caller[number] = word(cpu, invocation.frame_address + rule.value)
    assert caller.pop(RETURN_ADDRESS_COLUMN) == invocation.return_address
    assert caller == invocation.kept


def instructions(code: bytes) -> Iterator[tuple[int, str]]:
    """Offset and mnemonic of each instruction."""
    for instruction in Cs(CS_ARCH_X86, CS_MODE_64).disasm(code, 0):
        yield instruction.address, instruction.mnemonic


def run(code: bytes, arguments: tuple[int, ...], rows: dict[int, PlacedRow]) -> int:
    """Run a routine from its entry to its return, or to where it faults; return what was checked.

    Its holes are filled with the address of memory that is a function and zeros, so that what it
    takes for data is empty, and what it calls returns.
    """
    code = code.replace(HOLE, DATA.to_bytes(8, "little"))
    cpu = Uc(UC_ARCH_X86, UC_MODE_64)
    cpu.mem_map(CODE, SIZE, UC_PROT_READ | UC_PROT_EXEC)
    for place in (DATA, STACK):
        cpu.mem_map(place, SIZE, UC_PROT_ALL)
    cpu.mem_write(CODE, code)
    cpu.mem_write(DATA, ANSWER)
    for slot in range(0x340, 0x400, 8):
        cpu.mem_write(DATA + slot, DATA.to_bytes(8, "little"))
    cpu.mem_write(STACK + SIZE - 0x1000, END.to_bytes(8, "little"))
    cpu.reg_write(x86.UC_X86_REG_RSP, STACK + SIZE - 0x1000)
    for index, name in enumerate((*SAVED.values(), *ARGUMENTS)):
        value = arguments[index - len(SAVED)] if index >= len(SAVED) else 0x1111 * (index + 1)
        cpu.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), value)
    mnemonics = dict(instructions(code))
    invocations: list[Invocation] = []
    before: list[int] = []
    problems: list[Exception | AssertionError] = []
    checked = 0

    def visit(*_: Any) -> None:
        nonlocal checked
        offset = register(cpu, "rip") - CODE
        stack_pointer = register(cpu, "rsp")
        while invocations and stack_pointer >= invocations[-1].frame_address:
            invocations.pop()
        if not before or is_called_from(before[-1]):
            invocations.append(Invocation(cpu))
        before.append(offset)
        row = rows[offset].row
        try:
            if row is not None:
                check(cpu, row, invocations[-1])
                checked += 1
        except AssertionError as error:
            problems.append(error)
            cpu.emu_stop()

    def is_called_from(offset: int) -> bool:
        after = CODE + offset + rows[offset].size
        return mnemonics[offset] == "call" and word(cpu, register(cpu, "rsp")) == after

    cpu.hook_add(UC_HOOK_CODE, visit, None, CODE, CODE + len(code) - 1)
    try:
        cpu.emu_start(CODE, END, count=INSTRUCTIONS)
    except UcError:
        assert before, "it has run"
    for problem in problems:
        raise problem
    return checked


VALUES = st.one_of(
    st.integers(0, 80),
    st.sampled_from([1024, 1025, 1 << 20, (1 << 20) + 1, 1 << 63, 0x10]),
    st.integers(0, 0x100).map(lambda offset: DATA + 0x1000 + offset),
)


@pytest.mark.parametrize("name", [name for name in ROUTINES if name != "LONGJMP"])
@settings(max_examples=8, deadline=None)
@given(arguments=st.tuples(*[VALUES] * len(ARGUMENTS)))
def test_the_rules_hold_at_each_instruction_that_a_cpu_executes(
    name: str, arguments: tuple[int, ...]
) -> None:
    code = ROUTINES[name]
    assert run(code, arguments, rows_of(code)) > 0


@pytest.mark.parametrize("name", ROUTINES)
def test_no_instruction_is_left_without_rules(name: str) -> None:
    rows = rows_of(ROUTINES[name])

    missing = [
        mnemonic
        for offset, mnemonic in instructions(ROUTINES[name])
        if offset not in rows or rows[offset].row is None
    ]
    assert missing == (["jmp"] if name in LEAVING else [])
