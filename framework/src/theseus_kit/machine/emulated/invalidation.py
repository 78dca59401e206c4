"""Having pages leave the CPU's TLB: by a guest instruction, ``invlpg``, in a stub of ours.

A few pages cost a tenth of a microsecond each, emptying the whole TLB all of its refills. When and
which pages is for others to know.
"""

from __future__ import annotations

from theseus_kit.errors import MachineError
from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated import stubs
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.translation import Translation


class Invalidation:
    """The two ways to run it: within the stub of an export, and between two runs of the CPU."""

    def __init__(self, cpu: Cpu, mailbox: memoryview, translation: Translation, stub: int) -> None:
        self._cpu = cpu
        self._mailbox = mailbox
        self._translation = translation
        self._stub = stub

    def put_into_mailbox(self, pages: list[int]) -> None:
        """Have the stub of the export that is being answered do it before it returns."""
        mailbox = self._mailbox
        count = mailbox[stubs.FLUSH_COUNT] if mailbox[stubs.ATTENTION] else 0
        if count + len(pages) > stubs.FLUSH_LIMIT:
            self._translation.flush()
            return
        for position, page in enumerate(pages, stubs.FLUSH_PAGES + count):
            mailbox[position] = page
        mailbox[stubs.FLUSH_COUNT] = count + len(pages)
        mailbox[stubs.ATTENTION] = stubs.ATTENTION_FLUSH

    def run_stub(self) -> None:
        """Run the stub that invalidates pages, between two instructions of the guest."""
        mailbox, pending = self._mailbox, self._translation.pending
        if len(pending) > stubs.FLUSH_LIMIT:
            self._translation.flush()
            return
        for position, page in enumerate(pending, stubs.FLUSH_PAGES):
            mailbox[position] = page
        mailbox[stubs.FLUSH_COUNT] = len(pending)
        pending.clear()
        cpu, pc, error = self._cpu, self._stub, 0
        while not error:
            error = cpu.library.emu_start(cpu.handle, pc, 0, 0, 0)
            if mailbox[stubs.REASON] == stubs.REASON_FLUSHED:
                break
            # Stopped from outside, midway: registers of the guest's are in the mailbox yet.
            pc = cpu.read_register(uc.REG_RIP)
        mailbox[stubs.REASON] = 0
        if error:
            raise MachineError(f"the machine's own code stopped with Unicorn's error {error}")
