"""Memory mapped, unmapped and protected by guest code itself, at the price of the host's calls.

Reached from a trampoline that stands for a ``syscall`` instruction (:mod:`..direct_mapping`), with
the instruction's registers, and r11 = journal, rcx = where the trampoline goes on, five bytes
before where it goes on if Python has to serve the call. What the instruction leaves alone is left
alone: the flags, the stack with its red zone, and every register but rax, rcx and r11.

Python serves whatever is not wholly inside an area that may be protected, not exactly one that may
be unmapped, not of the size of one that may be mapped again; protections that the account would
write down otherwise (writable but not readable), odd arguments, refusals of the host, and
everything while the journal is full. It serves a call once more where somebody wants the guest's
attention: a signal that arrives here finds no guest code and was dropped.
"""

from __future__ import annotations

LISTING = """\
protect_directly:
    49 89 4b 10                         | mov qword ptr [r11 + JOURNAL_RETURN], rcx
    49 89 5b 20                         | mov qword ptr [r11 + JOURNAL_RBX], rbx
    4c 89 db                            | mov rbx, r11
    9f                                  | lahf
    0f 90 c0                            | seto al
    48 89 43 18                         | mov qword ptr [rbx + JOURNAL_FLAGS], rax
    48 89 7b 28                         | mov qword ptr [rbx + JOURNAL_RDI], rdi
    48 c7 43 50 0a 00 00 00             | mov qword ptr [rbx + JOURNAL_NUMBER], 0xa
    48 c7 43 70 00 00 00 00             | mov qword ptr [rbx + JOURNAL_RESULT], 0
    48 83 3b 70                         | cmp qword ptr [rbx + JOURNAL_COUNT], JOURNAL_CAPACITY
    0f 83 @                             | jae ask_python
    ; bits of the protections that are what they say
    48 83 fa 07                         | cmp rdx, 7
    0f 87 @                             | ja ask_python
    b8 ab 00 00 00                      | mov eax, 0xab
    0f a3 d0                            | bt eax, edx
    0f 83 @                             | jae ask_python
    f7 c7 ff 0f 00 00                   | test edi, 0xfff
    0f 85 @                             | jne ask_python
    48 8d 86 ff 0f 00 00                | lea rax, [rsi + 0xfff]
    48 25 00 f0 ff ff                   | and rax, -0x1000
    0f 84 @                             | je ask_python
    48 01 f8                            | add rax, rdi
    0f 82 @                             | jb ask_python
    8b 4b 08                            | mov ecx, dword ptr [rbx + JOURNAL_AREA_COUNT]
    4c 8d 9b 80 00 00 00                | lea r11, [rbx + JOURNAL_AREAS]
find_area:
    ff c9                               | dec ecx
    0f 88 @                             | js ask_python
    49 3b 3b                            | cmp rdi, qword ptr [r11]
    0f 82 @                             | jb next_area
    49 3b 43 08                         | cmp rax, qword ptr [r11 + 8]
    0f 86 @                             | jbe protect_area
next_area:
    49 83 c3 20                         | add r11, 0x20
    e9 @                                | jmp find_area
protect_area:
    48 89 43 60                         | mov qword ptr [rbx + JOURNAL_END], rax
    b8 0a 00 00 00                      | mov eax, 0xa
    0f 05                               | syscall
    85 c0                               | test eax, eax
    0f 85 @                             | jne ask_python
    48 8b 43 60                         | mov rax, qword ptr [rbx + JOURNAL_END]
    4c 8b 1b                            | mov r11, qword ptr [rbx + JOURNAL_COUNT]
    4b 8d 0c 5b                         | lea rcx, [r11 + r11*2]
    48 8d 8c cb 80 04 00 00             | lea rcx, [rbx + rcx*8 + JOURNAL_ENTRIES]
    48 89 53 68                         | mov qword ptr [rbx + JOURNAL_KIND], rdx
    4d 85 db                            | test r11, r11
    0f 84 @                             | je append_entry
    ; does it go on where the last one ended?
    48 3b 51 f8                         | cmp rdx, qword ptr [rcx - 8]
    0f 85 @                             | jne append_entry
    48 3b 79 e8                         | cmp rdi, qword ptr [rcx - 0x18]
    0f 82 @                             | jb append_entry
    48 3b 79 f0                         | cmp rdi, qword ptr [rcx - 0x10]
    0f 87 @                             | ja append_entry
    48 3b 41 f0                         | cmp rax, qword ptr [rcx - 0x10]
    0f 86 @                             | jbe look_up
    48 89 41 f0                         | mov qword ptr [rcx - 0x10], rax
    e9 @                                | jmp look_up


unmap_directly:
    49 89 4b 10                         | mov qword ptr [r11 + JOURNAL_RETURN], rcx
    49 89 5b 20                         | mov qword ptr [r11 + JOURNAL_RBX], rbx
    4c 89 db                            | mov rbx, r11
    9f                                  | lahf
    0f 90 c0                            | seto al
    48 89 43 18                         | mov qword ptr [rbx + JOURNAL_FLAGS], rax
    48 89 7b 28                         | mov qword ptr [rbx + JOURNAL_RDI], rdi
    48 c7 43 50 0b 00 00 00             | mov qword ptr [rbx + JOURNAL_NUMBER], 0xb
    48 c7 43 70 00 00 00 00             | mov qword ptr [rbx + JOURNAL_RESULT], 0
    48 83 3b 70                         | cmp qword ptr [rbx + JOURNAL_COUNT], JOURNAL_CAPACITY
    0f 83 @                             | jae ask_python
    48 8d 86 ff 0f 00 00                | lea rax, [rsi + 0xfff]
    48 25 00 f0 ff ff                   | and rax, -0x1000
    0f 84 @                             | je ask_python
    8b 4b 08                            | mov ecx, dword ptr [rbx + JOURNAL_AREA_COUNT]
    4c 8d 9b 80 00 00 00                | lea r11, [rbx + JOURNAL_AREAS]
find_mapped:
    ff c9                               | dec ecx
    0f 88 @                             | js ask_python
    49 3b 3b                            | cmp rdi, qword ptr [r11]
    0f 85 @                             | jne next_mapped
    49 3b 7b 10                         | cmp rdi, qword ptr [r11 + 0x10]
    0f 85 @                             | jne next_mapped
    49 3b 43 18                         | cmp rax, qword ptr [r11 + 0x18]
    0f 84 @                             | je unmap_area
next_mapped:
    49 83 c3 20                         | add r11, 0x20
    e9 @                                | jmp find_mapped
unmap_area:
    4c 89 5b 58                         | mov qword ptr [rbx + JOURNAL_AREA], r11
    48 01 f8                            | add rax, rdi
    48 89 43 60                         | mov qword ptr [rbx + JOURNAL_END], rax
    48 89 53 30                         | mov qword ptr [rbx + JOURNAL_RDX], rdx
    4c 89 53 48                         | mov qword ptr [rbx + JOURNAL_R10], r10
    4c 89 43 38                         | mov qword ptr [rbx + JOURNAL_R8], r8
    4c 89 4b 40                         | mov qword ptr [rbx + JOURNAL_R9], r9
    ; the addresses stay reserved: mmap over them
    31 d2                               | xor edx, edx
    41 ba 32 40 00 00                   | mov r10d, 0x4032
    49 c7 c0 ff ff ff ff                | mov r8, -1
    45 31 c9                            | xor r9d, r9d
    b8 09 00 00 00                      | mov eax, 9
    0f 05                               | syscall
    48 8b 53 30                         | mov rdx, qword ptr [rbx + JOURNAL_RDX]
    4c 8b 53 48                         | mov r10, qword ptr [rbx + JOURNAL_R10]
    4c 8b 43 38                         | mov r8, qword ptr [rbx + JOURNAL_R8]
    4c 8b 4b 40                         | mov r9, qword ptr [rbx + JOURNAL_R9]
    48 39 f8                            | cmp rax, rdi
    0f 85 @                             | jne ask_python
    4c 8b 5b 58                         | mov r11, qword ptr [rbx + JOURNAL_AREA]
    49 c7 03 00 00 00 00                | mov qword ptr [r11], 0
    49 c7 43 08 00 00 00 00             | mov qword ptr [r11 + 8], 0
    48 c7 43 68 08 00 00 00             | mov qword ptr [rbx + JOURNAL_KIND], KIND_UNMAPPED
    e9 @                                | jmp replace_entries


map_directly:
    49 89 4b 10                         | mov qword ptr [r11 + JOURNAL_RETURN], rcx
    49 89 5b 20                         | mov qword ptr [r11 + JOURNAL_RBX], rbx
    4c 89 db                            | mov rbx, r11
    9f                                  | lahf
    0f 90 c0                            | seto al
    48 89 43 18                         | mov qword ptr [rbx + JOURNAL_FLAGS], rax
    48 89 7b 28                         | mov qword ptr [rbx + JOURNAL_RDI], rdi
    48 c7 43 50 09 00 00 00             | mov qword ptr [rbx + JOURNAL_NUMBER], 9
    48 83 3b 70                         | cmp qword ptr [rbx + JOURNAL_COUNT], JOURNAL_CAPACITY
    0f 83 @                             | jae ask_python
    48 85 ff                            | test rdi, rdi
    0f 85 @                             | jne ask_python
    4d 85 c9                            | test r9, r9
    0f 85 @                             | jne ask_python
    ; MAP_PRIVATE | MAP_ANONYMOUS, with MAP_NORESERVE or without
    4c 89 d0                            | mov rax, r10
    48 25 ff bf ff ff                   | and rax, -0x4001
    48 83 f8 22                         | cmp rax, 0x22
    0f 85 @                             | jne ask_python
    48 83 fa 07                         | cmp rdx, 7
    0f 87 @                             | ja ask_python
    b8 ab 00 00 00                      | mov eax, 0xab
    0f a3 d0                            | bt eax, edx
    0f 83 @                             | jae ask_python
    48 8d 86 ff 0f 00 00                | lea rax, [rsi + 0xfff]
    48 25 00 f0 ff ff                   | and rax, -0x1000
    0f 84 @                             | je ask_python
    8b 4b 08                            | mov ecx, dword ptr [rbx + JOURNAL_AREA_COUNT]
    4c 8d 9b 80 00 00 00                | lea r11, [rbx + JOURNAL_AREAS]
find_unmapped:
    ff c9                               | dec ecx
    0f 88 @                             | js ask_python
    49 83 3b 00                         | cmp qword ptr [r11], 0
    0f 85 @                             | jne next_unmapped
    49 3b 43 18                         | cmp rax, qword ptr [r11 + 0x18]
    0f 84 @                             | je map_area
next_unmapped:
    49 83 c3 20                         | add r11, 0x20
    e9 @                                | jmp find_unmapped
map_area:
    49 8b 7b 10                         | mov rdi, qword ptr [r11 + 0x10]
    4c 89 5b 58                         | mov qword ptr [rbx + JOURNAL_AREA], r11
    48 89 7b 70                         | mov qword ptr [rbx + JOURNAL_RESULT], rdi
    48 01 f8                            | add rax, rdi
    48 89 43 60                         | mov qword ptr [rbx + JOURNAL_END], rax
    48 8d 42 10                         | lea rax, [rdx + KIND_MAPPED]
    48 89 43 68                         | mov qword ptr [rbx + JOURNAL_KIND], rax
    85 d2                               | test edx, edx
    0f 84 @                             | je mapped
    b8 0a 00 00 00                      | mov eax, 0xa
    0f 05                               | syscall
    85 c0                               | test eax, eax
    0f 85 @                             | jne ask_python
mapped:
    4c 8b 5b 58                         | mov r11, qword ptr [rbx + JOURNAL_AREA]
    48 8b 43 60                         | mov rax, qword ptr [rbx + JOURNAL_END]
    49 89 3b                            | mov qword ptr [r11], rdi
    49 89 43 08                         | mov qword ptr [r11 + 8], rax


replace_entries:
    48 8b 43 60                         | mov rax, qword ptr [rbx + JOURNAL_END]
    4c 8b 1b                            | mov r11, qword ptr [rbx + JOURNAL_COUNT]
    4b 8d 0c 5b                         | lea rcx, [r11 + r11*2]
    48 8d 8c cb 80 04 00 00             | lea rcx, [rbx + rcx*8 + JOURNAL_ENTRIES]
drop_entry:
    4d 85 db                            | test r11, r11
    0f 84 @                             | je append_entry
    48 3b 79 e8                         | cmp rdi, qword ptr [rcx - 0x18]
    0f 87 @                             | ja append_entry
    48 3b 41 f0                         | cmp rax, qword ptr [rcx - 0x10]
    0f 82 @                             | jb append_entry
    48 83 e9 18                         | sub rcx, 0x18
    49 ff cb                            | dec r11
    e9 @                                | jmp drop_entry
append_entry:
    48 89 39                            | mov qword ptr [rcx], rdi
    48 89 41 08                         | mov qword ptr [rcx + 8], rax
    48 8b 43 68                         | mov rax, qword ptr [rbx + JOURNAL_KIND]
    48 89 41 10                         | mov qword ptr [rcx + 0x10], rax
    49 ff c3                            | inc r11
    4c 89 1b                            | mov qword ptr [rbx + JOURNAL_COUNT], r11
look_up:
    ; a mapping must not be made twice
    48 83 7b 70 00                      | cmp qword ptr [rbx + JOURNAL_RESULT], 0
    0f 85 @                             | jne served
    48 8b 43 78                         | mov rax, qword ptr [rbx + JOURNAL_CONTEXT]
    48 83 78 20 00                      | cmp qword ptr [rax + CONTEXT_ATTENTION], 0
    0f 85 @                             | jne ask_python
served:
    48 8b 43 18                         | mov rax, qword ptr [rbx + JOURNAL_FLAGS]
    48 8b 4b 10                         | mov rcx, qword ptr [rbx + JOURNAL_RETURN]
    48 8b 7b 28                         | mov rdi, qword ptr [rbx + JOURNAL_RDI]
    04 7f                               | add al, 0x7f
    9e                                  | sahf
    48 8b 43 70                         | mov rax, qword ptr [rbx + JOURNAL_RESULT]
    48 8b 5b 20                         | mov rbx, qword ptr [rbx + JOURNAL_RBX]
    ff e1                               | jmp rcx


ask_python:
    48 8b 43 18                         | mov rax, qword ptr [rbx + JOURNAL_FLAGS]
    48 8b 4b 10                         | mov rcx, qword ptr [rbx + JOURNAL_RETURN]
    48 8b 7b 28                         | mov rdi, qword ptr [rbx + JOURNAL_RDI]
    04 7f                               | add al, 0x7f
    9e                                  | sahf
    48 8d 49 05                         | lea rcx, [rcx + 5]
    48 8b 43 50                         | mov rax, qword ptr [rbx + JOURNAL_NUMBER]
    48 8b 5b 20                         | mov rbx, qword ptr [rbx + JOURNAL_RBX]
    ff e1                               | jmp rcx
"""
