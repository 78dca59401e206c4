"""pthread.h: keys, the variables that each task has a value of."""

from __future__ import annotations

from typing import ClassVar

from theseus_kit_tlibc.declare import NULL, RESULT, Header, c_function


class PthreadKey(Header):
    header: ClassVar[str] = "pthread.h"

    @c_function(
        "int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))",
        aliases=("__pthread_key_create",),
        on_error=RESULT,
    )
    def pthread_key_create(self, key: int, destructor: int) -> int:
        self.library.memory.write_u32(key, self.library.hooks.tls_key_create(destructor=destructor))
        return 0

    @c_function("int pthread_key_delete(pthread_key_t key)", on_error=RESULT)
    def pthread_key_delete(self, key: int) -> int:
        self.library.hooks.tls_key_delete(key=key)
        return 0

    @c_function("void *pthread_getspecific(pthread_key_t key)", on_error=NULL)
    def pthread_getspecific(self, key: int) -> int:
        value: int = self.library.hooks.tls_key_get(task=self.library.task, key=key)
        return value

    @c_function("int pthread_setspecific(pthread_key_t key, const void *value)", on_error=RESULT)
    def pthread_setspecific(self, key: int, value: int) -> int:
        self.library.hooks.tls_key_set(task=self.library.task, key=key, value=value)
        return 0
