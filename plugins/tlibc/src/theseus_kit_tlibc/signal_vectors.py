"""The vector state of a signal frame: how much there is, and how it is laid out.

The kernel saves what the CPU has, and so does the machine code of ``signal_frame.py``: on a CPU
with XSAVE that the system has switched on, x87, SSE, AVX and AVX-512; elsewhere x87 and SSE by
FXSAVE.

::

    fpregs (64-byte aligned)
    ┌──────────────────────────────┐ 0
    │ legacy area: x87, MXCSR, XMM │      as FXSAVE stores it
    │   464: magic, sizes, XCR0    │      for the program: struct _fpx_sw_bytes
    ├──────────────────────────────┤ 512  only with XSAVE, from here on
    │ XSAVE header: 64 bytes       │      must be zero before XSAVE fills it in
    ├──────────────────────────────┤ 576
    │ AVX, AVX-512, where CPUID    │
    │ leaf 0xD says                │
    ├──────────────────────────────┤ size of the state
    │ magic, 4 bytes               │
    └──────────────────────────────┘

Sources: Intel SDM vol. 1, chapter 13; arch/x86/include/uapi/asm/sigcontext.h of Linux 6.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.values.record import NamedTuple
from theseus_kit_tlibc.listing import Listing

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library

LEGACY_SIZE = 512
COMPONENTS = 0xE7
"""x87, SSE, AVX and the three of AVX-512: what programs compute with. The kernel keeps the
others (protection keys, tiles) by itself where it has them."""

_SOFTWARE_OFFSET = 464
_SOFTWARE = Struct("<IIQI")
_MAGIC_1, _MAGIC_2 = 0x46505853, 0x46505845
_MAGIC_SIZE = 4
_HEADER_END = 576
_FIRST_EXTENDED, _LAST_EXTENDED = 2, 7
_OSXSAVE = 27
_FEATURE_LEAF, _XSAVE_LEAF = 0x1, 0xD

# edi = leaf, esi = subleaf, rdx = where eax, ebx, ecx and edx go
CPUID = Listing(
    """
    53                      push rbx
    4989d0                  mov r8, rdx
    89f8                    mov eax, edi
    89f1                    mov ecx, esi
    0fa2                    cpuid
    418900                  mov dword ptr [r8], eax
    41895804                mov dword ptr [r8 + 4], ebx
    41894808                mov dword ptr [r8 + 8], ecx
    4189500c                mov dword ptr [r8 + 0xc], edx
    5b                      pop rbx
    c3                      ret
    """
)

# XCR0: which state the system has switched on
XGETBV = Listing(
    """
    31c9                    xor ecx, ecx
    0f01d0                  xgetbv
    48c1e220                shl rdx, 0x20
    4809d0                  or rax, rdx
    c3                      ret
    """
)


class VectorState(NamedTuple):
    """``components`` is what XSAVE is asked for, 0 where FXSAVE does."""

    components: int
    state_size: int

    @property
    def size(self) -> int:
        """Bytes at fpregs, whole."""
        return self.state_size + _MAGIC_SIZE if self.components else LEGACY_SIZE

    def blank(self) -> bytes:
        """What stands at fpregs before the CPU stores its state there."""
        area = bytearray(self.size)
        if self.components:
            software = (_MAGIC_1, self.size, self.components, self.state_size)
            _SOFTWARE.pack_into(area, _SOFTWARE_OFFSET, *software)
            area[self.state_size :] = _MAGIC_2.to_bytes(_MAGIC_SIZE, "little")
        return bytes(area)


def find_vector_state(library: Library) -> VectorState:
    """Ask the machine's CPU what it has."""
    machine, memory = library.machine, library.memory
    cpuid = machine.place_code(CPUID.code, "cpuid")
    answer = library.heap.allocate(16)
    try:

        def ask(leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
            machine.call(cpuid, (leaf, subleaf, answer))
            eax, ebx, ecx, edx = (memory.read_u32(answer + 4 * word) for word in range(4))
            return eax, ebx, ecx, edx

        if ask(0)[0] < _XSAVE_LEAF or not ask(_FEATURE_LEAF)[2] >> _OSXSAVE & 1:
            return VectorState(0, LEGACY_SIZE)
        enabled = machine.call(machine.place_code(XGETBV.code, "xgetbv")) & COMPONENTS
        size = _HEADER_END
        for component in range(_FIRST_EXTENDED, _LAST_EXTENDED + 1):
            if enabled >> component & 1:
                length, start, *_ = ask(_XSAVE_LEAF, component)
                size = max(size, start + length)
        return VectorState(enabled, size)
    finally:
        library.heap.free(answer)
