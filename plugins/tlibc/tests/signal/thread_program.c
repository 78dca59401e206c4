/* Threads that send each other signals, run by the host's kernel and by this C library alike.
 *
 * Each function returns what must be the same in both places. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int handled, entered, code, stop;
static volatile pthread_t handled_by;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int counter;
static pid_t thread_id;

static void handler(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    handled_by = pthread_self();
    code = info->si_code;
    handled++;
    errno = 77;
}

/* Where threads are the host's, and it is busy, it takes a while until one waits for something. */
static long patience = 1;

void be_patient(long times) { patience = times; }

static struct timespec duration(long milliseconds)
{
    milliseconds *= patience;
    return (struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000};
}

static void nap(long milliseconds)
{
    struct timespec time = duration(milliseconds);
    while (nanosleep(&time, &time))
        ;
}

static void prepare(int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    sigaction(SIGUSR1, &action, NULL);
    handled = entered = code = stop = 0;
}

static void done(void)
{
    signal(SIGUSR1, SIG_DFL);
}

static void block(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(how, &set, NULL);
}

static sigset_t nothing(void)
{
    sigset_t set;
    sigemptyset(&set);
    return set;
}

/* Starts a thread, sends it one signal when it has waited for a while, and joins it. */
static long signalled(void *(*body)(void *))
{
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, body, NULL);
    while (!entered)
        sched_yield();
    nap(15);
    long sent = pthread_kill(thread, SIGUSR1);
    nap(15);
    sem_post(&semaphore);
    stop = 1;
    pthread_join(thread, &result);
    done();
    return (long)result + 1000 * handled + 10000 * (handled_by == thread) + 100000 * sent
        + 1000000 * (code == SI_TKILL);
}

static void *sleeping(void *unused)
{
    (void)unused;
    struct timespec time = {20, 0}, left = {0, 0};
    entered = 1;
    int result = nanosleep(&time, &left);
    return (void *)(long)((result == -1) + 2 * (errno == EINTR) + 4 * (left.tv_sec >= 18));
}

long a_sleep_is_interrupted(void) { prepare(0); return signalled(sleeping); }
long a_sleep_is_interrupted_though_the_handler_restarts(void)
{
    prepare(SA_RESTART);
    return signalled(sleeping);
}

static void *posted(void *unused)
{
    (void)unused;
    entered = 1;
    int result = sem_wait(&semaphore);
    return (void *)(long)((result == 0) + 2 * (errno == EINTR));
}

long a_semaphore_is_interrupted(void)
{
    sem_init(&semaphore, 0, 0);
    prepare(0);
    return signalled(posted);
}

long a_semaphore_is_waited_for_again(void)
{
    sem_init(&semaphore, 0, 0);
    prepare(SA_RESTART);
    return signalled(posted);
}

static void *reading(void *unused)
{
    (void)unused;
    uint64_t value = 0;
    entered = 1;
    errno = 0;
    long result = read(counter, &value, sizeof value);
    return (void *)((result == 8) + 2 * (errno == EINTR) + 4 * (long)value);
}

static long read_with(int flags)
{
    pthread_t thread;
    void *result;
    uint64_t one = 1;
    counter = eventfd(0, 0);
    prepare(flags);
    pthread_create(&thread, NULL, reading, NULL);
    while (!entered)
        sched_yield();
    nap(15);
    pthread_kill(thread, SIGUSR1);
    nap(15);
    (void)!write(counter, &one, sizeof one);
    pthread_join(thread, &result);
    close(counter);
    done();
    return (long)result + 1000 * handled;
}

long a_read_is_interrupted(void) { return read_with(0); }
long a_read_is_restarted(void) { return read_with(SA_RESTART); }

static void *locking(void *unused)
{
    (void)unused;
    entered = 1;
    long result = pthread_mutex_lock(&mutex);
    long seen = handled;
    pthread_mutex_unlock(&mutex);
    return (void *)(result + 2 * seen);
}

long a_handler_runs_while_a_mutex_is_waited_for(void)
{
    pthread_t thread;
    void *result;
    prepare(0);
    pthread_mutex_lock(&mutex);
    pthread_create(&thread, NULL, locking, NULL);
    while (!entered)
        sched_yield();
    nap(15);
    pthread_kill(thread, SIGUSR1);
    nap(15);
    long seen = handled;
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, &result);
    done();
    return (long)result + 100 * seen;
}

static void *pausing(void *unused)
{
    (void)unused;
    entered = 1;
    return (void *)(long)((pause() == -1) + 2 * (errno == EINTR));
}

long pause_returns_after_a_handler(void) { prepare(SA_RESTART); return signalled(pausing); }

static long is_blocked(void)
{
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    return sigismember(&set, SIGUSR1);
}

static void *suspended(void *unused)
{
    (void)unused;
    sigset_t set = nothing();
    block(SIG_BLOCK);
    entered = 1;
    long result = sigsuspend(&set);
    return (void *)((result == -1) + 2 * (errno == EINTR) + 4 * is_blocked());
}

long sigsuspend_lets_a_signal_through(void) { prepare(0); return signalled(suspended); }

static void *polling(void *unused)
{
    (void)unused;
    sigset_t set = nothing();
    struct pollfd entry = {-1, POLLIN, 0};
    block(SIG_BLOCK);
    entered = 1;
    long result = ppoll(&entry, 1, NULL, &set);
    return (void *)((result == -1) + 2 * (errno == EINTR) + 4 * is_blocked());
}

long ppoll_lets_a_signal_through(void) { prepare(SA_RESTART); return signalled(polling); }

static void *raw_polling(void *unused)
{
    (void)unused;
    sigset_t set = nothing();
    block(SIG_BLOCK);
    entered = 1;
    long result = syscall(SYS_ppoll, NULL, 0, NULL, &set, 8L);
    return (void *)((result == -1) + 2 * (errno == EINTR) + 4 * is_blocked());
}

long the_system_call_ppoll_does_too(void) { prepare(0); return signalled(raw_polling); }

static void *holding_back(void *unused)
{
    (void)unused;
    sigset_t set;
    struct timespec time = duration(60);
    sigfillset(&set);
    entered = 1;
    long result = ppoll(NULL, 0, &time, &set);
    return (void *)(result + 2 * handled);
}

long ppoll_holds_a_signal_back(void) { prepare(0); return signalled(holding_back); }

static void *epolling(void *unused)
{
    (void)unused;
    sigset_t set = nothing();
    struct epoll_event event;
    int set_of = epoll_create1(0);
    block(SIG_BLOCK);
    entered = 1;
    long result = epoll_pwait(set_of, &event, 1, -1, &set);
    long answer = (result == -1) + 2 * (errno == EINTR) + 4 * is_blocked();
    close(set_of);
    return (void *)answer;
}

long epoll_pwait_lets_a_signal_through(void) { prepare(0); return signalled(epolling); }

long a_signal_that_waited_ends_ppoll_at_once(void)
{
    sigset_t set = nothing();
    prepare(0);
    block(SIG_BLOCK);
    raise(SIGUSR1);
    long before = handled;
    long result = ppoll(NULL, 0, NULL, &set);
    long error = errno;
    block(SIG_UNBLOCK);
    done();
    return before + 2 * (result == -1) + 4 * (error == EINTR) + 8 * handled;
}

static void *taking(void *unused)
{
    (void)unused;
    sigset_t set;
    int number = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    block(SIG_BLOCK);
    entered = 1;
    long result = sigwait(&set, &number);
    return (void *)(result + 2 * number);
}

long sigwait_takes_a_signal(void)
{
    prepare(0);
    handled_by = 0;
    return signalled(taking);
}

long sigtimedwait_takes_what_waits_or_gives_up(void)
{
    sigset_t set;
    siginfo_t info;
    struct timespec time = {0, 10000000};
    prepare(0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    block(SIG_BLOCK);
    long late = sigtimedwait(&set, &info, &time);
    long error = errno;
    raise(SIGUSR1);
    memset(&info, 0, sizeof info);
    long taken = sigtimedwait(&set, &info, &time);
    block(SIG_UNBLOCK);
    done();
    return (late == -1) + 2 * (error == EAGAIN) + 4 * taken + 1000 * (info.si_signo == SIGUSR1)
        + 10000 * (info.si_pid == getpid()) + 100000 * handled;
}

static void *blocking(void *unused)
{
    (void)unused;
    sigset_t set;
    block(SIG_BLOCK);
    entered = 1;
    while (!stop)
        nap(1);
    sigpending(&set);
    long waits = sigismember(&set, SIGUSR1), before = handled;
    block(SIG_UNBLOCK);
    return (void *)(waits + 2 * before + 4 * handled);
}

long a_blocked_signal_waits_for_its_thread(void) { prepare(0); return signalled(blocking); }

static void *unblocking(void *unused)
{
    block(SIG_BLOCK);
    entered = 1;
    while (!stop)
        nap(1);
    long before = handled;
    block(SIG_UNBLOCK);
    (void)unused;
    return (void *)(before + 2 * handled + 4 * (handled_by == pthread_self()));
}

long a_signal_of_the_process_is_whoevers_unblocks_it_first(void)
{
    pthread_t thread;
    void *result;
    prepare(0);
    block(SIG_BLOCK);
    pthread_create(&thread, NULL, unblocking, NULL);
    while (!entered)
        sched_yield();
    sigset_t set;
    long sent = kill(getpid(), SIGUSR1);
    sigpending(&set);
    long waits = sigismember(&set, SIGUSR1);
    stop = 1;
    pthread_join(thread, &result);
    block(SIG_UNBLOCK);
    done();
    return (long)result + 10 * sent + 100 * waits + 1000 * handled;
}

static void *remembering(void *unused)
{
    (void)unused;
    thread_id = gettid();
    entered = 1;
    return (void *)(long)((pause() == -1) + 2 * (errno == EINTR));
}

long tgkill_reaches_a_thread_by_its_number(void)
{
    pthread_t thread;
    void *result;
    prepare(0);
    pthread_create(&thread, NULL, remembering, NULL);
    while (!entered)
        sched_yield();
    nap(15);
    long sent = syscall(SYS_tgkill, getpid(), thread_id, SIGUSR1);
    pthread_join(thread, &result);
    done();
    return (long)result + 10 * sent + 1000 * handled + 10000 * (handled_by == thread);
}

long tgkill_of_nobody_is_an_error(void)
{
    long none = syscall(SYS_tgkill, getpid(), 0x3fffffff, SIGUSR1), error = errno;
    long invalid = syscall(SYS_tgkill, getpid(), 0, SIGUSR1), other = errno;
    return (none == -1) + 2 * (error == ESRCH) + 4 * (invalid == -1) + 8 * (other == EINVAL);
}

static void *counting_handlers(void *unused)
{
    (void)unused;
    return (void *)(long)(handled + 2 * (handled_by == pthread_self()));
}

long a_thread_that_has_not_begun_handles_its_signal(void)
{
    pthread_t thread;
    void *result;
    prepare(0);
    pthread_create(&thread, NULL, counting_handlers, NULL);
    long sent = pthread_kill(thread, SIGUSR1);
    pthread_join(thread, &result);
    done();
    return sent + 2 * handled;
}

static void leaving(int number)
{
    (void)number;
    pthread_exit((void *)42L);
}

long a_handler_may_end_its_thread(void)
{
    pthread_t thread;
    void *result;
    prepare(0);
    signal(SIGUSR1, leaving);
    pthread_create(&thread, NULL, pausing, NULL);
    while (!entered)
        sched_yield();
    nap(15);
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, &result);
    done();
    return (long)result;
}

static void *napping(void *unused)
{
    (void)unused;
    struct timespec time = duration(50);
    entered = 1;
    return (void *)(long)nanosleep(&time, NULL);
}

long an_ignored_signal_interrupts_nothing(void)
{
    pthread_t thread;
    void *result;
    prepare(0);
    signal(SIGUSR1, SIG_IGN);
    pthread_create(&thread, NULL, napping, NULL);
    while (!entered)
        sched_yield();
    nap(10);
    long sent = pthread_kill(thread, SIGUSR1) + pthread_kill(thread, SIGURG);
    pthread_join(thread, &result);
    done();
    return (long)result + 10 * sent;
}

static void *spinning(void *unused)
{
    (void)unused;
    entered = 1;
    while (!handled)
        ;
    return (void *)1L;
}

/* Needs preemption: no thread of a deterministic platform is stopped in the middle. */
long PREEMPTED_a_thread_that_computes_handles_its_signal(void)
{
    prepare(0);
    return signalled(spinning);
}
