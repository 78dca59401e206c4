// Threads that end in the middle of C++ functions; run on the host and in here.
#include <pthread.h>

static long order;

struct Noted {
    long digit;
    ~Noted() { order = order * 10 + digit; }
};

static long joined(void *(*body)(void *))
{
    pthread_t thread;
    void *result;
    order = 0;
    pthread_create(&thread, nullptr, body, nullptr);
    pthread_join(thread, &result);
    return (long)result * 1000000 + order;
}

__attribute__((noinline)) static void leave(long code)
{
    Noted first{1}, second{2};
    pthread_exit((void *)code);
}

static void *destroying(void *)
{
    Noted outer{3};
    leave(5);
    return nullptr;
}
extern "C" long destructors_run_innermost_first() { return joined(destroying); }

static void note(void *digit) { order = order * 10 + (long)digit; }
static void *handling(void *)
{
    Noted outer{4};
    pthread_cleanup_push(note, (void *)6L);
    leave(2);
    pthread_cleanup_pop(0);
    return nullptr;
}
extern "C" long cleanup_handlers_are_destructors() { return joined(handling); }
