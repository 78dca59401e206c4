"""From guest code to a Python function and back.

An export's stub puts its number into r11 and the machine's context into r10, registers that the
System V ABI leaves to linkage code, and jumps here. Everything is saved on the host's stack, never
on the guest's, which may be full: a fault here would be the host's.
"""

from __future__ import annotations

LISTING = """\
; from an export: r11 = its number, r10 = context
host_call:
    49 89 42 28                         | mov qword ptr [r10 + CONTEXT_SCRATCH], rax
    ; nothing may be pushed on the guest's stack
    49 8b 42 08                         | mov rax, qword ptr [r10 + CONTEXT_GUEST]
    48 8b 40 08                         | mov rax, qword ptr [rax + GUEST_FRAME]
    48 8d 80 b0 fe ff ff                | lea rax, [rax - FRAME_SIZE]
    48 89 58 08                         | mov qword ptr [rax + FRAME_RBX], rbx
    48 89 48 10                         | mov qword ptr [rax + FRAME_RCX], rcx
    48 89 50 18                         | mov qword ptr [rax + FRAME_RDX], rdx
    48 89 70 20                         | mov qword ptr [rax + FRAME_RSI], rsi
    48 89 78 28                         | mov qword ptr [rax + FRAME_RDI], rdi
    48 89 68 30                         | mov qword ptr [rax + FRAME_RBP], rbp
    4c 89 40 40                         | mov qword ptr [rax + FRAME_R8], r8
    4c 89 48 48                         | mov qword ptr [rax + FRAME_R9], r9
    4c 89 50 50                         | mov qword ptr [rax + FRAME_R10], r10
    4c 89 58 58                         | mov qword ptr [rax + FRAME_R11], r11
    4c 89 60 60                         | mov qword ptr [rax + FRAME_R12], r12
    4c 89 68 68                         | mov qword ptr [rax + FRAME_R13], r13
    4c 89 70 70                         | mov qword ptr [rax + FRAME_R14], r14
    4c 89 78 78                         | mov qword ptr [rax + FRAME_R15], r15
    0f 11 80 a0 00 00 00                | movups xmmword ptr [rax + FRAME_XMM], xmm0
    0f 11 88 b0 00 00 00                | movups xmmword ptr [rax + FRAME_XMM + 0x10], xmm1
    0f 11 90 c0 00 00 00                | movups xmmword ptr [rax + FRAME_XMM + 0x20], xmm2
    0f 11 98 d0 00 00 00                | movups xmmword ptr [rax + FRAME_XMM + 0x30], xmm3
    0f 11 a0 e0 00 00 00                | movups xmmword ptr [rax + FRAME_XMM + 0x40], xmm4
    0f 11 a8 f0 00 00 00                | movups xmmword ptr [rax + FRAME_XMM + 0x50], xmm5
    0f 11 b0 00 01 00 00                | movups xmmword ptr [rax + FRAME_XMM + 0x60], xmm6
    0f 11 b8 10 01 00 00                | movups xmmword ptr [rax + FRAME_XMM + 0x70], xmm7
    48 89 b8 20 01 00 00                | mov qword ptr [rax + FRAME_WORDS], rdi
    48 89 b0 28 01 00 00                | mov qword ptr [rax + FRAME_WORDS + 8], rsi
    48 89 90 30 01 00 00                | mov qword ptr [rax + FRAME_WORDS + 0x10], rdx
    48 89 88 38 01 00 00                | mov qword ptr [rax + FRAME_WORDS + 0x18], rcx
    4c 89 80 40 01 00 00                | mov qword ptr [rax + FRAME_WORDS + 0x20], r8
    4c 89 88 48 01 00 00                | mov qword ptr [rax + FRAME_WORDS + 0x28], r9
    48 8b 0c 24                         | mov rcx, qword ptr [rsp]
    48 89 88 80 00 00 00                | mov qword ptr [rax + FRAME_RIP], rcx
    4c 8d 7c 24 08                      | lea r15, [rsp + 8]
    4c 89 78 38                         | mov qword ptr [rax + FRAME_RSP], r15
    49 89 c6                            | mov r14, rax
    4c 89 d3                            | mov rbx, r10
    48 8b 6b 08                         | mov rbp, qword ptr [rbx + CONTEXT_GUEST]
    48 8b 65 00                         | mov rsp, qword ptr [rbp + GUEST_HOST_STACK]
    9c                                  | pushfq
    41 8f 86 88 00 00 00                | pop qword ptr [r14 + FRAME_RFLAGS]
    4c 8b 23                            | mov r12, qword ptr [rbx + CONTEXT_THREAD]
    49 c7 44 24 08 00 00 00 00          | mov qword ptr [r12 + THREAD_RUNNING], 0
    48 8b 4b 28                         | mov rcx, qword ptr [rbx + CONTEXT_SCRATCH]
    49 89 0e                            | mov qword ptr [r14 + FRAME_RAX], rcx
    49 89 a6 98 00 00 00                | mov qword ptr [r14 + FRAME_HOST_STACK], rsp
    4c 89 75 08                         | mov qword ptr [rbp + GUEST_FRAME], r14
    ; the host's control registers, kept by run_guest
    48 89 e1                            | mov rcx, rsp
    48 8d 55 18                         | lea rdx, [rbp + GUEST_FLOAT_STATE]
    e8 @                                | call switch_float_state
    4c 3b 75 30                         | cmp r14, qword ptr [rbp + GUEST_FRAMES_START]
    0f 82 @                             | jb frames_full
    4d 89 dd                            | mov r13, r11
    49 c1 e5 04                         | shl r13, 4
    4c 03 6b 38                         | add r13, qword ptr [rbx + CONTEXT_EXPORTS]
    41 8b 4d 0c                         | mov ecx, dword ptr [r13 + EXPORT_KIND]
    49 89 8e 90 00 00 00                | mov qword ptr [r14 + FRAME_KIND], rcx
    e8 @                                | call take_gil
    49 8b 7d 00                         | mov rdi, qword ptr [r13 + EXPORT_FUNCTION]
    49 8d b6 20 01 00 00                | lea rsi, [r14 + FRAME_WORDS]
    41 8b 55 08                         | mov edx, dword ptr [r13 + EXPORT_ARITY]
    ; the seventh argument lies above the return address
    4c 89 f9                            | mov rcx, r15
    e8 @                                | call call_python
    4c 3b 75 08                         | cmp r14, qword ptr [rbp + GUEST_FRAME]
    0f 85 @                             | jne out_of_order
    85 d2                               | test edx, edx
    0f 85 @                             | jne kill_guest
    49 89 c5                            | mov r13, rax
host_call_answered:
    e8 @                                | call select_guest
    48 83 7b 20 00                      | cmp qword ptr [rbx + CONTEXT_ATTENTION], 0
    0f 85 @                             | jne host_call_attention
    e8 @                                | call start_ticks
    48 89 e2                            | mov rdx, rsp
    48 8d 4d 18                         | lea rcx, [rbp + GUEST_FLOAT_STATE]
    e8 @                                | call switch_float_state
    49 8d 8e 50 01 00 00                | lea rcx, [r14 + FRAME_SIZE]
    48 89 4d 08                         | mov qword ptr [rbp + GUEST_FRAME], rcx
    41 0f 10 86 a0 00 00 00             | movups xmm0, xmmword ptr [r14 + FRAME_XMM]
    4c 89 e8                            | mov rax, r13
    4d 89 e2                            | mov r10, r12
    49 89 db                            | mov r11, rbx
    4c 89 f1                            | mov rcx, r14
    48 8b 59 08                         | mov rbx, qword ptr [rcx + FRAME_RBX]
    48 8b 69 30                         | mov rbp, qword ptr [rcx + FRAME_RBP]
    4c 8b 61 60                         | mov r12, qword ptr [rcx + FRAME_R12]
    4c 8b 69 68                         | mov r13, qword ptr [rcx + FRAME_R13]
    4c 8b 71 70                         | mov r14, qword ptr [rcx + FRAME_R14]
    4c 8b 79 78                         | mov r15, qword ptr [rcx + FRAME_R15]
    48 8b 49 38                         | mov rcx, qword ptr [rcx + FRAME_RSP]
    4d 89 5a 08                         | mov qword ptr [r10 + THREAD_RUNNING], r11
    48 8d 61 f8                         | lea rsp, [rcx - 8]
    c3                                  | ret
host_call_attention:
    ; the export is over: whether it re-enters no longer matters
    49 c7 86 90 00 00 00 03 00 00 00    | mov qword ptr [r14 + FRAME_KIND], KIND_REENTERING
    e8 @                                | call answer_attention
    4c 3b 75 08                         | cmp r14, qword ptr [rbp + GUEST_FRAME]
    0f 85 @                             | jne out_of_order
    85 d2                               | test edx, edx
    0f 85 @                             | jne kill_guest
    e9 @                                | jmp host_call_answered

; rdi = callable, rsi = six words, rdx = how many,
call_python:
    ; rcx = where the seventh is → rax, edx = 1: error
    55                                  | push rbp
    48 89 e5                            | mov rbp, rsp
    53                                  | push rbx
    41 54                               | push r12
    41 55                               | push r13
    41 56                               | push r14
    41 57                               | push r15
    48 83 ec 08                         | sub rsp, 8
    48 89 fb                            | mov rbx, rdi
    49 89 f4                            | mov r12, rsi
    41 89 d5                            | mov r13d, edx
    49 89 ce                            | mov r14, rcx
    ; the export may be replaced meanwhile
    ff 15 @                             | call qword ptr [rip + Py_IncRef]
    4a 8d 04 ed 18 00 00 00             | lea rax, [r13*8 + 0x18]
    48 83 e0 f0                         | and rax, -0x10
    48 29 c4                            | sub rsp, rax  ; slot 0 is the callee's to use
    45 31 ff                            | xor r15d, r15d
convert:
    4d 39 ef                            | cmp r15, r13
    0f 83 @                             | jae converted
    49 83 ff 06                         | cmp r15, 6
    0f 83 @                             | jae convert_more
    4b 8b 3c fc                         | mov rdi, qword ptr [r12 + r15*8]
    e9 @                                | jmp convert_word
convert_more:
    4b 8b 7c fe d0                      | mov rdi, qword ptr [r14 + r15*8 - 0x30]
convert_word:
    ff 15 @                             | call qword ptr [rip + PyLong_FromUnsignedLongLong]
    48 85 c0                            | test rax, rax
    0f 84 @                             | je convert_failed
    4a 89 44 fc 08                      | mov qword ptr [rsp + r15*8 + 8], rax
    49 ff c7                            | inc r15
    e9 @                                | jmp convert
converted:
    48 89 df                            | mov rdi, rbx
    48 8d 74 24 08                      | lea rsi, [rsp + 8]
    ; PY_VECTORCALL_ARGUMENTS_OFFSET
    48 ba 00 00 00 00 00 00 00 80       | movabs rdx, 0x8000000000000000
    4c 09 ea                            | or rdx, r13
    31 c9                               | xor ecx, ecx
    ff 15 @                             | call qword ptr [rip + PyObject_Vectorcall]
    49 89 c4                            | mov r12, rax
    e9 @                                | jmp release
convert_failed:
    45 31 e4                            | xor r12d, r12d
release:
    4d 85 ff                            | test r15, r15
    0f 84 @                             | je released
    49 ff cf                            | dec r15
    4a 8b 7c fc 08                      | mov rdi, qword ptr [rsp + r15*8 + 8]
    ff 15 @                             | call qword ptr [rip + Py_DecRef]
    e9 @                                | jmp release
released:
    48 89 df                            | mov rdi, rbx
    ff 15 @                             | call qword ptr [rip + Py_DecRef]
    41 bd 01 00 00 00                   | mov r13d, 1
    31 db                               | xor ebx, ebx
    4d 85 e4                            | test r12, r12
    0f 84 @                             | je call_python_leave
    45 31 ed                            | xor r13d, r13d
    4c 3b 25 @                          | cmp r12, qword ptr [rip + Py_None]
    0f 84 @                             | je call_python_result
    4c 89 e7                            | mov rdi, r12
    ff 15 @                             | call qword ptr [rip + PyLong_AsUnsignedLongLongMask]
    48 89 c3                            | mov rbx, rax
    48 83 f8 ff                         | cmp rax, -1
    0f 85 @                             | jne call_python_result
    ff 15 @                             | call qword ptr [rip + PyErr_Occurred]
    48 85 c0                            | test rax, rax
    41 0f 95 c5                         | setne r13b
call_python_result:
    4c 89 e7                            | mov rdi, r12
    ff 15 @                             | call qword ptr [rip + Py_DecRef]
call_python_leave:
    48 89 d8                            | mov rax, rbx
    44 89 ea                            | mov edx, r13d
    48 8d 65 d8                         | lea rsp, [rbp - 0x28]
    41 5f                               | pop r15
    41 5e                               | pop r14
    41 5d                               | pop r13
    41 5c                               | pop r12
    5b                                  | pop rbx
    5d                                  | pop rbp
    c3                                  | ret
"""
