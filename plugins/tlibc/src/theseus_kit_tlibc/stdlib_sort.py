"""stdlib.h: sorting and searching, in machine code, which calls the program's function as C does.

A comparison costs a call then, and not two crossings between the guest and Python; an exception, a
signal or a longjmp may leave from inside one. Compiled by gcc -Os from::

    void qsort_r(void *base, size_t n, size_t size, compare cmp, void *arg) {
        if (n < 2) return;
        struct sort s = {size, cmp, arg, malloc(n * size)};
        if (!s.tmp) {                                   /* no memory: insertion in place */
            for (size_t i = 1; i < n; i++)
                for (char *p = (char *)base + i * size;
                     p > (char *)base && cmp(p - size, p, arg) > 0; p -= size)
                    for (size_t k = 0; k < size; k++) swap(p + k, p + k - size);
            return;
        }
        merge(base, n, &s);
        free(s.tmp);
    }
    static void merge(char *b, size_t n, struct sort *s) {
        size_t size = s->size, n1 = n / 2, n2 = n - n1;
        char *b1 = b, *b2 = b + n1 * size, *tmp = s->tmp;
        if (n1 > 1) merge(b1, n1, s);
        if (n2 > 1) merge(b2, n2, s);
        while (n1 && n2) {
            if (s->cmp(b1, b2, s->arg) <= 0) { memcpy(tmp, b1, size); b1 += size; n1--; }
            else { memcpy(tmp, b2, size); b2 += size; n2--; }
            tmp += size;
        }
        if (n1) memcpy(tmp, b1, n1 * size);
        memcpy(b, s->tmp, (n - n2) * size);
    }
    void *bsearch(const void *key, const void *base, size_t n, size_t size, compare cmp) {
        for (size_t l = 0, u = n; l < u;) {
            size_t i = (l + u) / 2;
            const char *p = (const char *)base + i * size;
            int c = cmp(key, p);
            if (c < 0) u = i; else if (c > 0) l = i + 1; else return (void *)p;
        }
        return 0;
    }

A merge sort that is stable and compares in the order glibc's does, so programs that rely on either
(they should not) see what they see there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.listing import Listing

# Holes: malloc, free, memcpy.
QSORT_R = Listing(
    """
    4883fe01                cmp rsi, 1
    0f86e7000000            jbe 0xf1
    55                      push rbp
    4889e5                  mov rbp, rsp
    4157                    push r15
    4d89c7                  mov r15, r8
    4156                    push r14
    4989ce                  mov r14, rcx
    4155                    push r13
    4989fd                  mov r13, rdi
    4154                    push r12
    4989f4                  mov r12, rsi
    53                      push rbx
    4889d3                  mov rbx, rdx
    4883ec48                sub rsp, 0x48
    488955b0                mov qword ptr [rbp - 0x50], rdx
    48894db8                mov qword ptr [rbp - 0x48], rcx
    4c8945c0                mov qword ptr [rbp - 0x40], r8
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc
    4889f7                  mov rdi, rsi
    480faffa                imul rdi, rdx
    ffd0                    call rax
    488945c8                mov qword ptr [rbp - 0x38], rax
    4885c0                  test rax, rax
    7571                    jne 0xc3
    4d8d4c1d00              lea r9, [r13 + rbx]
    41b801000000            mov r8d, 1
    4c89ce                  mov rsi, r9                                  ; 0x5d
    4939f5                  cmp r13, rsi                                 ; 0x60
    7351                    jae 0xb6
    4889f1                  mov rcx, rsi
    4c894d98                mov qword ptr [rbp - 0x68], r9
    4c89fa                  mov rdx, r15
    4829d9                  sub rcx, rbx
    4c8945a0                mov qword ptr [rbp - 0x60], r8
    48894da8                mov qword ptr [rbp - 0x58], rcx
    4889cf                  mov rdi, rcx
    41ffd6                  call r14
    4c8b45a0                mov r8, qword ptr [rbp - 0x60]
    4c8b4d98                mov r9, qword ptr [rbp - 0x68]
    85c0                    test eax, eax
    7e2a                    jle 0xb6
    488b4da8                mov rcx, qword ptr [rbp - 0x58]
    4889c8                  mov rax, rcx
    488d1419                lea rdx, [rcx + rbx]
    4839d0                  cmp rax, rdx                                 ; 0x97
    7415                    je 0xb1
    408a3418                mov sil, byte ptr [rax + rbx]
    408a38                  mov dil, byte ptr [rax]
    48ffc0                  inc rax
    40887c18ff              mov byte ptr [rax + rbx - 1], dil
    408870ff                mov byte ptr [rax - 1], sil
    ebe6                    jmp 0x97
    4889ce                  mov rsi, rcx                                 ; 0xb1
    ebaa                    jmp 0x60
    49ffc0                  inc r8                                       ; 0xb6
    4901d9                  add r9, rbx
    4d39c4                  cmp r12, r8
    759c                    jne 0x5d
    eb1f                    jmp 0xe2
    488d55b0                lea rdx, [rbp - 0x50]                        ; 0xc3
    4c89e6                  mov rsi, r12
    4c89ef                  mov rdi, r13
    e820000000              call 0xf2
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc
    488b7dc8                mov rdi, qword ptr [rbp - 0x38]
    ffd0                    call rax
    4883c448                add rsp, 0x48                                ; 0xe2
    5b                      pop rbx
    415c                    pop r12
    415d                    pop r13
    415e                    pop r14
    415f                    pop r15
    5d                      pop rbp
    c3                      ret
    c3                      ret                                          ; 0xf1
    55                      push rbp                                     ; 0xf2
    4889e5                  mov rbp, rsp
    4157                    push r15
    4989f7                  mov r15, rsi
    4156                    push r14
    4155                    push r13
    4989d5                  mov r13, rdx
    4154                    push r12
    4989f4                  mov r12, rsi
    53                      push rbx
    49d1ec                  shr r12, 1
    4889f3                  mov rbx, rsi
    4d29e7                  sub r15, r12
    4883ec28                sub rsp, 0x28
    4c8b32                  mov r14, qword ptr [rdx]
    48897db0                mov qword ptr [rbp - 0x50], rdi
    4c89f0                  mov rax, r14
    490fafc4                imul rax, r12
    4801f8                  add rax, rdi
    488945c0                mov qword ptr [rbp - 0x40], rax
    488b4218                mov rax, qword ptr [rdx + 0x18]
    488945b8                mov qword ptr [rbp - 0x48], rax
    4883fe03                cmp rsi, 3
    7608                    jbe 0x140
    4c89e6                  mov rsi, r12
    e8b2ffffff              call 0xf2
    4983ff01                cmp r15, 1                                   ; 0x140
    760f                    jbe 0x155
    488b7dc0                mov rdi, qword ptr [rbp - 0x40]
    4c89ea                  mov rdx, r13
    4c89fe                  mov rsi, r15
    e89dffffff              call 0xf2
    488b45b0                mov rax, qword ptr [rbp - 0x50]              ; 0x155
    488945c8                mov qword ptr [rbp - 0x38], rax
    4d85e4                  test r12, r12                                ; 0x15d
    7465                    je 0x1c7
    4d85ff                  test r15, r15
    7447                    je 0x1ae
    498b5510                mov rdx, qword ptr [r13 + 0x10]
    488b75c0                mov rsi, qword ptr [rbp - 0x40]
    488b7dc8                mov rdi, qword ptr [rbp - 0x38]
    41ff5508                call qword ptr [r13 + 8]
    4c89f2                  mov rdx, r14
    85c0                    test eax, eax
    7f16                    jg 0x194
    488b75c8                mov rsi, qword ptr [rbp - 0x38]
    488b7db8                mov rdi, qword ptr [rbp - 0x48]
    49ffcc                  dec r12
    e85f000000              call 0x1ed
    4c0175c8                add qword ptr [rbp - 0x38], r14
    eb14                    jmp 0x1a8
    488b75c0                mov rsi, qword ptr [rbp - 0x40]              ; 0x194
    488b7db8                mov rdi, qword ptr [rbp - 0x48]
    49ffcf                  dec r15
    e849000000              call 0x1ed
    4c0175c0                add qword ptr [rbp - 0x40], r14
    4c0175b8                add qword ptr [rbp - 0x48], r14              ; 0x1a8
    ebaf                    jmp 0x15d
    4d85e4                  test r12, r12                                ; 0x1ae
    7414                    je 0x1c7
    4c89e2                  mov rdx, r12
    488b75c8                mov rsi, qword ptr [rbp - 0x38]
    488b7db8                mov rdi, qword ptr [rbp - 0x48]
    490fafd6                imul rdx, r14
    e826000000              call 0x1ed
    4c29fb                  sub rbx, r15                                 ; 0x1c7
    498b7518                mov rsi, qword ptr [r13 + 0x18]
    488b7db0                mov rdi, qword ptr [rbp - 0x50]
    4889da                  mov rdx, rbx
    490fafd6                imul rdx, r14
    e80f000000              call 0x1ed
    4883c428                add rsp, 0x28
    5b                      pop rbx
    415c                    pop r12
    415d                    pop r13
    415e                    pop r14
    415f                    pop r15
    5d                      pop rbp
    c3                      ret
    55                      push rbp                                     ; 0x1ed
    4889e5                  mov rbp, rsp
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc
    ffd0                    call rax
    5d                      pop rbp
    c3                      ret
    """
)

# The comparison gets a third argument that it does not look at.
QSORT = Listing(
    """
    4531c0                  xor r8d, r8d
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc                   ; qsort_r
    41ffe3                  jmp r11
    """
)

BSEARCH = Listing(
    """
    55                      push rbp
    4889e5                  mov rbp, rsp
    4157                    push r15
    4531ff                  xor r15d, r15d
    4156                    push r14
    4989f6                  mov r14, rsi
    4155                    push r13
    4154                    push r12
    53                      push rbx
    4889d3                  mov rbx, rdx
    4883ec28                sub rsp, 0x28
    48897dc8                mov qword ptr [rbp - 0x38], rdi
    4939df                  cmp r15, rbx                                 ; 0x1e
    733e                    jae 0x61
    4d8d241f                lea r12, [r15 + rbx]
    48894db8                mov qword ptr [rbp - 0x48], rcx
    488b7dc8                mov rdi, qword ptr [rbp - 0x38]
    49d1ec                  shr r12, 1
    4c8945c0                mov qword ptr [rbp - 0x40], r8
    4d89e5                  mov r13, r12
    4c0fafe9                imul r13, rcx
    4d01f5                  add r13, r14
    4c89ee                  mov rsi, r13
    41ffd0                  call r8
    4c8b45c0                mov r8, qword ptr [rbp - 0x40]
    488b4db8                mov rcx, qword ptr [rbp - 0x48]
    85c0                    test eax, eax
    780a                    js 0x5c
    7410                    je 0x64
    4d8d7c2401              lea r15, [r12 + 1]
    4989dc                  mov r12, rbx
    4c89e3                  mov rbx, r12                                 ; 0x5c
    ebbd                    jmp 0x1e
    4531ed                  xor r13d, r13d                               ; 0x61
    4883c428                add rsp, 0x28                                ; 0x64
    4c89e8                  mov rax, r13
    5b                      pop rbx
    415c                    pop r12
    415d                    pop r13
    415e                    pop r14
    415f                    pop r15
    5d                      pop rbp
    c3                      ret
    """
)


class Bodies(DeferredBodies):
    LISTINGS: ClassVar[Mapping[str, Listing]] = {
        "qsort": QSORT,
        "qsort_r": QSORT_R,
        "bsearch": BSEARCH,
    }

    def machine_code(self, name: str) -> bytes:
        provided = self.library.provided
        if name == "qsort_r":
            return QSORT_R.with_addresses(*map(provided, ("malloc", "free", "memcpy")))
        if name == "qsort":
            return QSORT.with_address(provided("qsort_r"))
        return BSEARCH.code
