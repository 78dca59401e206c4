"""What the emulated CPU can do, asked of itself with ``cpuid``, in Cranelift's words.

AVX and what builds on it is never reported: Unicorn executes VEX-encoded instructions wrongly and
in silence, whatever its CPU model claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Cpuid = Callable[[int, int], tuple[int, int, int, int]]
"""cpuid(leaf, subleaf) → eax, ebx, ecx, edx."""

_EBX, _ECX = 1, 2

# Feature: leaf, register, bit (Intel SDM vol. 2, CPUID; AMD APM vol. 3, E.3).
_FEATURES = {
    "has_sse3": (0x1, _ECX, 0),
    "has_ssse3": (0x1, _ECX, 9),
    "has_sse41": (0x1, _ECX, 19),
    "has_sse42": (0x1, _ECX, 20),
    "has_popcnt": (0x1, _ECX, 23),
    "has_lzcnt": (0x8000_0001, _ECX, 5),
    "has_bmi1": (0x7, _EBX, 3),
    "has_bmi2": (0x7, _EBX, 8),
}


def read_features(cpuid: Cpuid) -> Iterator[str]:
    """Yield the Cranelift flags that hold for the CPU ``cpuid`` asks."""
    leaves: dict[int, tuple[int, int, int, int]] = {}
    for feature, (leaf, register, bit) in _FEATURES.items():
        if leaf not in leaves:
            leaves[leaf] = cpuid(leaf, 0)
        if leaves[leaf][register] >> bit & 1:
            yield feature
