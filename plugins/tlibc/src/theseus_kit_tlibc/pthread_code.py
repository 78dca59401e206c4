"""Machine code of what programs with threads call all the time and that is done at once mostly.

A lock that is free, or that nobody waits for, needs no Python: the word says so, and one
instruction takes or frees it. Tasks share one host thread and are stopped between two instructions
only, so that instruction needs no ``lock`` prefix. Whatever else there is to do goes on in the
Python body.

::

    a mutex: 0 lock word (0 free, 1 taken, 2 taken and waited for)   16 kind (0 normal, 3 adaptive)
    a pthread_once_t: 0 state (2 done)
"""

from __future__ import annotations

from theseus_kit_tlibc.listing import Listing

# Of the kinds 0 normal, 1 recursive, 2 error-checking, 3 adaptive one more has bit 1 set where the
# owner matters.
MUTEX_LOCK = Listing(
    """
    8b4f10                  mov ecx, dword ptr [rdi + 0x10]
    ffc1                    inc ecx
    f6c102                  test cl, 2
    750d                    jne 0x17
    31c0                    xor eax, eax
    ba01000000              mov edx, 1
    0fb117                  cmpxchg dword ptr [rdi], edx
    7501                    jne 0x17
    c3                      ret                              ; eax is 0
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc   ; 0x17 __pthread_mutex_lock_slow
    41ffe3                  jmp r11
    """
)

MUTEX_TRYLOCK = Listing(
    """
    8b4f10                  mov ecx, dword ptr [rdi + 0x10]
    ffc1                    inc ecx
    f6c102                  test cl, 2
    7513                    jne 0x1d
    31c0                    xor eax, eax
    ba01000000              mov edx, 1
    0fb117                  cmpxchg dword ptr [rdi], edx
    b910000000              mov ecx, 0x10                    ; EBUSY
    0f45c1                  cmovne eax, ecx
    c3                      ret
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc   ; __pthread_mutex_trylock_slow
    41ffe3                  jmp r11
    """
)

MUTEX_UNLOCK = Listing(
    """
    8b4f10                  mov ecx, dword ptr [rdi + 0x10]
    ffc1                    inc ecx
    f6c102                  test cl, 2
    750f                    jne 0x19
    b801000000              mov eax, 1
    31d2                    xor edx, edx
    0fb117                  cmpxchg dword ptr [rdi], edx
    7503                    jne 0x19
    31c0                    xor eax, eax
    c3                      ret
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc   ; 0x19 __pthread_mutex_unlock_slow
    41ffe3                  jmp r11
    """
)

ONCE = Listing(
    """
    833f02                  cmp dword ptr [rdi], 2
    7503                    jne 8
    31c0                    xor eax, eax
    c3                      ret
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc   ; 8: __pthread_once_slow
    41ffe3                  jmp r11
    """
)

# The thread pointer points at itself (System V ABI, x86-64: Thread-Local Storage).
SELF = Listing(
    """
    64488b042500000000      mov rax, qword ptr fs:[0]
    c3                      ret
    """
)
SELF_BY_CELL = Listing(
    """
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc   ; thread_pointer_cell
    488b00                  mov rax, qword ptr [rax]
    c3                      ret
    """
)
