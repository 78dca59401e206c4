"""A change of protection that guest code makes by itself, at the price of the host's mprotect(2).

Reached from a trampoline that stands for a ``syscall`` instruction (:mod:`..direct_protection`),
with its registers: rdi = address, rsi = size, rdx = protection; and r11 = journal, rcx = where the
trampoline goes on, five bytes before where it goes on if Python has to serve the call. What the
instruction leaves alone is left alone: the flags, the stack with its red zone, and every register
but rax, rcx and r11.

Python serves whatever is not wholly in one area that may be changed, a protection that the account
would write down otherwise (writable but not readable), an odd address, a refusal of the host, and
everything while the journal is full. It serves the call once more where somebody wants the guest's
attention: a signal that arrives here is no guest's and was dropped.
"""

from __future__ import annotations

LISTING = """\
protect_directly:
    49 89 4b 10                         | mov qword ptr [r11 + JOURNAL_RETURN], rcx
    49 89 5b 18                         | mov qword ptr [r11 + JOURNAL_RBX], rbx
    4c 89 db                            | mov rbx, r11
    9f                                  | lahf
    0f 90 c0                            | seto al
    48 89 43 20                         | mov qword ptr [rbx + JOURNAL_FLAGS], rax
    48 81 3b 80 00 00 00                | cmp qword ptr [rbx + JOURNAL_COUNT], JOURNAL_CAPACITY
    0f 83 @                             | jae protect_by_python
    48 83 fa 07                         | cmp rdx, 7
    0f 87 @                             | ja protect_by_python
    b8 ab 00 00 00                      | mov eax, 0xab
    0f a3 d0                            | bt eax, edx
    0f 83 @                             | jae protect_by_python
    f7 c7 ff 0f 00 00                   | test edi, 0xfff
    0f 85 @                             | jne protect_by_python
    48 8d 86 ff 0f 00 00                | lea rax, [rsi + 0xfff]
    48 25 00 f0 ff ff                   | and rax, -0x1000
    0f 84 @                             | je protect_by_python
    48 01 f8                            | add rax, rdi
    0f 82 @                             | jb protect_by_python
    8b 4b 08                            | mov ecx, dword ptr [rbx + JOURNAL_AREA_COUNT]
    4c 8d 5b 40                         | lea r11, [rbx + JOURNAL_AREAS]
find_area:
    ff c9                               | dec ecx
    0f 88 @                             | js protect_by_python
    49 3b 3b                            | cmp rdi, qword ptr [r11]
    0f 82 @                             | jb next_area
    49 3b 43 08                         | cmp rax, qword ptr [r11 + 8]
    0f 86 @                             | jbe protect_now
next_area:
    49 83 c3 10                         | add r11, 0x10
    e9 @                                | jmp find_area
protect_now:
    48 89 43 28                         | mov qword ptr [rbx + JOURNAL_END], rax
    b8 0a 00 00 00                      | mov eax, 0xa
    0f 05                               | syscall
    85 c0                               | test eax, eax
    0f 85 @                             | jne protect_by_python
    48 8b 43 28                         | mov rax, qword ptr [rbx + JOURNAL_END]
    4c 8b 1b                            | mov r11, qword ptr [rbx + JOURNAL_COUNT]
    4b 8d 0c 5b                         | lea rcx, [r11 + r11*2]
    48 8d 8c cb 40 02 00 00             | lea rcx, [rbx + rcx*8 + JOURNAL_ENTRIES]
    4d 85 db                            | test r11, r11
    0f 84 @                             | je append_entry
    48 3b 51 f8                         | cmp rdx, qword ptr [rcx - 8]
    0f 85 @                             | jne append_entry
    48 3b 79 e8                         | cmp rdi, qword ptr [rcx - 0x18]
    0f 82 @                             | jb append_entry
    48 3b 79 f0                         | cmp rdi, qword ptr [rcx - 0x10]
    0f 87 @                             | ja append_entry
    48 3b 41 f0                         | cmp rax, qword ptr [rcx - 0x10]
    0f 86 @                             | jbe protected
    48 89 41 f0                         | mov qword ptr [rcx - 0x10], rax
    e9 @                                | jmp protected
append_entry:
    48 89 39                            | mov qword ptr [rcx], rdi
    48 89 41 08                         | mov qword ptr [rcx + 8], rax
    48 89 51 10                         | mov qword ptr [rcx + 0x10], rdx
    49 ff c3                            | inc r11
    4c 89 1b                            | mov qword ptr [rbx + JOURNAL_COUNT], r11
protected:
    48 8b 43 30                         | mov rax, qword ptr [rbx + JOURNAL_CONTEXT]
    48 83 78 20 00                      | cmp qword ptr [rax + CONTEXT_ATTENTION], 0
    0f 85 @                             | jne protect_by_python
    48 8b 43 20                         | mov rax, qword ptr [rbx + JOURNAL_FLAGS]
    48 8b 4b 10                         | mov rcx, qword ptr [rbx + JOURNAL_RETURN]
    48 8b 5b 18                         | mov rbx, qword ptr [rbx + JOURNAL_RBX]
    04 7f                               | add al, 0x7f
    9e                                  | sahf
    b8 00 00 00 00                      | mov eax, 0
    ff e1                               | jmp rcx
protect_by_python:
    48 8b 43 20                         | mov rax, qword ptr [rbx + JOURNAL_FLAGS]
    48 8b 4b 10                         | mov rcx, qword ptr [rbx + JOURNAL_RETURN]
    48 8b 5b 18                         | mov rbx, qword ptr [rbx + JOURNAL_RBX]
    04 7f                               | add al, 0x7f
    9e                                  | sahf
    48 8d 49 05                         | lea rcx, [rcx + 5]
    b8 0a 00 00 00                      | mov eax, 0xa
    ff e1                               | jmp rcx
"""
