"""What the host's CPU can do and the host's kernel saves, in Cranelift's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Cpuid = Callable[[int, int], tuple[int, int, int, int]]
"""cpuid(leaf, subleaf) → eax, ebx, ecx, edx."""

_EBX, _ECX = 1, 2
_OSXSAVE = 27
_AVX_STATE = 0x06
_AVX512_STATE = 0xE6
"""XCR0: XMM and YMM; also mask registers, and both halves of ZMM (Intel SDM vol. 1, 13.3)."""

# Feature: leaf, register, bit, state that must be saved (Intel SDM vol. 2, CPUID; AMD APM vol. 3).
_FEATURES = {
    "has_sse3": (0x1, _ECX, 0, 0),
    "has_ssse3": (0x1, _ECX, 9, 0),
    "has_cmpxchg16b": (0x1, _ECX, 13, 0),
    "has_sse41": (0x1, _ECX, 19, 0),
    "has_sse42": (0x1, _ECX, 20, 0),
    "has_popcnt": (0x1, _ECX, 23, 0),
    "has_lzcnt": (0x8000_0001, _ECX, 5, 0),
    "has_fma": (0x1, _ECX, 12, _AVX_STATE),
    "has_avx": (0x1, _ECX, 28, _AVX_STATE),
    "has_bmi1": (0x7, _EBX, 3, _AVX_STATE),
    "has_bmi2": (0x7, _EBX, 8, _AVX_STATE),
    "has_avx2": (0x7, _EBX, 5, _AVX_STATE),
    "has_avx512f": (0x7, _EBX, 16, _AVX512_STATE),
    "has_avx512dq": (0x7, _EBX, 17, _AVX512_STATE),
    "has_avx512vl": (0x7, _EBX, 31, _AVX512_STATE),
    "has_avx512vbmi": (0x7, _ECX, 1, _AVX512_STATE),
    "has_avx512bitalg": (0x7, _ECX, 12, _AVX512_STATE),
}


def read_features(cpuid: Cpuid, extended_state: Callable[[], int]) -> Iterator[str]:
    """Yield the Cranelift flags that hold. ``extended_state`` reads XCR0, where there is one."""
    highest = {0: cpuid(0, 0)[0], 0x8000_0000: cpuid(0x8000_0000, 0)[0]}
    leaves = {
        leaf: cpuid(leaf, 0) if leaf <= highest[leaf & 0x8000_0000] else (0, 0, 0, 0)
        for leaf in sorted({leaf for leaf, *_ in _FEATURES.values()})
    }
    state = extended_state() if leaves[0x1][_ECX] >> _OSXSAVE & 1 else 0
    for feature, (leaf, register, bit, needed) in _FEATURES.items():
        if leaves[leaf][register] >> bit & 1 and state & needed == needed:
            yield feature
