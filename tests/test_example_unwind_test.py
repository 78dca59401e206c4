"""examples/unwind_test: the three runs of Theseus's program, and the order of its drops."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import capstone
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "unwind_test"
PANIC = "Panic: intended panic"
FAULT = "Exception 0xE(14)"


@pytest.fixture(params=["c++", "assembly"])
def guest(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "c++" and shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    return name


def lines_of(*arguments: str) -> list[str]:
    command = [sys.executable, str(EXAMPLE / "unwind_test.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["3", "2", "1", PANIC]),
        (["-e"], ["3", "2", "1", FAULT]),
        (["-c"], ["3", f"caught {PANIC}", "2", "1", PANIC]),
        (["-e", "-c"], ["3", f"caught {FAULT}", "2", "1", FAULT]),
    ],
)
def test_structs_are_dropped_innermost_first_and_the_outer_ones_after_a_catch(
    machine: str, guest: str, options: list[str], expected: list[str]
) -> None:
    lines = lines_of(*options, "--guest", guest, "--machine", machine)
    said = [
        re.sub(r"dropping MyStruct\((\d)\)", r"\1", line).removesuffix(", resuming")
        for line in lines
        if not line.startswith("  ")
    ]
    assert said[:-1] == expected[:-1]
    assert said[-1].startswith(f"killed by {expected[-1]}")
    frames = [line.split()[1].partition("(")[0] for line in lines if line.startswith("  ")]
    named = [name for name in frames if name in ("cause", "inner", "middle", "unwind_test")]
    # A panic leaves the machine code of cause by a jump.
    wanted = ["cause", "inner", "middle", "unwind_test"]
    assert named == (wanted[1:] if guest == "assembly" and expected[-1] == PANIC else wanted)


@pytest.fixture(scope="module")
def machine_code() -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        "unwind_test_machine_code", EXAMPLE / "machine_code.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["FRAME", "CAUSE", "CATCHING", "PERSONALITY"])
def test_the_machine_code_is_what_its_assembly_says(machine_code: ModuleType, name: str) -> None:
    listing: str = getattr(machine_code, name)
    names = re.findall(r"@(\w+)", listing)
    addresses = {name: 0x1122334455667700 + index for index, name in enumerate(names)}
    code = machine_code.encode(listing, addresses, 7)
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = [
        f"{instruction.mnemonic} {instruction.op_str}".strip()
        for instruction in disassembler.disasm(code, 0)
    ]
    written = [
        re.sub(r"@(\w+)", lambda m: hex(addresses[m[1]]), line.partition("|")[2].partition(";")[0])
        .replace("#number", "7")
        .strip()
        for line in listing.strip().splitlines()
    ]
    assert found == written


def test_the_call_site_and_the_landing_pad_are_where_the_table_says(
    machine_code: ModuleType,
) -> None:
    addresses = dict.fromkeys(("callee", "dropped", "resume"), 0)
    code = machine_code.encode(machine_code.FRAME, addresses)
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    at = {instruction.address: instruction for instruction in disassembler.disasm(code, 0)}
    call = at[machine_code.CALL_SITE]
    assert (call.mnemonic, call.size) == ("call", machine_code.CALL_SIZE)
    assert at[machine_code.LANDING_PAD].op_str == "qword ptr [rbp - 0x10], rax"
