"""What only an instruction can tell; each is a C function."""

from __future__ import annotations

LISTING = """\
; () → this thread's pointer (x86-64 TLS ABI)
thread_pointer:
    64 48 8b 04 25 00 00 00 00          | mov rax, qword ptr fs:[0]
    c3                                  | ret

; (leaf, subleaf, four 32-bit words)
cpuid:
    53                                  | push rbx
    49 89 d0                            | mov r8, rdx
    89 f8                               | mov eax, edi
    89 f1                               | mov ecx, esi
    0f a2                               | cpuid
    41 89 00                            | mov dword ptr [r8], eax
    41 89 58 04                         | mov dword ptr [r8 + 4], ebx
    41 89 48 08                         | mov dword ptr [r8 + 8], ecx
    41 89 50 0c                         | mov dword ptr [r8 + 0xc], edx
    5b                                  | pop rbx
    c3                                  | ret

; () → XCR0: what state the system saves
extended_state:
    31 c9                               | xor ecx, ecx
    0f 01 d0                            | xgetbv
    48 c1 e2 20                         | shl rdx, 0x20
    48 09 d0                            | or rax, rdx
    c3                                  | ret
"""
