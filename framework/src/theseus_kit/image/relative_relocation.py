"""Relative relocations in bulk, by the machine itself.

A large library has tens of thousands of relocations that only add the load bias (libwasmtime:
26,378 of 26,537), at the start of its table. A few instructions on the machine's own CPU apply
them ten times as fast as a loop in Python: 0.7 against 6.8 ms on the emulated machine. The code
checks each entry itself, and stops at the first one that is not relative or whose place is not in
the segment it was given: it writes nothing else, whatever the table holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import unpack_from
from typing import TYPE_CHECKING

from theseus_kit.image.relocation import R_RELATIVE, Target

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine

CODE = bytes.fromhex(
    "48837f0808 7521 488b07 4839c8 7219 4c39c0 7714"
    "4c8b4f10 4901d1 4c890c10 4883c718 48ffce 75d8 4889f0 c3"
)
ASSEMBLY = """
    ; rdi: table, rsi: entries, rdx: load bias, rcx and r8: lowest and highest place allowed
    next:
        cmp qword ptr [rdi + 8], 8      ; R_X86_64_RELATIVE, without a symbol
        jne done
        mov rax, qword ptr [rdi]
        cmp rax, rcx
        jb done
        cmp rax, r8
        ja done
        mov r9, qword ptr [rdi + 0x10]
        add r9, rdx
        mov qword ptr [rax + rdx], r9
        add rdi, 0x18
        dec rsi
        jne next
    done:
        mov rax, rsi                    ; returns how many entries are left
        ret
"""
_ENTRY_SIZE = 24
_WORD = 8


class RelativeRelocator:
    """Applies relative relocations on one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._address: int | None = None

    def apply(self, address: int, table: memoryview, targets: Sequence[Target], bias: int) -> int:
        """Apply the entries a table starts with; return how many were done.

        ``address`` is where the table, whose bytes are ``table``, is mapped readable. What the
        first entry that is left has to say is the caller's to judge.
        """
        count = len(table) // _ENTRY_SIZE
        done = 0
        while done < count:
            place, info = unpack_from("<QQ", table, done * _ENTRY_SIZE)
            target = next((t for t in targets if t.start <= place <= t.end - _WORD), None)
            if info != R_RELATIVE or target is None:
                break
            left = self._machine.call(
                self._code(),
                (
                    address + done * _ENTRY_SIZE,
                    count - done,
                    bias,
                    target.start,
                    target.end - _WORD,
                ),
            )
            if left == count - done:
                break  # The table in memory is not what the file has: it relocates itself.
            done = count - left
        return done

    def _code(self) -> int:
        if self._address is None:
            self._address = self._machine.place_code(CODE, "relative relocation")
        return self._address
