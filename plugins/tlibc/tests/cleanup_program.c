/* Threads that end in the middle of functions with cleanup handlers; run on the host and in here. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
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
