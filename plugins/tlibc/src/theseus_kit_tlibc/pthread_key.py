"""pthread.h: keys, the variables that each task has a value of."""

from __future__ import annotations

from theseus_kit_tlibc.deferred import DeferredBodies


class Bodies(DeferredBodies):
    """The functions of pthread.h."""

    def pthread_key_create(self, key: int, destructor: int) -> int:
        self.library.memory.write_u32(key, self.library.hooks.tls_key_create(destructor=destructor))
        return 0

    def pthread_key_delete(self, key: int) -> int:
        self.library.hooks.tls_key_delete(key=key)
        return 0

    def pthread_getspecific(self, key: int) -> int:
        value: int = self.library.hooks.tls_key_get(task=self.library.task, key=key)
        return value

    def pthread_setspecific(self, key: int, value: int) -> int:
        self.library.hooks.tls_key_set(task=self.library.task, key=key, value=value)
        return 0
