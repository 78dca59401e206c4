"""Machine code of malloc and its family: what a free list or the bump region can serve.

The data are the control block and the chunk headers of :mod:`.heap`, whose address fills each hole;
everything else jumps to the Python bodies, by the addresses in words 107 to 110 of the block
(0x358 malloc, 0x360 free, 0x368 realloc, 0x370 calloc). calloc and realloc carry copies of malloc
and free, so that each routine is whole by itself.
"""

from __future__ import annotations

from theseus_kit_tlibc.listing import Listing

# 0x348 and 0x350 are the bump region's next chunk and end. 1 to 1024 bytes: class (size+15)/16;
# up to 1 MiB: four classes for each power of two.
MALLOC = Listing(
    """
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc
    488d47ff                lea rax, [rdi - 1]
    483d00040000            cmp rax, 0x400
    7325                    jae 0x3b
    c1e804                  shr eax, 4
    ffc0                    inc eax
    89c1                    mov ecx, eax
    c1e004                  shl eax, 4
    498b14cb                mov rdx, qword ptr [r11 + rcx*8]                 ; 0x20 found
    4885d2                  test rdx, rdx
    7439                    je 0x62
    488b32                  mov rsi, qword ptr [rdx]
    498934cb                mov qword ptr [r11 + rcx*8], rsi
    c742fc7eca10a1          mov dword ptr [rdx - 4], 0xa110ca7e
    4889d0                  mov rax, rdx
    c3                      ret
    483d00001000            cmp rax, 0x100000                                ; 0x3b larger
    734d                    jae 0x90
    480fbdc8                bsr rcx, rax
    8d148dd8ffffff          lea edx, [rcx*4 - 0x28]
    83e902                  sub ecx, 2
    d3e8                    shr eax, cl
    83e003                  and eax, 3
    01c2                    add edx, eax
    83c005                  add eax, 5
    d3e0                    shl eax, cl
    8d4a41                  lea ecx, [rdx + 0x41]
    ebbe                    jmp 0x20
    498b9348030000          mov rdx, qword ptr [r11 + 0x348]                 ; 0x62 bump
    488d740210              lea rsi, [rdx + rax + 0x10]
    493bb350030000          cmp rsi, qword ptr [r11 + 0x350]
    7719                    ja 0x90
    4989b348030000          mov qword ptr [r11 + 0x348], rsi
    488902                  mov qword ptr [rdx], rax
    894a08                  mov dword ptr [rdx + 8], ecx
    c7420c7eca10a1          mov dword ptr [rdx + 0xc], 0xa110ca7e
    488d4210                lea rax, [rdx + 0x10]
    c3                      ret
    41ffa358030000          jmp qword ptr [r11 + 0x358]                      ; 0x90 slow
    """
)

# 0xa110ca7e is IN_USE, 0xf4eef4ee FREE; a class of 0x69 or more means an overwritten header.
FREE = Listing(
    """
    4885ff                  test rdi, rdi
    742d                    je 0x32
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc
    817ffc7eca10a1          cmp dword ptr [rdi - 4], 0xa110ca7e
    751b                    jne 0x33
    8b4ff8                  mov ecx, dword ptr [rdi - 8]
    83f969                  cmp ecx, 0x69
    7313                    jae 0x33
    c747fceef4eef4          mov dword ptr [rdi - 4], 0xf4eef4ee
    498b14cb                mov rdx, qword ptr [r11 + rcx*8]
    488917                  mov qword ptr [rdi], rdx
    49893ccb                mov qword ptr [r11 + rcx*8], rdi
    c3                      ret                                              ; 0x32 nothing
    41ffa360030000          jmp qword ptr [r11 + 0x360]                      ; 0x33 badfree
    """
)

# Chunks are multiples of 16 bytes: clearing may round up.
CALLOC = Listing(
    """
    4889f8                  mov rax, rdi
    48f7e6                  mul rsi
    702f                    jo 0x37
    483d00001000            cmp rax, 0x100000
    7727                    ja 0x37
    50                      push rax
    4889c7                  mov rdi, rax
    e82f000000              call 0x48
    59                      pop rcx
    4885c0                  test rax, rax
    7417                    je 0x36
    660fefc0                pxor xmm0, xmm0
    488d0c08                lea rcx, [rax + rcx]
    4889c2                  mov rdx, rax
    0f2902                  movaps xmmword ptr [rdx], xmm0                   ; 0x2a
    4883c210                add rdx, 0x10
    4839ca                  cmp rdx, rcx
    72f4                    jb 0x2a
    c3                      ret                                              ; 0x36
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc                   ; 0x37 overflow
    41ffa370030000          jmp qword ptr [r11 + 0x370]
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc                   ; 0x48 malloc
    488d47ff                lea rax, [rdi - 1]
    483d00040000            cmp rax, 0x400
    7325                    jae 0x83
    c1e804                  shr eax, 4
    ffc0                    inc eax
    89c1                    mov ecx, eax
    c1e004                  shl eax, 4
    498b14cb                mov rdx, qword ptr [r11 + rcx*8]                 ; 0x68 found
    4885d2                  test rdx, rdx
    7439                    je 0xaa
    488b32                  mov rsi, qword ptr [rdx]
    498934cb                mov qword ptr [r11 + rcx*8], rsi
    c742fc7eca10a1          mov dword ptr [rdx - 4], 0xa110ca7e
    4889d0                  mov rax, rdx
    c3                      ret
    483d00001000            cmp rax, 0x100000                                ; 0x83 larger
    734d                    jae 0xd8
    480fbdc8                bsr rcx, rax
    8d148dd8ffffff          lea edx, [rcx*4 - 0x28]
    83e902                  sub ecx, 2
    d3e8                    shr eax, cl
    83e003                  and eax, 3
    01c2                    add edx, eax
    83c005                  add eax, 5
    d3e0                    shl eax, cl
    8d4a41                  lea ecx, [rdx + 0x41]
    ebbe                    jmp 0x68
    498b9348030000          mov rdx, qword ptr [r11 + 0x348]                 ; 0xaa bump
    488d740210              lea rsi, [rdx + rax + 0x10]
    493bb350030000          cmp rsi, qword ptr [r11 + 0x350]
    7719                    ja 0xd8
    4989b348030000          mov qword ptr [r11 + 0x348], rsi
    488902                  mov qword ptr [rdx], rax
    894a08                  mov dword ptr [rdx + 8], ecx
    c7420c7eca10a1          mov dword ptr [rdx + 0xc], 0xa110ca7e
    488d4210                lea rax, [rdx + 0x10]
    c3                      ret
    41ffa358030000          jmp qword ptr [r11 + 0x358]                      ; 0xd8 slow
    """
)

# What still fits stays where it is; otherwise the old chunk's whole capacity is copied.
REALLOC = Listing(
    """
    4885ff                  test rdi, rdi
    7446                    je 0x4b
    4885f6                  test rsi, rsi
    7441                    je 0x4b
    817ffc7eca10a1          cmp dword ptr [rdi - 4], 0xa110ca7e
    7538                    jne 0x4b
    483b77f0                cmp rsi, qword ptr [rdi - 0x10]
    7704                    ja 0x1d
    4889f8                  mov rax, rdi
    c3                      ret
    57                      push rdi                                         ; 0x1d grow
    4889f7                  mov rdi, rsi
    e836000000              call 0x5c
    5f                      pop rdi
    4885c0                  test rax, rax
    741e                    je 0x4a
    488b4ff0                mov rcx, qword ptr [rdi - 0x10]
    31d2                    xor edx, edx
    0f280417                movaps xmm0, xmmword ptr [rdi + rdx]             ; 0x32 copy
    0f290410                movaps xmmword ptr [rax + rdx], xmm0
    4883c210                add rdx, 0x10
    4839ca                  cmp rdx, rcx
    72ef                    jb 0x32
    50                      push rax
    e8aa000000              call 0xf3
    58                      pop rax
    c3                      ret                                              ; 0x4a failed
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc                   ; 0x4b slowre
    41ffa368030000          jmp qword ptr [r11 + 0x368]
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc                   ; 0x5c malloc
    488d47ff                lea rax, [rdi - 1]
    483d00040000            cmp rax, 0x400
    7325                    jae 0x97
    c1e804                  shr eax, 4
    ffc0                    inc eax
    89c1                    mov ecx, eax
    c1e004                  shl eax, 4
    498b14cb                mov rdx, qword ptr [r11 + rcx*8]                 ; 0x7c found
    4885d2                  test rdx, rdx
    7439                    je 0xbe
    488b32                  mov rsi, qword ptr [rdx]
    498934cb                mov qword ptr [r11 + rcx*8], rsi
    c742fc7eca10a1          mov dword ptr [rdx - 4], 0xa110ca7e
    4889d0                  mov rax, rdx
    c3                      ret
    483d00001000            cmp rax, 0x100000                                ; 0x97 larger
    734d                    jae 0xec
    480fbdc8                bsr rcx, rax
    8d148dd8ffffff          lea edx, [rcx*4 - 0x28]
    83e902                  sub ecx, 2
    d3e8                    shr eax, cl
    83e003                  and eax, 3
    01c2                    add edx, eax
    83c005                  add eax, 5
    d3e0                    shl eax, cl
    8d4a41                  lea ecx, [rdx + 0x41]
    ebbe                    jmp 0x7c
    498b9348030000          mov rdx, qword ptr [r11 + 0x348]                 ; 0xbe bump
    488d740210              lea rsi, [rdx + rax + 0x10]
    493bb350030000          cmp rsi, qword ptr [r11 + 0x350]
    7719                    ja 0xec
    4989b348030000          mov qword ptr [r11 + 0x348], rsi
    488902                  mov qword ptr [rdx], rax
    894a08                  mov dword ptr [rdx + 8], ecx
    c7420c7eca10a1          mov dword ptr [rdx + 0xc], 0xa110ca7e
    488d4210                lea rax, [rdx + 0x10]
    c3                      ret
    41ffa358030000          jmp qword ptr [r11 + 0x358]                      ; 0xec slow
    4885ff                  test rdi, rdi                                    ; 0xf3 free
    742d                    je 0x125
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc
    817ffc7eca10a1          cmp dword ptr [rdi - 4], 0xa110ca7e
    751b                    jne 0x126
    8b4ff8                  mov ecx, dword ptr [rdi - 8]
    83f969                  cmp ecx, 0x69
    7313                    jae 0x126
    c747fceef4eef4          mov dword ptr [rdi - 4], 0xf4eef4ee
    498b14cb                mov rdx, qword ptr [r11 + rcx*8]
    488917                  mov qword ptr [rdi], rdx
    49893ccb                mov qword ptr [r11 + rcx*8], rdi
    c3                      ret                                              ; 0x125 nothing
    41ffa360030000          jmp qword ptr [r11 + 0x360]                      ; 0x126 badfree
    """
)
