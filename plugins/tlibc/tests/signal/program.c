/* Programs that handle signals, run by the host's kernel and by this C library alike.
 *
 * Each writes what it sees to out, as numbers that must be the same in both places: addresses only
 * as differences. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static long *out;
static char *page;
static char other_stack[65536] __attribute__((aligned(64)));

static void say(long value) { *out++ = value; }

static long mask_now(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigprocmask(SIG_BLOCK, NULL, &set);
    return *(long *)&set;
}

static void install(int number, void (*handler)(int, siginfo_t *, void *), int flags, int blocked)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    sigemptyset(&action.sa_mask);
    if (blocked)
        sigaddset(&action.sa_mask, blocked);
    say(sigaction(number, &action, NULL));
}

static void say_action(int number, void (*expected)(int, siginfo_t *, void *))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    say(sigaction(number, NULL, &action));
    say(action.sa_sigaction == expected);
    say(action.sa_handler == SIG_DFL);
    say(action.sa_flags & ~0x04000000); /* but for SA_RESTORER, the C library's own affair */
    say(*(long *)&action.sa_mask);
}

/* Each faulting instruction is followed by as many bytes as stand in its name. */
#define FAULT_2 __asm__ volatile("ud2" ::: "memory")

static void divide(void)
{
    __asm__ volatile("xorl %%ecx, %%ecx; xorl %%edx, %%edx; movl $5, %%eax; divl %%ecx"
                     ::: "rax", "rcx", "rdx", "memory");
}
static void load(char *from) { __asm__ volatile("movb (%0), %%al" ::"r"(from) : "rax", "memory"); }
static void store(char *to) { __asm__ volatile("movb $1, (%0)" ::"r"(to) : "memory"); }
static void privileged(void) { __asm__ volatile("hlt" ::: "memory"); }
static void breakpoint(void) { __asm__ volatile("int3" ::: "memory"); }
static void not_canonical(void)
{
    __asm__ volatile("movabs $0x8000000000000000, %%rax; movb (%%rax), %%al" ::: "rax", "memory");
}

static int skipped;

static void describe(int number, siginfo_t *info, void *context)
{
    ucontext_t *frame = context;
    greg_t *registers = frame->uc_mcontext.gregs;
    say(number);
    say(info->si_signo);
    say(info->si_errno);
    say(info->si_code);
    say(registers[REG_TRAPNO]);
    say(registers[REG_ERR]);
    if (registers[REG_TRAPNO] == 14) {
        say((char *)info->si_addr - page);
        say((char *)registers[REG_CR2] - page);
    } else if (number == SIGILL || number == SIGFPE) {
        say((long)info->si_addr - (long)registers[REG_RIP]);
    } else {
        say((long)info->si_addr);
    }
    say((registers[REG_EFL] & 0x500) == 0);
    say(mask_now());
    registers[REG_RIP] += skipped;
}

static void exceptions(void)
{
    static const int numbers[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        install(numbers[i], describe, SA_SIGINFO, i % 2 ? SIGUSR1 : 0);
    page = mmap(NULL, 2 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    say(*(volatile char *)page); /* it is there before it is written to */
    skipped = 2;
    divide();
    FAULT_2;
    load(page + 4096 + 17);
    not_canonical();
    skipped = 3;
    store(page + 5);
    skipped = 1;
    privileged();
    skipped = 0;
    breakpoint();
    say(mask_now());
}

static int steps;

static void step(int number, siginfo_t *info, void *context)
{
    ucontext_t *frame = context;
    greg_t *registers = frame->uc_mcontext.gregs;
    say(number);
    say(info->si_code);
    say((long)info->si_addr - (long)registers[REG_RIP]);
    say(registers[REG_TRAPNO]);
    say((registers[REG_EFL] & 0x302) == 0x302); /* IF, TF, and the bit that is 1 */
    say(registers[REG_RIP] - steps);
    if (++steps == 3)
        registers[REG_EFL] &= ~0x100;
}

static void single_steps(void)
{
    long start;
    install(SIGTRAP, step, SA_SIGINFO, 0);
    /* Each step is one byte: what is told is the same address every time, less the steps before. */
    __asm__ volatile("leaq 1f(%%rip), %0; pushfq; orq $0x100, (%%rsp); popfq;"
                     "nop; 1: nop; nop; nop; nop"
                     : "=&r"(start) :: "memory", "cc");
    out[-1] -= start;
    out[-7] -= start;
    out[-13] -= start;
    say(steps);
}

static int depth, deepest;

static void nest(int number, siginfo_t *info, void *context)
{
    say(number);
    say(mask_now());
    if (depth++ < deepest)
        FAULT_2;
    depth--;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void nodefer(void)
{
    deepest = 4;
    install(SIGILL, nest, SA_SIGINFO | SA_NODEFER, SIGUSR2);
    FAULT_2;
    say(mask_now());
}

static void reset(void)
{
    deepest = 0;
    install(SIGILL, nest, SA_SIGINFO | SA_RESETHAND, SIGUSR2);
    say_action(SIGILL, nest);
    FAULT_2;
    say_action(SIGILL, nest);
}

static void old_actions(void)
{
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = nest;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    say(sigaction(SIGUSR1, &action, &old));
    say(old.sa_handler == SIG_DFL);
    say_action(SIGUSR1, nest);
    say(signal(SIGUSR1, SIG_IGN) == (void (*)(int))nest);
    say_action(SIGUSR1, nest);
    say(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    errno = 0;
    say(signal(SIGKILL, SIG_IGN) == SIG_ERR);
    say(errno);
    errno = 0;
    say(sigaction(SIGSTOP, &action, NULL));
    say(errno);
    errno = 0;
    say(sigaction(65, NULL, &old));
    say(errno);
    errno = 0;
    say(raise(65));
    say(errno);
}

static void on_stack(int number, siginfo_t *info, void *context)
{
    char local;
    stack_t now, none = {.ss_flags = SS_DISABLE};
    ucontext_t *frame = context;
    say(&local >= other_stack && &local < other_stack + sizeof other_stack);
    say(sigaltstack(NULL, &now));
    say(now.ss_flags);
    say((long)now.ss_size);
    errno = 0;
    say(sigaltstack(&none, NULL));
    say(errno);
    say((char *)frame->uc_stack.ss_sp == other_stack);
    say(frame->uc_stack.ss_flags);
    say(frame->uc_stack.ss_size);
    if (depth++ < deepest)
        FAULT_2;
    depth--;
    frame->uc_mcontext.gregs[REG_RIP] += 2;
}

static void say_stack(void)
{
    stack_t now;
    say(sigaltstack(NULL, &now));
    say(now.ss_flags);
    say((long)now.ss_size);
}

static void alternate_stack(void)
{
    stack_t wanted = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    say(sigaltstack(&wanted, NULL));
    deepest = 1;
    install(SIGILL, on_stack, SA_SIGINFO | SA_ONSTACK | SA_NODEFER, 0);
    FAULT_2;
    say_stack();
    install(SIGILL, on_stack, SA_SIGINFO | SA_NODEFER, 0);
    wanted.ss_flags = SS_DISABLE;
    say(sigaltstack(&wanted, NULL));
    say_stack();
}

static void disarming_stack(void)
{
    stack_t wanted = {.ss_sp = other_stack, .ss_size = sizeof other_stack, .ss_flags = SS_AUTODISARM};
    say(sigaltstack(&wanted, NULL));
    say_stack();
    deepest = 0;
    install(SIGILL, on_stack, SA_SIGINFO | SA_ONSTACK, 0);
    FAULT_2;
    say_stack();
}

static void sent(int number, siginfo_t *info, void *context)
{
    say(number);
    say(info->si_code);
    say(info->si_pid == getpid());
    say(info->si_uid == getuid());
    say(mask_now());
}

static void send_to_self(void)
{
    install(SIGUSR1, sent, SA_SIGINFO, SIGUSR2);
    install(SIGUSR2, sent, SA_SIGINFO | SA_NODEFER, 0);
    say(raise(SIGUSR1));
    say(100);
    say(kill(getpid(), SIGUSR2));
    say(kill(getpid(), 0));
    say(raise(SIGUSR2));
    say(raise(SIGCHLD));
    say(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    say(raise(SIGUSR1));
    say(mask_now());
}

static void raise_other(int number, siginfo_t *info, void *context)
{
    say(number);
    say(raise(SIGUSR1));
    say(raise(SIGUSR2));
    say(200);
}

static void pending(void)
{
    sigset_t set, got;
    install(SIGUSR1, sent, SA_SIGINFO, SIGUSR2);
    install(SIGUSR2, sent, SA_SIGINFO, SIGUSR1);
    install(SIGTERM, raise_other, SA_SIGINFO, SIGUSR1);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGTERM);
    say(pthread_sigmask(SIG_BLOCK, &set, NULL));
    say(raise(SIGUSR2));
    say(raise(SIGUSR1));
    say(raise(SIGUSR1));
    sigemptyset(&got);
    say(sigpending(&got));
    say(*(long *)&got);
    say(300);
    say(sigprocmask(SIG_UNBLOCK, &set, &got));
    say(*(long *)&got);
    say(400);
    say(raise(SIGTERM));
    say(mask_now());
    say(pthread_sigmask(99, &set, NULL));
    errno = 0;
    say(sigprocmask(99, &set, NULL));
    say(errno);
}

static void *landing[5];

static void jump_away(int number, siginfo_t *info, void *context)
{
    say(number);
    __builtin_longjmp(landing, 1);
}

static void leave_by_jump(void)
{
    static volatile int rounds;
    install(SIGILL, jump_away, SA_SIGINFO | SA_NODEFER, SIGUSR1);
    install(SIGTERM, jump_away, SA_SIGINFO | SA_NODEFER, 0);
    rounds = 0;
    if (__builtin_setjmp(landing))
        rounds++;
    say(rounds);
    say(mask_now());
    if (rounds < 3)
        FAULT_2;
    if (rounds < 6)
        raise(SIGTERM);
}

static void clobber(int number, siginfo_t *info, void *context)
{
    ucontext_t *frame = context;
    __asm__ volatile("vzeroall" ::: "memory");
    say(frame->uc_mcontext.fpregs != NULL);
    frame->uc_mcontext.gregs[REG_RIP] += 2;
}

static void vectors(void)
{
    static long before[64] __attribute__((aligned(32))), after[64] __attribute__((aligned(32)));
    install(SIGILL, clobber, SA_SIGINFO, 0);
    for (int i = 0; i < 64; i++)
        before[i] = 0x0123456789abcdef * (i + 1);
    __asm__ volatile(
        "vmovdqa (%0), %%ymm0; vmovdqa 32(%0), %%ymm7; vmovdqa 64(%0), %%ymm15; ud2;"
        "vmovdqa %%ymm0, (%1); vmovdqa %%ymm7, 32(%1); vmovdqa %%ymm15, 64(%1); vzeroupper"
        ::"r"(before), "r"(after) : "xmm0", "xmm7", "xmm15", "memory");
    for (int i = 0; i < 12; i++)
        say(after[i] == before[i]);
}

/* From here on each ends by the signal whose number it says first. */
static void die_unhandled(void) { say(SIGSEGV); load((char *)8); }
static void die_blocked(void)
{
    sigset_t set;
    say(SIGILL);
    install(SIGILL, nest, SA_SIGINFO, 0);
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    FAULT_2;
}
static void die_ignored(void) { say(SIGFPE); signal(SIGFPE, SIG_IGN); divide(); }
static void die_in_own_handler(void)
{
    say(SIGILL);
    deepest = 1;
    install(SIGILL, nest, SA_SIGINFO, 0);
    FAULT_2;
}
static void die_the_second_time(void)
{
    say(SIGILL);
    deepest = 0;
    install(SIGILL, nest, SA_SIGINFO | SA_RESETHAND, 0);
    FAULT_2;
    FAULT_2;
}
static void die_raised(void) { say(SIGTERM); raise(SIGTERM); }
static void die_unblocked(void)
{
    sigset_t set;
    say(SIGUSR1);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    say(raise(SIGUSR1));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}
static void tell_abort(int number, siginfo_t *info, void *context)
{
    sigset_t now;
    say(number); say(info->si_signo); say(info->si_code);
    sigprocmask(SIG_BLOCK, NULL, &now);
    say(sigismember(&now, SIGABRT));
}
/* Blocked, handled, and yet the end: the handler returns. */
static void die_aborting(void)
{
    sigset_t set;
    say(SIGABRT);
    install(SIGABRT, tell_abort, SA_SIGINFO, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGABRT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    abort();
}
static void die_ignoring_abort(void) { say(SIGABRT); signal(SIGABRT, SIG_IGN); abort(); }
/* Each abort asks the handler; it leaves by a jump, three times. */
static void *after_abort[5];
static void jump_out(int number)
{
    sigset_t set;
    say(number);
    sigemptyset(&set);
    sigaddset(&set, SIGABRT);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    __builtin_longjmp(after_abort, 1);
}
static void abort_and_leave(void)
{
    static volatile int times;
    times = 0;
    signal(SIGABRT, jump_out);
    if (__builtin_setjmp(after_abort))
        say(times);
    if (times++ < 3)
        abort();
    signal(SIGABRT, SIG_DFL);
}
static void die_without_a_stack(void)
{
    stack_t wanted = {.ss_sp = (void *)0x10000, .ss_size = 65536};
    say(SIGSEGV);
    sigaltstack(&wanted, NULL);
    install(SIGILL, nest, SA_SIGINFO | SA_ONSTACK, 0);
    FAULT_2;
}

static void (*const programs[])(void) = {
    exceptions, single_steps, nodefer, reset, old_actions, alternate_stack, disarming_stack, send_to_self,
    pending, leave_by_jump, vectors, die_unhandled, die_blocked, die_ignored, die_in_own_handler,
    die_the_second_time, die_raised, die_unblocked, die_without_a_stack,
    die_aborting, die_ignoring_abort, abort_and_leave,
};

/* Run a program; return how many numbers it wrote. */
long run(int program, long *buffer)
{
    out = buffer;
    programs[program]();
    return out - buffer;
}
