/* Threads that end in the middle of functions with cleanup handlers; run on the host and in here. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static long order;

static void note(void *digit) { order = order * 10 + (long)digit; }
static void nested(void *unused)
{
    (void)unused;
    pthread_cleanup_push(note, (void *)8L);
    note((void *)7L);
    pthread_cleanup_pop(1);
}

static long joined(void *(*body)(void *))
{
    pthread_t thread;
    void *result;
    order = 0;
    pthread_create(&thread, NULL, body, NULL);
    pthread_join(thread, &result);
    return (long)result * 1000000 + order;
}

__attribute__((noinline)) static void inner(long code)
{
    volatile char room[200];
    room[code] = 1;
    pthread_cleanup_push(note, (void *)1L);
    pthread_exit((void *)(code + room[code] - 1));
    pthread_cleanup_pop(0);
}

static void *in_order(void *unused)
{
    (void)unused;
    pthread_cleanup_push(note, (void *)3L);
    pthread_cleanup_push(note, (void *)9L);
    pthread_cleanup_pop(0);
    pthread_cleanup_push(note, (void *)2L);
    inner(5);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return NULL;
}
long handlers_run_innermost_first(void) { return joined(in_order); }

static void *popped(void *unused)
{
    (void)unused;
    pthread_cleanup_push(note, (void *)1L);
    pthread_cleanup_push(note, (void *)2L);
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(0);
    return (void *)4L;
}
long a_popped_handler_runs_where_it_is_asked_to(void) { return joined(popped); }

static void *with_nested(void *unused)
{
    (void)unused;
    pthread_cleanup_push(note, (void *)6L);
    pthread_cleanup_push(nested, NULL);
    pthread_exit((void *)2L);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return NULL;
}
long a_handler_may_have_handlers(void) { return joined(with_nested); }

static int compare(const void *left, const void *right)
{
    pthread_cleanup_push(note, (void *)4L);
    if (*(const int *)left != *(const int *)right)
        pthread_exit((void *)3L);
    pthread_cleanup_pop(0);
    return 0;
}
static void *through_a_library(void *unused)
{
    (void)unused;
    int numbers[] = {3, 1, 2};
    pthread_cleanup_push(note, (void *)5L);
    qsort(numbers, 3, sizeof *numbers, compare);
    pthread_cleanup_pop(0);
    return NULL;
}
long handlers_outside_of_a_library_function_run_too(void) { return joined(through_a_library); }

static pthread_key_t key;
static void *with_a_key(void *unused)
{
    (void)unused;
    pthread_setspecific(key, (void *)9L);
    pthread_cleanup_push(note, (void *)1L);
    pthread_exit(NULL);
    pthread_cleanup_pop(0);
    return NULL;
}
long destructors_of_keys_come_after_the_handlers(void)
{
    pthread_key_create(&key, note);
    long result = joined(with_a_key);
    pthread_key_delete(key);
    return result;
}

/* Cancellation: starts a thread, cancels it when it has waited for a while. */
static volatile int entered, go;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void nap(long milliseconds)
{
    struct timespec time = {0, milliseconds * 1000000};
    nanosleep(&time, NULL);
}

static long cancelled(void *(*body)(void *))
{
    pthread_t thread;
    void *result;
    order = entered = go = 0;
    sem_init(&semaphore, 0, 0);
    pthread_create(&thread, NULL, body, NULL);
    while (!entered)
        sched_yield();
    nap(15);
    long sent = pthread_cancel(thread);
    go = 1;
    nap(15);
    pthread_join(thread, &result);
    return (result == PTHREAD_CANCELED ? 1000000 : (long)result * 10000000) + 100000 * sent + order;
}

#define WAITING(name, statement)                                                                   \
    static void *name(void *unused)                                                                \
    {                                                                                              \
        (void)unused;                                                                              \
        pthread_cleanup_push(note, (void *)3L);                                                    \
        entered = 1;                                                                               \
        statement;                                                                                 \
        note((void *)9L);                                                                          \
        pthread_cleanup_pop(0);                                                                    \
        return (void *)2L;                                                                         \
    }

WAITING(sleeping, sleep(20))
long a_sleep_is_cancelled(void) { return cancelled(sleeping); }
WAITING(polling, poll(NULL, 0, -1))
long a_poll_is_cancelled(void) { return cancelled(polling); }
WAITING(pausing, pause())
long a_pause_is_cancelled(void) { return cancelled(pausing); }
WAITING(posted, sem_wait(&semaphore))
long a_semaphore_is_cancelled(void) { return cancelled(posted); }
WAITING(testing, while (!go) sched_yield(); pthread_testcancel())
long a_test_is_cancelled(void) { return cancelled(testing); }
WAITING(computing, while (!go) sched_yield(); sleep(20))
long a_wait_after_the_cancellation_is_cancelled(void) { return cancelled(computing); }
WAITING(disabled, pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL); nap(40); note((void *)7L);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL); pause())
long a_thread_may_put_it_off(void) { return cancelled(disabled); }
WAITING(reading, { uint64_t value; int counter = eventfd(0, 0); (void)!read(counter, &value, 8); })
long a_read_is_cancelled(void) { return cancelled(reading); }

static void unlock(void *unused)
{
    (void)unused;
    note((void *)(pthread_mutex_trylock(&mutex) == EBUSY ? 5L : 6L));
    pthread_mutex_unlock(&mutex);
}
static void *conditioned(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock, NULL);
    entered = 1;
    for (;;)
        pthread_cond_wait(&condition, &mutex);
    pthread_cleanup_pop(0);
    return NULL;
}
long a_condition_is_cancelled_with_its_mutex_locked(void) { return cancelled(conditioned); }

static void *locking(void *unused)
{
    (void)unused;
    entered = 1;
    pthread_mutex_lock(&mutex);
    note((void *)8L);
    pthread_mutex_unlock(&mutex);
    pthread_testcancel();
    return NULL;
}
long a_lock_is_no_cancellation_point(void)
{
    pthread_t thread;
    void *result;
    order = entered = 0;
    pthread_mutex_lock(&mutex);
    pthread_create(&thread, NULL, locking, NULL);
    while (!entered)
        sched_yield();
    nap(10);
    pthread_cancel(thread);
    nap(10);
    long before = order;
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, &result);
    return (result == PTHREAD_CANCELED) + 10 * before + 100 * order;
}
