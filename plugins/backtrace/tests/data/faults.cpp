// A fault that becomes a C++ exception: built with -fnon-call-exceptions.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
extern "C" { int order[64]; int count; }
struct Drop { int n; explicit Drop(int n) : n(n) {} ~Drop() { order[count++] = n; } };
static char alternate[65536];
static void on_fault(int, siginfo_t *info, void *) { Drop d(1); throw (long)info->si_addr; }
extern "C" void install(int flags)
{
    stack_t stack = {};
    stack.ss_sp = alternate;
    stack.ss_size = sizeof alternate;
    sigaltstack(&stack, 0);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | flags;
    sigaction(SIGSEGV, &action, 0);
}
__attribute__((noinline)) static int inner(volatile int *p) { Drop d(2); return *p; }
extern "C" long outer(volatile int *p)
{
    Drop d(3);
    try { return inner(p); } catch (long address) { return address; }
}
