"""The image that the suites load is what its sources say, and what a compiler makes of them."""

import shutil
import subprocess

import capstone
import pytest

import theseus_kit.testing.conformance.exception_registration as exception_registration
import theseus_kit.testing.conformance.memory_changes as memory_changes
import theseus_kit.testing.conformance.thread_local_storage as thread_local_storage
import theseus_kit.testing.conformance.unwinding as unwinding
from theseus_kit.testing.conformance import SymbolicationConformance, UnwindingConformance
from theseus_kit.testing.conformance.guest_image import GUEST, GuestImage
from theseus_kit.testing.conformance.results import Outcome
from theseus_kit.testing.conformance.runner import run_test
from theseus_kit.testing.conformance.suite import names_of_tests


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_suites_hold_of_an_image_that_is_built_anew(tmp_path, monkeypatch):
    rebuilt = tmp_path / "guest.so"
    subprocess.run(["sh", GUEST / "build.sh", rebuilt], check=True, capture_output=True)
    monkeypatch.setattr(GuestImage, "path", rebuilt)
    for suite in (SymbolicationConformance, UnwindingConformance):
        bound = type(suite.__name__, (suite,), {"plugin": "backtrace"})
        for test in names_of_tests(bound):
            result = run_test(bound, test, "emulated")
            assert result.outcome is Outcome.PASSED, (test, result.detail)


@pytest.mark.parametrize(
    ("code", "assembly"),
    [
        (memory_changes.STORE_CODE, memory_changes.STORE),
        (exception_registration.UD2_CODE, exception_registration.UD2),
        (exception_registration.LOAD_CODE, exception_registration.LOAD),
        (thread_local_storage.READ_FS_CODE, thread_local_storage.READ_FS),
        (unwinding.JITTED_CODE, unwinding.JITTED),
    ],
)
def test_machine_code_is_what_its_assembly_says(code, assembly):
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    lines = [f"{i.mnemonic} {i.op_str}".strip() for i in disassembler.disasm(code, 0)]
    expected = [line.strip() for line in assembly.strip().splitlines()]
    assert [normal(line) for line in lines] == [normal(line) for line in expected]


def normal(line):
    """Numbers in one base: capstone writes 0x10 where people write 16."""
    words = line.replace(",", " ,").split()
    return [str(int(word, 0)) if word[0].isdigit() else word for word in words]
