"""From Python to guest code and back.

``enter`` and ``prepared`` are the C functions of Python builtins (METH_FASTCALL, METH_NOARGS): a
call costs no ctypes conversion. They run with the GIL held and keep it; only a tick releases it
(:mod:`.signals`). What a call saves on the host's stack::

    high addresses
    │ Python's C frames                     │
    ├───────────────────────────────────────┤
    │ callee-saved registers, call's words  │  enter or prepared
    ├───────────────────────────────────────┤
    │ HOST_STACK and FRAME of the outer call│  run_guest; of this guest thread
    │ FLOAT_STATE before this call          │
    │ the guest thread                      │
    │ MXCSR, x87 control word of the host   │
    ├───────────────────────────────────────┤ ← GUEST_HOST_STACK: what exports and exceptions
    low addresses                              need goes below, and kill_guest goes back here

A Python error that is to end the guest call stays the thread's current error: kill_guest drops the
guest's frames by taking the stack pointer back, and the builtin returns NULL.

A call belongs to the guest thread that was selected when it was made, rbp where Python is called.
Other guest threads may be selected, and other greenlets have their turn on this stack, while Python
has control; by the time it returns, greenlet has put this part of the stack back. Then the thread
is selected again, unless the call is over. What was called later on the same thread must have
returned by then: out_of_order ends the call otherwise, for its frames are not the innermost.
"""

from __future__ import annotations

LISTING = """\
; enter(self, arguments, count) of a Python builtin
enter:
    55                                  | push rbp
    53                                  | push rbx
    41 54                               | push r12
    41 55                               | push r13
    41 56                               | push r14
    41 57                               | push r15
    48 81 ec 98 00 00 00                | sub rsp, 0x98
    49 89 f4                            | mov r12, rsi
    49 89 d5                            | mov r13, rdx
    48 89 e7                            | mov rdi, rsp  ; words that are not given are zero
    b9 11 00 00 00                      | mov ecx, 0x11
    31 c0                               | xor eax, eax
    f3 48 ab                            | rep stosq
    31 db                               | xor ebx, ebx
enter_argument:
    4c 39 eb                            | cmp rbx, r13
    0f 83 @                             | jae enter_arguments_done
    49 8b 3c dc                         | mov rdi, qword ptr [r12 + rbx*8]
    ff 15 @                             | call qword ptr [rip + PyLong_AsUnsignedLongLongMask]
    48 89 04 dc                         | mov qword ptr [rsp + rbx*8], rax
    48 ff c3                            | inc rbx
    e9 @                                | jmp enter_argument
enter_arguments_done:
    ff 15 @                             | call qword ptr [rip + PyErr_Occurred]
    48 85 c0                            | test rax, rax
    0f 85 @                             | jne enter_failed
    48 8b 1c 24                         | mov rbx, qword ptr [rsp]                ; the context
    ; target, stack pointer, six words, floats
    4c 8d 74 24 08                      | lea r14, [rsp + 8]
    4d 8d 7d f7                         | lea r15, [r13 - 9]                      ; how many floats
    31 c0                               | xor eax, eax
    49 83 ff 00                         | cmp r15, 0
    4c 0f 4c f8                         | cmovl r15, rax
    48 8b 43 08                         | mov rax, qword ptr [rbx + CONTEXT_GUEST]
    48 83 38 00                         | cmp qword ptr [rax + GUEST_HOST_STACK], 0
    0f 85 @                             | jne enter_checked
    e8 @                                | call check_handlers
    0f 83 @                             | jae enter_refused
enter_checked:
    49 83 7e 08 00                      | cmp qword ptr [r14 + 8], 0
    0f 85 @                             | jne enter_placed
    e8 @                                | call find_stack
    48 85 c0                            | test rax, rax
    0f 84 @                             | je enter_refused
    49 89 46 08                         | mov qword ptr [r14 + 8], rax
enter_placed:
    e8 @                                | call run_guest
    83 fa 01                            | cmp edx, 1
    0f 84 @                             | je enter_failed
    0f 87 @                             | ja enter_refused
    48 89 c7                            | mov rdi, rax
    ff 15 @                             | call qword ptr [rip + PyLong_FromUnsignedLongLong]
    e9 @                                | jmp enter_leave
enter_refused:
    48 8b 3d @                          | mov rdi, qword ptr [rip + Py_None]
    ff 15 @                             | call qword ptr [rip + Py_IncRef]
    48 8b 05 @                          | mov rax, qword ptr [rip + Py_None]
    e9 @                                | jmp enter_leave
enter_failed:
    31 c0                               | xor eax, eax
enter_leave:
    48 81 c4 98 00 00 00                | add rsp, 0x98
    41 5f                               | pop r15
    41 5e                               | pop r14
    41 5d                               | pop r13
    41 5c                               | pop r12
    5b                                  | pop rbx
    5d                                  | pop rbp
    c3                                  | ret

; a builtin without arguments; r11 = its slot
prepared:
    55                                  | push rbp
    53                                  | push rbx
    41 54                               | push r12
    41 55                               | push r13
    41 56                               | push r14
    41 57                               | push r15
    48 83 ec 08                         | sub rsp, 8
    4c 89 dd                            | mov rbp, r11
    49 8b 1b                            | mov rbx, qword ptr [r11 + SLOT_CONTEXT]
    e8 @                                | call find_stack
    48 85 c0                            | test rax, rax
    0f 84 @                             | je prepared_slow
    48 89 45 18                         | mov qword ptr [rbp + SLOT_STACK_POINTER], rax
    48 89 2c 24                         | mov qword ptr [rsp], rbp
    48 8b 03                            | mov rax, qword ptr [rbx + CONTEXT_THREAD]
    48 83 78 28 00                      | cmp qword ptr [rax + THREAD_TICKING], 0
    0f 85 @                             | jne prepared_checked
    ; after a pause only: it costs a system call
    e8 @                                | call check_handlers
    0f 83 @                             | jae prepared_refused
prepared_checked:
    4c 8d 75 10                         | lea r14, [rbp + SLOT_TARGET]
    45 31 ff                            | xor r15d, r15d
    e8 @                                | call run_guest
    83 fa 01                            | cmp edx, 1
    0f 84 @                             | je prepared_failed
    0f 87 @                             | ja prepared_refused
    48 89 c7                            | mov rdi, rax
    ff 15 @                             | call qword ptr [rip + PyLong_FromUnsignedLongLong]
    e9 @                                | jmp prepared_leave
prepared_refused:
    48 8b 2c 24                         | mov rbp, qword ptr [rsp]
prepared_slow:
    48 8b 7d 08                         | mov rdi, qword ptr [rbp + SLOT_SLOW]
    ff 15 @                             | call qword ptr [rip + PyObject_CallNoArgs]
    e9 @                                | jmp prepared_leave
prepared_failed:
    31 c0                               | xor eax, eax
prepared_leave:
    48 83 c4 08                         | add rsp, 8
    41 5f                               | pop r15
    41 5e                               | pop r14
    41 5d                               | pop r13
    41 5c                               | pop r12
    5b                                  | pop rbx
    5d                                  | pop rbp
    c3                                  | ret

; rbx = context → rax: the call's rsp, 0: ask Python
find_stack:
    48 8b 53 08                         | mov rdx, qword ptr [rbx + CONTEXT_GUEST]
    48 8b 42 10                         | mov rax, qword ptr [rdx + GUEST_TOP]
    48 85 c0                            | test rax, rax
    0f 84 @                             | je find_stack_done
    48 83 3a 00                         | cmp qword ptr [rdx + GUEST_HOST_STACK], 0
    0f 84 @                             | je find_stack_done
    31 c0                               | xor eax, eax
    48 8b 4a 08                         | mov rcx, qword ptr [rdx + GUEST_FRAME]
    48 39 d1                            | cmp rcx, rdx
    ; another host thread runs guest code
    0f 84 @                             | je find_stack_done
    48 83 b9 90 00 00 00 03             | cmp qword ptr [rcx + FRAME_KIND], FIRST_KIND_AT_REST
    0f 82 @                             | jb find_stack_done
    48 8b 41 38                         | mov rax, qword ptr [rcx + FRAME_RSP]
    48 83 c0 80                         | add rax, -0x80  ; the red zone
    48 83 e0 f0                         | and rax, -0x10
find_stack_done:
    c3                                  | ret

; rbx = context, r14 = words, r15 = floats
run_guest:
    ; → rax, edx = 0; 1: Python error; 2: not this thread
    4c 8b 23                            | mov r12, qword ptr [rbx + CONTEXT_THREAD]
    64 48 8b 04 25 00 00 00 00          | mov rax, qword ptr fs:[0]
    49 3b 04 24                         | cmp rax, qword ptr [r12 + THREAD_POINTER]
    0f 85 @                             | jne run_guest_refused
    4c 8b 6b 08                         | mov r13, qword ptr [rbx + CONTEXT_GUEST]
    41 ff 75 00                         | push qword ptr [r13 + GUEST_HOST_STACK]
    41 ff 75 08                         | push qword ptr [r13 + GUEST_FRAME]
    41 ff 75 18                         | push qword ptr [r13 + GUEST_FLOAT_STATE]
    41 55                               | push r13
    48 83 ec 08                         | sub rsp, 8
    49 83 7d 00 00                      | cmp qword ptr [r13 + GUEST_HOST_STACK], 0
    0f 85 @                             | jne run_guest_begin
    4c 39 6b 18                         | cmp qword ptr [rbx + CONTEXT_ASKED], r13
    0f 85 @                             | jne run_guest_count
    ; what was asked of this thread's last call came too late
    48 c7 43 20 00 00 00 00             | mov qword ptr [rbx + CONTEXT_ATTENTION], 0
run_guest_count:
    48 ff 43 10                         | inc qword ptr [rbx + CONTEXT_CALLS]
run_guest_begin:
    49 89 65 00                         | mov qword ptr [r13 + GUEST_HOST_STACK], rsp
    e8 @                                | call start_ticks
    48 89 e2                            | mov rdx, rsp
    49 8d 4d 18                         | lea rcx, [r13 + GUEST_FLOAT_STATE]
    e8 @                                | call switch_float_state
    4d 85 ff                            | test r15, r15
    0f 84 @                             | je run_guest_integers
    f3 41 0f 7e 46 40                   | movq xmm0, qword ptr [r14 + 0x40]
    f3 41 0f 7e 4e 48                   | movq xmm1, qword ptr [r14 + 0x48]
    f3 41 0f 7e 56 50                   | movq xmm2, qword ptr [r14 + 0x50]
    f3 41 0f 7e 5e 58                   | movq xmm3, qword ptr [r14 + 0x58]
    f3 41 0f 7e 66 60                   | movq xmm4, qword ptr [r14 + 0x60]
    f3 41 0f 7e 6e 68                   | movq xmm5, qword ptr [r14 + 0x68]
    f3 41 0f 7e 76 70                   | movq xmm6, qword ptr [r14 + 0x70]
    f3 41 0f 7e 7e 78                   | movq xmm7, qword ptr [r14 + 0x78]
run_guest_integers:
    49 8b 7e 10                         | mov rdi, qword ptr [r14 + 0x10]
    49 8b 76 18                         | mov rsi, qword ptr [r14 + 0x18]
    49 8b 56 20                         | mov rdx, qword ptr [r14 + 0x20]
    49 8b 4e 28                         | mov rcx, qword ptr [r14 + 0x28]
    4d 8b 46 30                         | mov r8, qword ptr [r14 + 0x30]
    4d 8b 4e 38                         | mov r9, qword ptr [r14 + 0x38]
    ; a variadic function's number of vector registers
    4c 89 f8                            | mov rax, r15
    4d 8b 1e                            | mov r11, qword ptr [r14]
    49 8b 66 08                         | mov rsp, qword ptr [r14 + 8]
    31 ed                               | xor ebp, ebp  ; where walks along frame pointers end
    49 89 5c 24 08                      | mov qword ptr [r12 + THREAD_RUNNING], rbx
    41 ff d3                            | call r11
    49 c7 44 24 08 00 00 00 00          | mov qword ptr [r12 + THREAD_RUNNING], 0
    4c 8b 6b 08                         | mov r13, qword ptr [rbx + CONTEXT_GUEST]
    49 8b 65 00                         | mov rsp, qword ptr [r13 + GUEST_HOST_STACK]
    66 41 0f d6 45 20                   | movq qword ptr [r13 + GUEST_FLOAT_RESULT], xmm0
    49 89 c6                            | mov r14, rax
    48 89 e1                            | mov rcx, rsp
    49 8d 55 18                         | lea rdx, [r13 + GUEST_FLOAT_STATE]
    e8 @                                | call switch_float_state
    e8 @                                | call take_gil
    4c 89 f0                            | mov rax, r14
    31 d2                               | xor edx, edx
run_guest_leave:
    48 83 c4 08                         | add rsp, 8
    41 5d                               | pop r13
    59                                  | pop rcx
    41 8f 45 08                         | pop qword ptr [r13 + GUEST_FRAME]
    59                                  | pop rcx
    49 89 4d 00                         | mov qword ptr [r13 + GUEST_HOST_STACK], rcx
    48 85 c9                            | test rcx, rcx
    0f 85 @                             | jne run_guest_nested
    48 ff 4b 10                         | dec qword ptr [rbx + CONTEXT_CALLS]
run_guest_nested:
    c3                                  | ret
run_guest_refused:
    ba 02 00 00 00                      | mov edx, 2
    c3                                  | ret

; rbx = context, rbp = guest thread; a Python error is set
kill_guest:
    48 8b 65 00                         | mov rsp, qword ptr [rbp + GUEST_HOST_STACK]
kill_guest_here:
    db e3                               | fninit
    0f ae 14 24                         | ldmxcsr dword ptr [rsp]
    d9 6c 24 04                         | fldcw word ptr [rsp + 4]
    fc                                  | cld
    ; the outer guest code's
    48 8b 44 24 10                      | mov rax, qword ptr [rsp + 0x10]
    48 83 7c 24 20 00                   | cmp qword ptr [rsp + 0x20], 0
    0f 85 @                             | jne kill_guest_nested
    48 b8 80 1f 00 00 7f 03 00 00       | movabs rax, 0x37f00001f80
kill_guest_nested:
    48 89 45 18                         | mov qword ptr [rbp + GUEST_FLOAT_STATE], rax
    ba 01 00 00 00                      | mov edx, 1
    e9 @                                | jmp run_guest_leave

; rbp = guest thread, r14 = frame that Python returned to; it is not the innermost
out_of_order:
    48 c7 45 10 00 00 00 00             | mov qword ptr [rbp + GUEST_TOP], 0  ; no calls any more
    48 8b 3d @                          | mov rdi, qword ptr [rip + order_error]
    48 8d 35 @                          | lea rsi, [rip + order_text]
    ff 15 @                             | call qword ptr [rip + PyErr_SetString]
    49 8b a6 98 00 00 00                | mov rsp, qword ptr [r14 + FRAME_HOST_STACK]
    e9 @                                | jmp kill_guest_here

; r12 = thread, rbp = guest thread, which has no room for another frame
frames_full:
    e8 @                                | call take_gil
    48 8b 3d @                          | mov rdi, qword ptr [rip + recursion_error]
    48 8d 35 @                          | lea rsi, [rip + recursion_text]
    ff 15 @                             | call qword ptr [rip + PyErr_SetString]
    e9 @                                | jmp kill_guest

; rbx = context, r12 = thread → edx = 1: Python error
answer_attention:
    48 83 ec 08                         | sub rsp, 8
    e8 @                                | call take_gil
    48 8b 7b 58                         | mov rdi, qword ptr [rbx + CONTEXT_ON_ATTENTION]
    31 d2                               | xor edx, edx
    e8 @                                | call call_python
    48 83 c4 08                         | add rsp, 8
    c3                                  | ret

; rbx = context, rbp = guest thread
select_guest:
    48 89 6b 08                         | mov qword ptr [rbx + CONTEXT_GUEST], rbp
    48 8b 4d 28                         | mov rcx, qword ptr [rbp + GUEST_FS_BASE]
    48 89 4b 50                         | mov qword ptr [rbx + CONTEXT_THREAD_POINTER], rcx
    c3                                  | ret

; r12 = thread; preserves rbx, rbp, r12 to r15
take_gil:
    49 8b 7c 24 10                      | mov rdi, qword ptr [r12 + THREAD_GIL]
    48 85 ff                            | test rdi, rdi
    0f 84 @                             | je take_gil_held
    49 c7 44 24 10 00 00 00 00          | mov qword ptr [r12 + THREAD_GIL], 0
    ff 25 @                             | jmp qword ptr [rip + PyEval_RestoreThread]
take_gil_held:
    c3                                  | ret

; r12 = thread; preserves rbx, rbp, r12 to r15
start_ticks:
    49 ff 44 24 18                      | inc qword ptr [r12 + THREAD_ENTRIES]
    49 83 7c 24 28 00                   | cmp qword ptr [r12 + THREAD_TICKING], 0
    0f 85 @                             | jne start_ticks_done
    49 c7 44 24 28 01 00 00 00          | mov qword ptr [r12 + THREAD_TICKING], 1
    b8 df 00 00 00                      | mov eax, 0xdf                           ; timer_settime
    49 8b 7c 24 30                      | mov rdi, qword ptr [r12 + THREAD_TIMER]
    31 f6                               | xor esi, esi
    48 8d 15 @                          | lea rdx, [rip + tick_period]
    45 31 d2                            | xor r10d, r10d
    0f 05                               | syscall
start_ticks_done:
    c3                                  | ret

; carry: our handler of SIGSEGV is in place
check_handlers:
    b8 0d 00 00 00                      | mov eax, 0xd                            ; rt_sigaction
    bf 0b 00 00 00                      | mov edi, SIGSEGV
    31 f6                               | xor esi, esi
    48 8d 15 @                          | lea rdx, [rip + found_handler]
    41 ba 08 00 00 00                   | mov r10d, 8
    0f 05                               | syscall
    48 8b 05 @                          | mov rax, qword ptr [rip + found_handler]
    48 2b 05 @                          | sub rax, qword ptr [rip + first_entry]
    48 3b 05 @                          | cmp rax, qword ptr [rip + entries_size]
    c3                                  | ret

; keep control registers at rdx, take those at rcx
switch_float_state:
    0f ae 1a                            | stmxcsr dword ptr [rdx]
    d9 7a 04                            | fnstcw word ptr [rdx + 4]
    8b 02                               | mov eax, dword ptr [rdx]
    33 01                               | xor eax, dword ptr [rcx]
    ; status flags are anybody's (ABI, 3.2.1)
    83 e0 c0                            | and eax, 0xffffffc0
    ; loading costs forty times what comparing does
    0f 84 @                             | je switch_x87
    0f ae 11                            | ldmxcsr dword ptr [rcx]
switch_x87:
    0f b7 42 04                         | movzx eax, word ptr [rdx + 4]
    66 3b 41 04                         | cmp ax, word ptr [rcx + 4]
    0f 84 @                             | je switch_float_state_done
    d9 69 04                            | fldcw word ptr [rcx + 4]
switch_float_state_done:
    c3                                  | ret
"""
