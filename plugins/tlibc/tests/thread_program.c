/* What programs do with threads, as numbers: the tests run each function on the host and in the
 * guest and compare. Decimal digits of a result are the answers of successive steps. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef void *body(void *);
#define LIST(...) ((const long[]){__VA_ARGS__})
#define DIGITS(...) digits(sizeof LIST(__VA_ARGS__) / 8, LIST(__VA_ARGS__))

static long digits(int count, const long *values)
{
    unsigned long all = 17;
    for (int i = 0; i < count; i++)
        all = all * 1000003 + (unsigned long)values[i];
    return (long)(all >> 1);
}

static long run(body *function, void *argument)
{
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, 0, function, argument) || pthread_join(thread, &result))
        return -1000;
    return (long)result;
}

static struct timespec in_ns(clockid_t clock, long ns)
{
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += ns;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

static void pause_ns(long ns)
{
    struct timespec t = {0, ns};
    nanosleep(&t, 0);
}

/* Mutexes */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *try_it(void *m) { return (void *)(long)pthread_mutex_trylock(m); }
static void *unlock_it(void *m) { return (void *)(long)pthread_mutex_unlock(m); }
static void *lock_until(void *m)
{
    struct timespec t = in_ns(CLOCK_REALTIME, 2000000);
    return (void *)(long)pthread_mutex_timedlock(m, &t);
}

static long mutex_of(int kind)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t m;
    int told;
    pthread_mutexattr_init(&attributes);
    long set = pthread_mutexattr_settype(&attributes, kind);
    pthread_mutexattr_gettype(&attributes, &told);
    pthread_mutex_init(&m, &attributes);
    long first = pthread_mutex_lock(&m), second = pthread_mutex_trylock(&m);
    long other = run(try_it, &m), timed = run(lock_until, &m);
    long foreign = kind == PTHREAD_MUTEX_NORMAL ? 0 : run(unlock_it, &m);
    long u1 = pthread_mutex_unlock(&m), u2 = second ? 0 : pthread_mutex_unlock(&m);
    long destroyed = pthread_mutex_destroy(&m);
    return DIGITS(set, told, first, second, other, timed, foreign, u1, u2, destroyed);
}
long mutex_normal(void) { return mutex_of(PTHREAD_MUTEX_NORMAL); }
long mutex_recursive(void) { return mutex_of(PTHREAD_MUTEX_RECURSIVE); }
long mutex_checking(void) { return mutex_of(PTHREAD_MUTEX_ERRORCHECK); }
long mutex_refusals(void)
{
    pthread_mutexattr_t attributes;
    struct timespec wrong = {0, 1000000000};
    pthread_mutexattr_init(&attributes);
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&m);
    return DIGITS(pthread_mutexattr_settype(&attributes, 9), pthread_mutex_timedlock(&m, &wrong),
                  pthread_mutex_clocklock(&m, CLOCK_PROCESS_CPUTIME_ID, &wrong) != 0);
}
static long counter;
static void *counting(void *by)
{
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&mutex);
        long old = counter;
        if (i % 16 == 0)
            sched_yield();
        counter = old + (long)by;
        pthread_mutex_unlock(&mutex);
    }
    return 0;
}
long mutual_exclusion(void)
{
    pthread_t threads[6];
    counter = 0;
    for (long i = 0; i < 6; i++)
        pthread_create(&threads[i], 0, counting, (void *)(i + 1));
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], 0);
    return counter;
}

/* Condition variables */
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;
static void *ping(void *me)
{
    long turns = 0;
    for (int i = 0; i < 40; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != (long)me)
            pthread_cond_wait(&cond, &mutex);
        turn = !(long)me;
        turns++;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return (void *)turns;
}
long ping_pong(void)
{
    pthread_t a, b;
    void *x, *y;
    turn = 0;
    pthread_create(&a, 0, ping, (void *)0);
    pthread_create(&b, 0, ping, (void *)1);
    pthread_join(a, &x);
    pthread_join(b, &y);
    return DIGITS((long)x, (long)y);
}
static int gate, passed;
static void *pass(void *unused)
{
    pthread_mutex_lock(&mutex);
    while (!gate)
        pthread_cond_wait(&cond, &mutex);
    passed++;
    pthread_mutex_unlock(&mutex);
    return unused;
}
long broadcast(void)
{
    pthread_t threads[8];
    gate = passed = 0;
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], 0, pass, 0);
    pause_ns(3000000);
    pthread_mutex_lock(&mutex);
    gate = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], 0);
    return passed;
}
long condition_clocks(void)
{
    long answers[2];
    for (int i = 0; i < 2; i++) {
        clockid_t clock = i ? CLOCK_MONOTONIC : CLOCK_REALTIME, told;
        pthread_condattr_t attributes;
        pthread_cond_t c;
        pthread_mutex_t m;
        pthread_mutexattr_t recursive;
        pthread_mutexattr_init(&recursive);
        pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
        pthread_mutex_init(&m, &recursive);
        pthread_condattr_init(&attributes);
        long set = pthread_condattr_setclock(&attributes, clock);
        pthread_condattr_getclock(&attributes, &told);
        pthread_cond_init(&c, &attributes);
        pthread_mutex_lock(&m);
        struct timespec until = in_ns(clock, 2000000);
        long waited = pthread_cond_timedwait(&c, &m, &until);
        struct timespec now = in_ns(clock, 0);
        long late = now.tv_sec > until.tv_sec
            || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec);
        answers[i] = DIGITS(set, told, waited, late, pthread_mutex_unlock(&m),
                            pthread_mutex_unlock(&m), pthread_cond_destroy(&c));
    }
    return DIGITS(answers[0], answers[1]);
}

/* Read-write locks */
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static void *try_read(void *u) { (void)u; return (void *)(long)pthread_rwlock_tryrdlock(&rw); }
static void *try_write(void *u) { (void)u; return (void *)(long)pthread_rwlock_trywrlock(&rw); }
static void *read_until(void *u)
{
    (void)u;
    struct timespec t = in_ns(CLOCK_REALTIME, 2000000);
    return (void *)(long)pthread_rwlock_timedrdlock(&rw, &t);
}
static void *write_it(void *u)
{
    (void)u;
    long first = pthread_rwlock_wrlock(&rw);
    counter = 77;
    return (void *)(first * 10 + pthread_rwlock_unlock(&rw));
}
long read_write(void)
{
    pthread_t writer;
    void *wrote;
    counter = 0;
    long r1 = pthread_rwlock_rdlock(&rw), r2 = run(try_read, 0), w1 = run(try_write, 0);
    pthread_create(&writer, 0, write_it, 0);
    pause_ns(2000000);
    long before = counter;
    pthread_rwlock_unlock(&rw);
    pthread_rwlock_unlock(&rw); /* the thread's that has ended */
    pthread_join(writer, &wrote);
    long w2 = pthread_rwlock_wrlock(&rw), again = pthread_rwlock_wrlock(&rw);
    long reads = pthread_rwlock_rdlock(&rw), r3 = run(try_read, 0), timed = run(read_until, 0);
    pthread_rwlock_unlock(&rw);
    return DIGITS(r1, r2, w1, before, (long)wrote, counter, w2, again, reads, r3, timed);
}

/* Once, barriers, spin locks, semaphores */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int initialised;
static void initialise(void) { pause_ns(1000000); initialised++; }
static void *do_once(void *u) { (void)u; pthread_once(&once, initialise); return (void *)(long)initialised; }
long once_only(void)
{
    pthread_t threads[4];
    long seen = 0;
    once = PTHREAD_ONCE_INIT;
    initialised = 0;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, do_once, 0);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        seen = seen * 10 + (long)result;
    }
    return seen;
}
static pthread_barrier_t barrier;
static void *meet(void *u)
{
    long serial = 0;
    (void)u;
    for (int i = 0; i < 5; i++)
        serial += pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
    return (void *)serial;
}
long barriers(void)
{
    pthread_t threads[4];
    long serial = 0, refused = pthread_barrier_init(&barrier, 0, 0);
    pthread_barrier_init(&barrier, 0, 4);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, meet, 0);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        serial += (long)result;
    }
    return DIGITS(serial, refused, pthread_barrier_destroy(&barrier));
}
static pthread_spinlock_t spin;
static void *spinning(void *u)
{
    for (int i = 0; i < 50; i++) {
        pthread_spin_lock(&spin);
        long old = counter;
        if (i % 10 == 0)
            sched_yield();
        counter = old + 1;
        pthread_spin_unlock(&spin);
    }
    return u;
}
long spin_locks(void)
{
    pthread_t threads[3];
    counter = 0;
    pthread_spin_init(&spin, 0);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], 0, spinning, 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
    pthread_spin_lock(&spin);
    return DIGITS(counter, pthread_spin_trylock(&spin), pthread_spin_unlock(&spin));
}
static sem_t empty, full;
static int slot;
static void *produce(void *u)
{
    for (int i = 1; i <= 30; i++) {
        sem_wait(&empty);
        slot = i;
        sem_post(&full);
    }
    return u;
}
long semaphores(void)
{
    pthread_t producer;
    long sum = 0, value[2];
    int told;
    sem_init(&empty, 0, 1);
    sem_init(&full, 0, 0);
    pthread_create(&producer, 0, produce, 0);
    for (int i = 0; i < 30; i++) {
        sem_wait(&full);
        sum = sum * 3 + slot;
        sem_post(&empty);
    }
    pthread_join(producer, 0);
    struct timespec until = in_ns(CLOCK_REALTIME, 1000000), wrong = {0, -1};
    value[0] = sem_trywait(&full) ? errno : 0;
    value[1] = sem_timedwait(&full, &until) ? errno : 0;
    long invalid = sem_timedwait(&full, &wrong) ? errno : 0;
    sem_getvalue(&empty, &told);
    sem_init(&full, 0, 0x7fffffff);
    long overflow = sem_post(&full) ? errno : 0;
    long large = sem_init(&full, 0, 0x80000000u) ? errno : 0;
    return DIGITS(sum, value[0], value[1], invalid, told, overflow, large);
}

/* Starting, ending, attributes, names */
static void *add_one(void *n) { return (void *)((long)n + 1); }
static void *exit_with(void *n) { pthread_exit((void *)((long)n * 2)); }
static void *nap(void *n) { pause_ns((long)n); return (void *)5; }
static void *join_self(void *u) { (void)u; return (void *)(long)pthread_join(pthread_self(), 0); }
long results(void)
{
    long sum = run(add_one, (void *)41) + run(exit_with, (void *)21);
    return DIGITS(sum, run(join_self, 0));
}
long joining(void)
{
    pthread_t sleeper, detached;
    pthread_attr_t attributes;
    void *result = 0;
    struct timespec until = in_ns(CLOCK_REALTIME, 1000000);
    pthread_attr_init(&attributes);
    long set = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int told;
    pthread_attr_getdetachstate(&attributes, &told);
    pthread_create(&detached, &attributes, nap, (void *)20000000);
    long joined = pthread_join(detached, 0), twice = pthread_detach(detached);
    pthread_create(&sleeper, 0, nap, (void *)20000000);
    long busy = pthread_tryjoin_np(sleeper, &result);
    long late = pthread_timedjoin_np(sleeper, &result, &until);
    long done = pthread_join(sleeper, &result);
    pause_ns(30000000);
    return DIGITS(set, told, joined, twice, busy, late, done, (long)result);
}
static void *stack_of(void *u)
{
    pthread_attr_t attributes;
    void *start;
    size_t size;
    char here;
    (void)u;
    if (pthread_getattr_np(pthread_self(), &attributes))
        return (void *)-1;
    pthread_attr_getstack(&attributes, &start, &size);
    return (void *)(long)((char *)start < &here && &here < (char *)start + size);
}
static char own_stack[1 << 18] __attribute__((aligned(4096)));
static void *on_own(void *u) { char here; (void)u; return (void *)(long)(&here >= own_stack && &here < own_stack + sizeof own_stack); }
long attributes(void)
{
    pthread_attr_t a;
    pthread_t thread;
    void *inside, *own;
    size_t size = 0;
    pthread_attr_init(&a);
    long small = pthread_attr_setstacksize(&a, 1000), set = pthread_attr_setstacksize(&a, 1 << 18);
    pthread_attr_getstacksize(&a, &size);
    pthread_create(&thread, &a, stack_of, 0);
    pthread_join(thread, &inside);
    long given = pthread_attr_setstack(&a, own_stack, sizeof own_stack);
    pthread_create(&thread, &a, on_own, 0);
    pthread_join(thread, &own);
    return DIGITS(small, set, (long)size, (long)inside, given, (long)own);
}
static void *names_of(void *u)
{
    char name[16] = "", other[16] = "", tiny[2];
    (void)u;
    long set = pthread_setname_np(pthread_self(), "worker-7");
    pthread_getname_np(pthread_self(), name, sizeof name);
    long range = pthread_setname_np(pthread_self(), "sixteen bytes at");
    long room = pthread_getname_np(pthread_self(), tiny, sizeof tiny);
    prctl(PR_SET_NAME, "a name that is cut somewhere");
    prctl(PR_GET_NAME, other);
    return (void *)DIGITS(set, strcmp(name, "worker-7"), range, room, strcmp(other, "a name that is "));
}
long names(void) { return run(names_of, 0); }
static void *identity(void *u)
{
    pthread_t *creator = u;
    return (void *)DIGITS(pthread_equal(*creator, pthread_self()) != 0, syscall(SYS_gettid) > 0);
}
long identities(void) { pthread_t me = pthread_self(); return run(identity, &me); }

/* Keys and destructors */
static pthread_key_t keys[3];
static long ended, rounds;
static void first(void *v) { ended = ended * 10 + (long)v; }
static void again(void *v) { ended = ended * 10 + (long)v; rounds++; pthread_setspecific(keys[1], v); }
static void at_exit(void *v) { ended = ended * 10 + (long)v; }
extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
static __thread long mine = 3;
static void *with_keys(void *u)
{
    (void)u;
    mine++;
    __cxa_thread_atexit_impl(at_exit, (void *)1, &keys);
    __cxa_thread_atexit_impl(at_exit, (void *)2, &keys);
    pthread_setspecific(keys[0], (void *)4);
    pthread_setspecific(keys[1], (void *)5);
    pthread_setspecific(keys[2], (void *)6);
    return (void *)(mine * 10 + (long)pthread_getspecific(keys[2]));
}
long keys_and_destructors(void)
{
    ended = rounds = 0;
    pthread_key_create(&keys[0], first);
    pthread_key_create(&keys[1], again);
    pthread_key_create(&keys[2], 0);
    long result = run(with_keys, 0);
    long here = (long)pthread_getspecific(keys[0]);
    for (int i = 0; i < 3; i++)
        pthread_key_delete(keys[i]);
    return DIGITS(result, ended, rounds, here, mine);
}

/* Futexes */
static uint32_t word, other_word;
static int about_to_sleep;
static long futex(uint32_t *at, int op, uint32_t value, const void *timeout, uint32_t *second, uint32_t value3)
{
    long result = syscall(SYS_futex, at, op, value, timeout, second, value3);
    return result < 0 ? -errno : result;
}
static void *sleep_on(void *bits)
{
    struct timespec until = in_ns(CLOCK_MONOTONIC, 0);
    until.tv_sec += 60;
    __atomic_store_n(&about_to_sleep, 1, __ATOMIC_SEQ_CST);
    return (void *)futex(&word, FUTEX_WAIT_BITSET, 0, &until, 0, (uint32_t)(long)bits);
}
/* In the order of their start: nobody can see a thread enter the kernel, so each gets some time. */
static void start_sleepers(pthread_t *threads, const long *bits, int count)
{
    for (int i = 0; i < count; i++) {
        __atomic_store_n(&about_to_sleep, 0, __ATOMIC_SEQ_CST);
        pthread_create(&threads[i], 0, sleep_on, (void *)bits[i]);
        while (!__atomic_load_n(&about_to_sleep, __ATOMIC_SEQ_CST))
            sched_yield();
        pause_ns(20000000);
    }
}
static long join_all(pthread_t *threads, int count)
{
    long sum = 0;
    for (int i = 0; i < count; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    return sum;
}
long futex_refusals(void)
{
    struct timespec wrong = {0, 1000000000}, negative = {-1, 0}, short_time = {0, 1000000};
    struct timespec past = {0, 1};
    word = 7;
    return DIGITS(
        futex(&word, FUTEX_WAIT, 6, 0, 0, 0), futex(&word, FUTEX_WAIT, 7, &short_time, 0, 0),
        futex(&word, FUTEX_WAIT, 7, &wrong, 0, 0), futex(&word, FUTEX_WAIT, 7, &negative, 0, 0),
        futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 7, 0, 0, 0),
        futex(&word, FUTEX_WAIT_BITSET, 7, 0, 0, 0), futex(&word, FUTEX_WAKE_BITSET, 1, 0, 0, 0),
        futex(&word, FUTEX_WAIT_BITSET, 7, &past, 0, ~0u),
        futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 7, &past, 0, ~0u),
        futex(&word, 99, 1, 0, 0, 0), futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 5, 0, 0, 0),
        futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &other_word, 8),
        futex((uint32_t *)8, FUTEX_WAIT, 0, 0, 0, 0));
}
long futex_bits(void)
{
    pthread_t threads[3];
    word = 0;
    start_sleepers(threads, LIST(1, 2, 3), 3);
    long none = futex(&word, FUTEX_WAKE_BITSET, 9, 0, 0, 4);
    long two = futex(&word, FUTEX_WAKE_BITSET, 9, 0, 0, 2);
    long one = futex(&word, FUTEX_WAKE, 9, 0, 0, 0);
    return DIGITS(none, two, one, join_all(threads, 3));
}
long futex_requeue(void)
{
    pthread_t threads[4];
    word = 0;
    start_sleepers(threads, LIST(1, 1, 1, 1), 4);
    long moved = futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)2, &other_word, 0);
    long there = futex(&other_word, FUTEX_WAKE, 9, 0, 0, 0);
    long left = futex(&word, FUTEX_WAKE, 9, 0, 0, 0);
    return DIGITS(moved, there, left, join_all(threads, 4));
}
long futex_wake_op(void)
{
    pthread_t threads[2];
    word = 0;
    other_word = 5;
    start_sleepers(threads, LIST(1, 1), 2);
    long woken = futex(&word, FUTEX_WAKE_OP, 1, (void *)9, &other_word,
                       FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_GT, 4));
    long old = other_word;
    long more = futex(&other_word, FUTEX_WAKE_OP, 1, (void *)9, &word,
                      FUTEX_OP(FUTEX_OP_SET, 2, FUTEX_OP_CMP_EQ, 0));
    return DIGITS(woken, old, more, word, join_all(threads, 2));
}

/* Time */
long sleeping(void)
{
    struct timespec wrong = {0, 1000000000}, before = in_ns(CLOCK_MONOTONIC, 0), after;
    struct timespec until = in_ns(CLOCK_MONOTONIC, 3000000), resolution;
    long invalid = nanosleep(&wrong, 0) ? errno : 0;
    long slept = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0);
    usleep(1000);
    clock_gettime(CLOCK_MONOTONIC, &after);
    long ns = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
    long none = clock_nanosleep(99, 0, &until, 0);
    long own = clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &until, 0);
    clock_getres(CLOCK_MONOTONIC, &resolution);
    return DIGITS(invalid, slept, ns >= 4000000, none, own, resolution.tv_nsec,
                  clock_gettime(99, &after) ? errno : 0);
}

/* Event files, epoll, poll, randomness */
static long value_of(int fd) { uint64_t v = 0; return read(fd, &v, 8) == 8 ? (long)v : -errno; }
static long put(int fd, uint64_t v) { return write(fd, &v, 8) == 8 ? 8 : -errno; }
static void *put_later(void *fd) { pause_ns(2000000); return (void *)put((int)(long)fd, 6); }
static void *take_later(void *fd) { pause_ns(2000000); return (void *)value_of((int)(long)fd); }
long event_files(void)
{
    pthread_t thread;
    void *result;
    char small[4];
    int plain = eventfd(3, EFD_NONBLOCK), counting = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    int waiting = eventfd(0, EFD_CLOEXEC);
    long a = value_of(plain), b = value_of(plain), c = value_of(counting), d = value_of(counting);
    long e = value_of(counting), f = read(plain, small, 4) < 0 ? errno : 0;
    long g = put(plain, ~0ull), h = put(plain, ~0ull - 1), i = put(plain, 1);
    pthread_create(&thread, 0, put_later, (void *)(long)waiting);
    long j = value_of(waiting);
    pthread_join(thread, &result);
    put(waiting, ~0ull - 1);
    pthread_create(&thread, 0, take_later, (void *)(long)waiting);
    long k = put(waiting, 9);
    pthread_join(thread, 0);
    long l = value_of(waiting), m = eventfd(0, 77) < 0 ? errno : 0;
    long n = lseek(plain, 0, SEEK_CUR) < 0 ? errno : 0;
    close(plain), close(counting), close(waiting);
    return DIGITS(a, b, c, d, e, f, g, h, i, j, k, l, m, n);
}
static long told(int epfd, int most, int timeout)
{
    struct epoll_event events[4] = {{0}};
    int count = epoll_wait(epfd, events, most, timeout);
    return count < 0 ? -errno : count * 1000 + events[0].events * 10 + (long)events[0].data.u64;
}
static long control(int epfd, int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {events, {.u64 = data}};
    return epoll_ctl(epfd, op, fd, &event) ? -errno : 0;
}
long epoll_levels(void)
{
    int ep = epoll_create1(EPOLL_CLOEXEC), a = eventfd(0, 0), b = eventfd(1, 0);
    long x[12], i = 0;
    x[i++] = control(ep, EPOLL_CTL_ADD, a, EPOLLIN, 1);
    x[i++] = control(ep, EPOLL_CTL_ADD, a, EPOLLIN, 1);
    x[i++] = told(ep, 4, 0);
    put(a, 1);
    x[i++] = told(ep, 4, -1);
    x[i++] = told(ep, 4, 0);
    x[i++] = control(ep, EPOLL_CTL_MOD, a, EPOLLOUT, 2);
    x[i++] = told(ep, 4, 0);
    x[i++] = control(ep, EPOLL_CTL_DEL, b, 0, 0);
    x[i++] = control(ep, EPOLL_CTL_DEL, a, 0, 0);
    x[i++] = told(ep, 4, 1);
    x[i++] = told(ep, 0, 0);
    x[i++] = control(a, EPOLL_CTL_ADD, b, 0, 0) + control(ep, EPOLL_CTL_ADD, ep, 0, 0) * 100;
    close(ep), close(a), close(b);
    return digits(12, x);
}
long epoll_edges(void)
{
    int ep = epoll_create1(0), a = eventfd(0, EFD_NONBLOCK);
    long x[10], i = 0;
    control(ep, EPOLL_CTL_ADD, a, EPOLLIN | EPOLLET, 1);
    put(a, 1);
    x[i++] = told(ep, 4, 0);
    x[i++] = told(ep, 4, 0);
    put(a, 1); /* ready already: still an edge */
    x[i++] = told(ep, 4, 0);
    x[i++] = control(ep, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLET, 2);
    x[i++] = told(ep, 4, 0);
    x[i++] = control(ep, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLONESHOT, 3);
    x[i++] = told(ep, 4, 0);
    put(a, 1);
    x[i++] = told(ep, 4, 0);
    control(ep, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLONESHOT, 4);
    x[i++] = told(ep, 4, 0);
    close(a);
    x[i++] = told(ep, 4, 0);
    close(ep);
    return digits(10, x);
}
long epoll_threads(void)
{
    pthread_t thread;
    int ep = epoll_create1(0), outer = epoll_create1(0), a = eventfd(0, 0);
    control(outer, EPOLL_CTL_ADD, ep, EPOLLIN, 9);
    control(ep, EPOLL_CTL_ADD, a, EPOLLIN, 1);
    long loop = control(ep, EPOLL_CTL_ADD, outer, EPOLLIN, 1);
    pthread_create(&thread, 0, put_later, (void *)(long)a);
    long waited = told(outer, 4, -1), inner = told(ep, 4, 0);
    pthread_join(thread, 0);
    int twin = dup(a);
    close(a); /* its twin keeps it watched */
    long kept = told(ep, 4, 0);
    close(twin);
    long gone = told(ep, 4, 0);
    close(ep), close(outer);
    return DIGITS(loop, waited, inner, kept, gone);
}
long polling(void)
{
    pthread_t thread;
    int a = eventfd(0, 0), b = eventfd(1, 0);
    struct pollfd fds[4] = {{a, POLLIN, 0}, {b, POLLIN | POLLOUT, 0}, {-1, POLLIN, 5}, {999, POLLIN, 0}};
    long all = poll(fds, 4, 0), first = fds[0].revents, second = fds[1].revents;
    long third = fds[2].revents, fourth = fds[3].revents;
    long none = poll(fds, 1, 1);
    pthread_create(&thread, 0, put_later, (void *)(long)a);
    long waited = poll(fds, 1, -1), now = fds[0].revents;
    pthread_join(thread, 0);
    struct timespec t = {0, 1000000}, wrong = {0, -1};
    value_of(a);
    long timed = ppoll(fds, 1, &t, 0), invalid = ppoll(fds, 1, &wrong, 0) < 0 ? errno : 0;
    long nothing = poll(0, 0, 1);
    close(a), close(b);
    return DIGITS(all, first, second, third, fourth, none, waited, now, timed, invalid, nothing);
}
long randomness(void)
{
    unsigned char one[300] = {0}, two[64] = {0};
    long a = getrandom(one, 64, 0), b = getrandom(two, 64, GRND_NONBLOCK);
    return DIGITS(a, b, memcmp(one, two, 64) != 0, getrandom(one, 1, 64) < 0 ? errno : 0,
                  getentropy(one, 257) ? errno : 0, getentropy(one, 256));
}
static pthread_mutex_t shared_mutex;
static volatile long shared_count;
static void *try_shared(void *unused)
{
    (void)unused;
    long tried = pthread_mutex_trylock(&shared_mutex);
    if (!tried)
        pthread_mutex_unlock(&shared_mutex);
    return (void *)tried;
}
static void *add_to_shared(void *unused)
{
    (void)unused;
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&shared_mutex);
        long before = shared_count;
        if (i % 10 == 0)
            sched_yield();
        shared_count = before + 1;
        pthread_mutex_unlock(&shared_mutex);
    }
    return 0;
}
long mutexes_of_every_kind(void)
{
    long answer = 0;
    for (int kind = 0; kind < 4; kind++) {
        pthread_mutexattr_t attr;
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_settype(&attr, kind);
        pthread_mutex_init(&shared_mutex, &attr);
        long first = pthread_mutex_lock(&shared_mutex), tried = pthread_mutex_trylock(&shared_mutex);
        long elsewhere = run(try_shared, 0), again = 0;
        if (kind == PTHREAD_MUTEX_RECURSIVE || kind == PTHREAD_MUTEX_ERRORCHECK)
            again = pthread_mutex_lock(&shared_mutex);
        long unlocks = 0;
        for (int i = kind == PTHREAD_MUTEX_RECURSIVE ? 3 : 1; i; i--)
            unlocks += pthread_mutex_unlock(&shared_mutex);
        long now = run(try_shared, 0), destroyed = pthread_mutex_destroy(&shared_mutex);
        pthread_mutex_init(&shared_mutex, &attr);
        pthread_t threads[4];
        shared_count = 0;
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], 0, add_to_shared, 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], 0);
        answer = DIGITS(answer, first, tried, elsewhere, again, unlocks, now, destroyed,
                        shared_count, pthread_mutex_trylock(&shared_mutex));
    }
    return answer;
}
static void *self(void *unused) { (void)unused; return (void *)pthread_self(); }
long who_one_is(void)
{
    pthread_t thread;
    void *result;
    pthread_create(&thread, 0, self, 0);
    pthread_join(thread, &result);
    return DIGITS(result == (void *)thread, pthread_self() == pthread_self());
}
