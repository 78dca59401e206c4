"""From guest code to Python because of a fault, a ``syscall`` instruction or a timer.

One handler for SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS and the timer's signal. A signal is
the guest's if guest code runs on this very thread (its record says so) *and* the instruction is in
the guest's addresses or its fetch was what faulted; a C signal handler that interrupted guest code
fails the second test, a thread of the host the first. Everything else goes to the handler before
us, as if we were not there.

The kernel's frame is copied from the alternate stack to the host's stack, vector state and all;
Python runs there, and the guest goes on through rt_sigreturn from the edited copy::

    ├───────────────────────────────┤ ← GUEST_HOST_STACK
    │ vector state (XSAVE area)     │   64-byte aligned
    │ ucontext_t                    │ ← r13, rsp
    low addresses

The timer makes guest code behave as Python's own loop does: after a tick it goes on without the
GIL, and the next way out to Python takes it back. So short calls never pay for it, other threads
run, and every few ticks Python's signal handlers get their turn.
"""

from __future__ import annotations

LISTING = """\
; edi = signal, rsi = siginfo, rdx = ucontext,
signal_entry:
    ; r11 = the handlers before us, by signal
    64 48 8b 04 25 00 00 00 00          | mov rax, qword ptr fs:[0]
    4c 8d 05 @                          | lea r8, [rip + threads]
    8b 0d @                             | mov ecx, dword ptr [rip + thread_count]
find_thread:
    85 c9                               | test ecx, ecx
    0f 84 @                             | je not_ours
    49 3b 00                            | cmp rax, qword ptr [r8 + THREAD_POINTER]
    0f 84 @                             | je found_thread
    49 83 c0 40                         | add r8, THREAD_SIZE
    ff c9                               | dec ecx
    e9 @                                | jmp find_thread
found_thread:
    4d 8b 48 08                         | mov r9, qword ptr [r8 + THREAD_RUNNING]
    4d 85 c9                            | test r9, r9
    0f 84 @                             | je not_in_guest
    48 8b 82 a8 00 00 00                | mov rax, qword ptr [rdx + UCONTEXT_RIP]
    48 2b 05 @                          | sub rax, qword ptr [rip + guest_start]
    48 3b 05 @                          | cmp rax, qword ptr [rip + guest_size]
    0f 82 @                             | jb in_guest
    ; a jump to nowhere: the fetch itself faulted
    83 ff 0b                            | cmp edi, SIGSEGV
    0f 85 @                             | jne not_in_guest_now
    48 83 ba c8 00 00 00 0e             | cmp qword ptr [rdx + UCONTEXT_TRAPNO], 0xe
    0f 85 @                             | jne not_in_guest
    f6 82 c0 00 00 00 10                | test byte ptr [rdx + UCONTEXT_ERR], 0x10
    0f 84 @                             | je not_in_guest
in_guest:
    3b 3d @                             | cmp edi, dword ptr [rip + tick_signal]
    0f 84 @                             | je leave_guest
    ; sent by somebody, no fault
    83 7e 08 00                         | cmp dword ptr [rsi + SIGINFO_CODE], 0
    0f 8e @                             | jle not_ours
leave_guest:
    4c 89 cb                            | mov rbx, r9
    4d 89 c4                            | mov r12, r8
    49 89 d5                            | mov r13, rdx
    41 89 ff                            | mov r15d, edi
    44 8b 76 1c                         | mov r14d, dword ptr [rsi + SIGINFO_ARCH]
    49 8b b5 e0 00 00 00                | mov rsi, qword ptr [r13 + UCONTEXT_FPSTATE]
    b9 00 02 00 00                      | mov ecx, 0x200
    ; UC_FP_XSTATE: more than the FXSAVE area
    41 f6 45 00 01                      | test byte ptr [r13], 1
    0f 84 @                             | je copy_vectors
    8b 8e d4 01 00 00                   | mov ecx, dword ptr [rsi + FPSTATE_EXTENDED_SIZE]
copy_vectors:
    48 8b 6b 08                         | mov rbp, qword ptr [rbx + CONTEXT_GUEST]
    48 8b 55 00                         | mov rdx, qword ptr [rbp + GUEST_HOST_STACK]
    48 29 ca                            | sub rdx, rcx
    48 83 e2 c0                         | and rdx, -0x40
    48 89 d7                            | mov rdi, rdx
    fc                                  | cld
    f3 a4                               | rep movsb
    4c 89 ee                            | mov rsi, r13
    4c 8d aa d0 fe ff ff                | lea r13, [rdx - UCONTEXT_SIZE]
    4c 89 ef                            | mov rdi, r13
    b9 26 00 00 00                      | mov ecx, UCONTEXT_WORDS
    f3 48 a5                            | rep movsq
    49 89 95 e0 00 00 00                | mov qword ptr [r13 + UCONTEXT_FPSTATE], rdx
    4c 89 ec                            | mov rsp, r13
    49 c7 44 24 08 00 00 00 00          | mov qword ptr [r12 + THREAD_RUNNING], 0
    48 8b 55 08                         | mov rdx, qword ptr [rbp + GUEST_FRAME]
    48 8d 92 b0 fe ff ff                | lea rdx, [rdx - FRAME_SIZE]
    48 8d 35 @                          | lea rsi, [rip + register_order]
    31 c9                               | xor ecx, ecx
copy_registers:
    0f b6 04 0e                         | movzx eax, byte ptr [rsi + rcx]
    49 8b 44 c5 00                      | mov rax, qword ptr [r13 + rax*8]
    48 89 04 ca                         | mov qword ptr [rdx + rcx*8], rax
    ff c1                               | inc ecx
    83 f9 12                            | cmp ecx, 0x12
    0f 85 @                             | jne copy_registers
    48 8b 45 00                         | mov rax, qword ptr [rbp + GUEST_HOST_STACK]
    48 89 82 98 00 00 00                | mov qword ptr [rdx + FRAME_HOST_STACK], rax
    48 89 55 08                         | mov qword ptr [rbp + GUEST_FRAME], rdx
    48 3b 55 30                         | cmp rdx, qword ptr [rbp + GUEST_FRAMES_START]
    0f 82 @                             | jb frames_full
    44 3b 3d @                          | cmp r15d, dword ptr [rip + tick_signal]
    0f 84 @                             | je tick
    e8 @                                | call take_gil
    41 83 ff 1f                         | cmp r15d, SIGSYS
    0f 85 @                             | jne exception
    41 81 fe 3e 00 00 c0                | cmp r14d, ARCH_X86_64  ; int 0x80 is none of ours
    0f 84 @                             | je system_call
exception:
    4c 8b 75 08                         | mov r14, qword ptr [rbp + GUEST_FRAME]
    49 c7 86 90 00 00 00 04 00 00 00    | mov qword ptr [r14 + FRAME_KIND], KIND_EXCEPTION
    4d 89 b6 20 01 00 00                | mov qword ptr [r14 + FRAME_WORDS], r14
    4d 89 ae 28 01 00 00                | mov qword ptr [r14 + FRAME_WORDS + 8], r13
    4d 89 be 30 01 00 00                | mov qword ptr [r14 + FRAME_WORDS + 0x10], r15
    48 8b 7b 40                         | mov rdi, qword ptr [rbx + CONTEXT_ON_EXCEPTION]
    49 8d b6 20 01 00 00                | lea rsi, [r14 + FRAME_WORDS]
    ba 03 00 00 00                      | mov edx, 3
    e8 @                                | call call_python
    4c 3b 75 08                         | cmp r14, qword ptr [rbp + GUEST_FRAME]
    0f 85 @                             | jne out_of_order
    85 d2                               | test edx, edx
    0f 85 @                             | jne kill_guest
    e9 @                                | jmp resume_guest

system_call:
    4c 8b 75 08                         | mov r14, qword ptr [rbp + GUEST_FRAME]
    49 c7 86 90 00 00 00 01 00 00 00    | mov qword ptr [r14 + FRAME_KIND], KIND_SYSTEM_CALL
    49 8b 06                            | mov rax, qword ptr [r14 + FRAME_RAX]
    48 3d 00 02 00 00                   | cmp rax, REENTRANT_SYSTEM_CALLS
    0f 83 @                             | jae call_with_arguments
    48 0f a3 83 80 00 00 00             | bt qword ptr [rbx + CONTEXT_REENTRANT], rax
    0f 83 @                             | jae call_with_arguments
    49 c7 86 90 00 00 00 05 00 00 00    | mov qword ptr [r14 + FRAME_KIND], KIND_REENTRANT_CALL
call_with_arguments:
    ; the instruction, for whoever asks meanwhile
    49 83 ae 80 00 00 00 02             | sub qword ptr [r14 + FRAME_RIP], 2
    49 89 86 20 01 00 00                | mov qword ptr [r14 + FRAME_WORDS], rax
    49 8b 46 28                         | mov rax, qword ptr [r14 + FRAME_RDI]
    49 89 86 28 01 00 00                | mov qword ptr [r14 + FRAME_WORDS + 8], rax
    49 8b 46 20                         | mov rax, qword ptr [r14 + FRAME_RSI]
    49 89 86 30 01 00 00                | mov qword ptr [r14 + FRAME_WORDS + 0x10], rax
    49 8b 46 18                         | mov rax, qword ptr [r14 + FRAME_RDX]
    49 89 86 38 01 00 00                | mov qword ptr [r14 + FRAME_WORDS + 0x18], rax
    49 8b 46 50                         | mov rax, qword ptr [r14 + FRAME_R10]
    49 89 86 40 01 00 00                | mov qword ptr [r14 + FRAME_WORDS + 0x20], rax
    49 8b 46 40                         | mov rax, qword ptr [r14 + FRAME_R8]
    49 89 86 48 01 00 00                | mov qword ptr [r14 + FRAME_WORDS + 0x28], rax
    48 8b 7b 48                         | mov rdi, qword ptr [rbx + CONTEXT_ON_SYSTEM_CALL]
    49 8d b6 20 01 00 00                | lea rsi, [r14 + FRAME_WORDS]
    ba 07 00 00 00                      | mov edx, 7
    49 8d 4e 48                         | lea rcx, [r14 + FRAME_R9]
    e8 @                                | call call_python
    4c 3b 75 08                         | cmp r14, qword ptr [rbp + GUEST_FRAME]
    0f 85 @                             | jne out_of_order
    85 d2                               | test edx, edx
    0f 85 @                             | jne kill_guest
    49 89 06                            | mov qword ptr [r14 + FRAME_RAX], rax
    49 83 86 80 00 00 00 02             | add qword ptr [r14 + FRAME_RIP], 2

; r14 = frame
resume_guest:
    e8 @                                | call select_guest
    48 83 7b 20 00                      | cmp qword ptr [rbx + CONTEXT_ATTENTION], 0
    0f 85 @                             | jne signal_attention
    48 8d 35 @                          | lea rsi, [rip + register_order]
    31 c9                               | xor ecx, ecx
restore_registers:
    0f b6 04 0e                         | movzx eax, byte ptr [rsi + rcx]
    49 8b 14 ce                         | mov rdx, qword ptr [r14 + rcx*8]
    49 89 54 c5 00                      | mov qword ptr [r13 + rax*8], rdx
    ff c1                               | inc ecx
    83 f9 12                            | cmp ecx, 0x12
    0f 85 @                             | jne restore_registers
    49 8d 86 50 01 00 00                | lea rax, [r14 + FRAME_SIZE]
    48 89 45 08                         | mov qword ptr [rbp + GUEST_FRAME], rax
    e8 @                                | call start_ticks
    49 89 5c 24 08                      | mov qword ptr [r12 + THREAD_RUNNING], rbx
    4c 89 ec                            | mov rsp, r13
    b8 0f 00 00 00                      | mov eax, 0xf  ; rt_sigreturn
    0f 05                               | syscall

signal_attention:
    49 c7 86 90 00 00 00 06 00 00 00    | mov qword ptr [r14 + FRAME_KIND], KIND_PREEMPTION
    e8 @                                | call answer_attention
    4c 3b 75 08                         | cmp r14, qword ptr [rbp + GUEST_FRAME]
    0f 85 @                             | jne out_of_order
    85 d2                               | test edx, edx
    0f 85 @                             | jne kill_guest
    e9 @                                | jmp resume_guest

tick:
    4c 8b 75 08                         | mov r14, qword ptr [rbp + GUEST_FRAME]
    49 c7 86 90 00 00 00 02 00 00 00    | mov qword ptr [r14 + FRAME_KIND], KIND_TICK
    49 83 7c 24 10 00                   | cmp qword ptr [r12 + THREAD_GIL], 0
    0f 84 @                             | je tick_with_gil
    48 83 7b 20 00                      | cmp qword ptr [rbx + CONTEXT_ATTENTION], 0
    0f 85 @                             | jne tick_take_gil
    49 ff 44 24 38                      | inc qword ptr [r12 + THREAD_TICKS]
    49 83 7c 24 38 0a                   | cmp qword ptr [r12 + THREAD_TICKS], TICKS_WITHOUT_GIL
    0f 82 @                             | jb resume_guest
tick_take_gil:
    e8 @                                | call take_gil
tick_with_gil:
    ff 15 @                             | call qword ptr [rip + PyErr_CheckSignals]
    85 c0                               | test eax, eax
    0f 85 @                             | jne kill_guest
    ff 15 @                             | call qword ptr [rip + PyEval_SaveThread]
    49 89 44 24 10                      | mov qword ptr [r12 + THREAD_GIL], rax
    49 c7 44 24 38 00 00 00 00          | mov qword ptr [r12 + THREAD_TICKS], 0
    e9 @                                | jmp resume_guest

not_in_guest_now:
    ; guest code goes on: the timer is still wanted
    3b 3d @                             | cmp edi, dword ptr [rip + tick_signal]
    0f 85 @                             | jne not_ours
    c3                                  | ret

not_in_guest:
    3b 3d @                             | cmp edi, dword ptr [rip + tick_signal]
    0f 85 @                             | jne not_ours
    49 8b 40 18                         | mov rax, qword ptr [r8 + THREAD_ENTRIES]
    49 3b 40 20                         | cmp rax, qword ptr [r8 + THREAD_SEEN]
    49 89 40 20                         | mov qword ptr [r8 + THREAD_SEEN], rax
    0f 85 @                             | jne signal_return
    ; no guest code since the last tick
    49 c7 40 28 00 00 00 00             | mov qword ptr [r8 + THREAD_TICKING], 0
    b8 df 00 00 00                      | mov eax, 0xdf                           ; timer_settime
    49 8b 78 30                         | mov rdi, qword ptr [r8 + THREAD_TIMER]
    31 f6                               | xor esi, esi
    48 8d 15 @                          | lea rdx, [rip + no_period]
    45 31 d2                            | xor r10d, r10d
    0f 05                               | syscall
signal_return:
    c3                                  | ret

not_ours:
    89 f8                               | mov eax, edi
    49 8b 04 c3                         | mov rax, qword ptr [r11 + rax*8]
    48 83 f8 01                         | cmp rax, 1
    0f 86 @                             | jbe no_handler
    ff e0                               | jmp rax
no_handler:
    44 8b 4e 08                         | mov r9d, dword ptr [rsi + SIGINFO_CODE]
    0f 85 @                             | jne default_action
    45 85 c9                            | test r9d, r9d  ; SIG_IGN: faults cannot be ignored
    0f 8e @                             | jle signal_return
default_action:
    ; one that was on its way as its timer went
    3b 3d @                             | cmp edi, dword ptr [rip + tick_signal]
    0f 84 @                             | je signal_return
    57                                  | push rdi
    b8 0d 00 00 00                      | mov eax, 0xd                            ; rt_sigaction
    48 8d 35 @                          | lea rsi, [rip + default_handler]
    31 d2                               | xor edx, edx
    41 ba 08 00 00 00                   | mov r10d, 8
    0f 05                               | syscall
    41 58                               | pop r8
    45 85 c9                            | test r9d, r9d  ; a fault comes again by itself
    0f 8f @                             | jg signal_return
    b8 27 00 00 00                      | mov eax, 0x27                           ; getpid
    0f 05                               | syscall
    48 89 c7                            | mov rdi, rax
    b8 ba 00 00 00                      | mov eax, 0xba                           ; gettid
    0f 05                               | syscall
    48 89 c6                            | mov rsi, rax
    4c 89 c2                            | mov rdx, r8
    b8 ea 00 00 00                      | mov eax, 0xea                           ; tgkill
    0f 05                               | syscall
    c3                                  | ret
"""
