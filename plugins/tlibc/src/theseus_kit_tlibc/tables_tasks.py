"""Which functions of tasks, and of what ends them, are imported at their first call.

:mod:`.deferred` says how to read a table.
"""

from __future__ import annotations

from theseus_kit.values.linkage import ErrorConvention
from theseus_kit_tlibc.declare import MINUS_ONE, NULL, RESULT
from theseus_kit_tlibc.deferred import Table

TASKS = (
    Table(
        "pthread_rwlock",
        "pthread.h",
        """
        int pthread_rwlockattr_init(pthread_rwlockattr_t *attr)
        int pthread_rwlockattr_destroy(pthread_rwlockattr_t *attr)
        int pthread_rwlockattr_setpshared(pthread_rwlockattr_t *attr, int pshared)
        int pthread_rwlockattr_setkind_np(pthread_rwlockattr_t *attr, int pref)
        int pthread_rwlock_init(pthread_rwlock_t *rwlock, const pthread_rwlockattr_t *attr)
        int pthread_rwlock_destroy(pthread_rwlock_t *rwlock)
        int pthread_rwlock_tryrdlock(pthread_rwlock_t *rwlock)
        int pthread_rwlock_trywrlock(pthread_rwlock_t *rwlock)
        int pthread_rwlock_unlock(pthread_rwlock_t *rwlock)
    """,
        RESULT,
    ),
    Table(
        "pthread_rwlock",
        "pthread.h",
        """
        int pthread_rwlock_rdlock(pthread_rwlock_t *rwlock)
        int pthread_rwlock_timedrdlock(pthread_rwlock_t *rwlock, const struct timespec *abstime)
        int pthread_rwlock_clockrdlock(pthread_rwlock_t *rwlock, clockid_t clockid, const struct \
            timespec *abstime)
        int pthread_rwlock_wrlock(pthread_rwlock_t *rwlock)
        int pthread_rwlock_timedwrlock(pthread_rwlock_t *rwlock, const struct timespec *abstime)
        int pthread_rwlock_clockwrlock(pthread_rwlock_t *rwlock, clockid_t clockid, const struct \
            timespec *abstime)
    """,
        RESULT,
        blocks=True,
    ),
    Table(
        "pthread_key",
        "pthread.h",
        """
        int pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) = \
            __pthread_key_create
        int pthread_key_delete(pthread_key_t key)
        int pthread_setspecific(pthread_key_t key, const void *value)
    """,
        RESULT,
    ),
    Table(
        "pthread_key",
        "pthread.h",
        """
        void *pthread_getspecific(pthread_key_t key)
    """,
        NULL,
    ),
    Table(
        "semaphore",
        "semaphore.h",
        """
        int sem_init(sem_t *sem, int pshared, unsigned int value)
        int sem_destroy(sem_t *sem)
        int sem_getvalue(sem_t *sem, int *sval)
        int sem_post(sem_t *sem)
        int sem_trywait(sem_t *sem)
    """,
        MINUS_ONE,
    ),
    Table(
        "semaphore",
        "semaphore.h",
        """
        int sem_wait(sem_t *sem)
        int sem_timedwait(sem_t *sem, const struct timespec *abs_timeout)
        int sem_clockwait(sem_t *sem, clockid_t clockid, const struct timespec *abs_timeout)
    """,
        MINUS_ONE,
        blocks=True,
    ),
    Table(
        "sys_prctl",
        "sys/prctl.h",
        """
        157: int prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, \
            unsigned long arg5)
    """,
        MINUS_ONE,
    ),
    Table(
        "assert_",
        "assert.h",
        """
        void __assert_fail(const char *assertion, const char *file, unsigned int line, const \
            char *function)
        void __stack_chk_fail(void)
    """,
        reenters=True,  # for the destructors that a kill may run
    ),
    Table(
        "pthread_cond",
        "pthread.h",
        """
        int pthread_condattr_init(pthread_condattr_t *attr)
        int pthread_condattr_destroy(pthread_condattr_t *attr)
        int pthread_condattr_setclock(pthread_condattr_t *attr, clockid_t clock_id)
        int pthread_condattr_getclock(const pthread_condattr_t *attr, clockid_t *clock_id)
        int pthread_condattr_setpshared(pthread_condattr_t *attr, int pshared)
        int pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
        int pthread_cond_destroy(pthread_cond_t *cond)
        int pthread_cond_signal(pthread_cond_t *cond)
        int pthread_cond_broadcast(pthread_cond_t *cond)
    """,
        RESULT,
    ),
    Table(
        "pthread_cond",
        "pthread.h",
        """
        int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
        int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct \
            timespec *abstime)
        int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t \
            clock_id, const struct timespec *abstime)
    """,
        RESULT,
        blocks=True,
    ),
    Table(
        "poll",
        "poll.h",
        """
        7: int poll(struct pollfd *fds, nfds_t nfds, int timeout)
        int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *tmo_p, const sigset_t \
            *sigmask)
    """,
        MINUS_ONE,
        blocks=True,
    ),
    Table(
        "poll",
        "poll.h",
        """
        271: long ppoll(struct pollfd *fds, nfds_t nfds, struct timespec *tmo_p, const sigset_t \
            *sigmask, size_t sigsetsize)
    """,
        ErrorConvention.NEGATIVE,
        blocks=True,
        is_raw=True,
    ),
)
