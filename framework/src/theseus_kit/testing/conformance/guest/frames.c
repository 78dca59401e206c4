/* What the suite of unwinding walks: three functions deep into a callback or a fault. Compiled
   twice, with frame pointers kept and without. */

#define JOIN_(prefix, name) prefix##_##name
#define JOIN(prefix, name) JOIN_(prefix, name)
#define NAME(name) JOIN(PREFIX, name)
#define FUNCTION __attribute__((noinline)) long

FUNCTION NAME(innermost)(long (*callback)(void), long *address)
{
    long room[4] = {1, 2, 3, 4};
    __asm__ volatile("" : : "r"(room) : "memory");
    long answer = callback ? callback() : *(volatile long *)address;
    return answer + room[0];
}

FUNCTION NAME(middle)(long (*callback)(void), long *address)
{
    long room[37];
    __asm__ volatile("" : : "r"(room) : "rbx", "r12", "memory");
    return NAME(innermost)(callback, address) + 1;
}

FUNCTION NAME(outermost)(long (*callback)(void), long *address)
{
    return NAME(middle)(callback, address) + 1;
}
