"""stdlib.h: the malloc family, the environment, and the ways a program ends.

The heap's workings are in :mod:`.heap`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from struct import pack
from typing import TYPE_CHECKING, ClassVar, NoReturn

from theseus_kit.errors import GuestKilled, InvalidParameterError, OutOfMemoryError, PlatformError
from theseus_kit.values.exceptions import Exited, Panicked
from theseus_kit.values.linkage import CFunction, CObject
from theseus_kit_tlibc.declare import NULL, RESULT, Header, c_function
from theseus_kit_tlibc.heap import HeapError
from theseus_kit_tlibc.heap_code import CALLOC, FREE, MALLOC, REALLOC
from theseus_kit_tlibc.listing import Listing

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library

PATH_MAX = 4096
_ENVIRONMENT_VARIABLES = ("environ", "__environ", "_environ")
_SLOW_PATHS = ("__malloc_slow", "__free_slow", "__realloc_slow", "__calloc_slow")
"""What the machine code falls back on, in the order of the control block's words."""


class Stdlib(Header):
    header: ClassVar[str] = "stdlib.h"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._environment: dict[bytes, int] = {}
        self._environment_is_published = self._has_vector = False
        self._at_exit: list[tuple[int, int, int]] = []

    def machine_code(self, listing: Listing) -> Callable[[], bytes]:
        def code() -> bytes:
            heap = self.library.heap
            heap.set_slow_paths([self.library.provided(name) for name in _SLOW_PATHS])
            return listing.with_address(heap.control)

        return code

    @c_function("void *malloc(size_t size)", on_error=NULL, listing=MALLOC)
    def malloc(self, size: int) -> int:
        return self.library.heap.allocate(size)

    @c_function("void free(void *ptr)", listing=FREE)
    def free(self, ptr: int) -> None:
        try:
            self.library.heap.free(ptr)
        except HeapError as error:
            self._corrupted(error)

    @c_function("void *calloc(size_t nmemb, size_t size)", on_error=NULL, listing=CALLOC)
    def calloc(self, nmemb: int, size: int) -> int:
        total = nmemb * size
        if total >> 64:
            raise OutOfMemoryError(f"calloc of {nmemb} times {size} bytes")
        address = self.library.heap.allocate(total)
        # Large chunks are fresh pages, and zero: writing them would commit their memory.
        if not self.library.heap.is_fresh(address):
            self.library.memory.write(address, bytes(total))
        return address

    @c_function("void *realloc(void *ptr, size_t size)", on_error=NULL, listing=REALLOC)
    def realloc(self, ptr: int, size: int) -> int:
        """Size 0 frees, and answers a null pointer, as glibc's does."""
        heap = self.library.heap
        if ptr == 0:
            return heap.allocate(size)
        try:
            if size == 0:
                heap.free(ptr)
                return 0
            return heap.reallocate(ptr, size)
        except HeapError as error:
            self._corrupted(error)

    @c_function("void *__malloc_slow(size_t size)", on_error=NULL)
    def malloc_slow(self, size: int) -> int:
        return self.malloc(size)

    @c_function("void __free_slow(void *ptr)")
    def free_slow(self, ptr: int) -> None:
        self.free(ptr)

    @c_function("void *__realloc_slow(void *ptr, size_t size)", on_error=NULL)
    def realloc_slow(self, ptr: int, size: int) -> int:
        return self.realloc(ptr, size)

    @c_function("void *__calloc_slow(size_t nmemb, size_t size)", on_error=NULL)
    def calloc_slow(self, nmemb: int, size: int) -> int:
        return self.calloc(nmemb, size)

    @c_function("int posix_memalign(void **memptr, size_t alignment, size_t size)", on_error=RESULT)
    def posix_memalign(self, memptr: int, alignment: int, size: int) -> int:
        if alignment < 8 or alignment & (alignment - 1):
            raise InvalidParameterError(f"alignment {alignment} is no power of two of 8 or more")
        self.library.memory.write_u64(memptr, self.library.heap.allocate_aligned(alignment, size))
        return 0

    @c_function(
        "void *aligned_alloc(size_t alignment, size_t size)", aliases=("memalign",), on_error=NULL
    )
    def aligned_alloc(self, alignment: int, size: int) -> int:
        if not alignment or alignment & (alignment - 1):
            raise InvalidParameterError(f"alignment {alignment} is no power of two")
        return self.library.heap.allocate_aligned(alignment, size)

    @c_function("size_t malloc_usable_size(void *ptr)")
    def malloc_usable_size(self, ptr: int) -> int:
        try:
            return self.library.heap.usable_size(ptr) if ptr else 0
        except HeapError as error:
            self._corrupted(error)

    def symbols(self) -> Iterable[CFunction | CObject]:
        variables = [CObject(name, bytes(8), self.header, 8) for name in _ENVIRONMENT_VARIABLES]
        # sys/single_threaded.h: zero, so that libstdc++ counts references atomically.
        variables.append(CObject("__libc_single_threaded", bytes(1), "sys/single_threaded.h", 1))
        return [*super().symbols(), *variables]

    def publish_environment(self) -> None:
        """Make ``environ`` point at the environment; a null pointer says that it is empty."""
        chosen = self.library.environment
        if self._environment_is_published or not (chosen or self._has_vector):
            return
        self._environment_is_published = self._has_vector = True
        texts = [self.library.constant(b"%s=%s\0" % item) for item in chosen.items()]
        vector = self.library.constant(pack(f"<{len(texts) + 1}Q", *texts, 0))
        for name in _ENVIRONMENT_VARIABLES:
            self.library.memory.write_u64(self.library.provided(name), vector)

    def set_variable(self, name: bytes, value: bytes | None) -> None:
        """Change a variable or take it away; ``environ`` becomes a new vector."""
        environment = self.library.environment
        self._environment.pop(name, None)
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
        self._environment_is_published = False
        self.publish_environment()

    @c_function("char *getenv(const char *name)", aliases=("secure_getenv",))
    def getenv(self, name: int) -> int:
        key = self.library.memory.read_string(name)
        address = self._environment.get(key)
        if address is None:
            value = self.library.environment.get(key)
            if value is None:
                return 0
            address = self._environment[key] = self.library.heap.allocate(len(value) + 1)
            self.library.memory.write(address, value + b"\0")
        return address

    @c_function("char *realpath(const char *path, char *resolved_path)", on_error=NULL)
    def realpath(self, path: int, resolved_path: int) -> int:
        """Resolve within the namespace; into new memory where ``resolved_path`` is null.

        Raises PlatformError (ENOENT, ENOTDIR, ELOOP, EACCES; ENAMETOOLONG beyond PATH_MAX).
        """
        given = self.library.path(path)
        resolved = self.library.hooks.path_resolve(path=given, follow=True)
        text = str(resolved).encode("utf-8", "surrogateescape") + b"\0"
        if len(text) > PATH_MAX:
            raise PlatformError(f"{resolved}: too long", errno.ENAMETOOLONG)
        address = resolved_path or self.library.heap.allocate(len(text))
        self.library.memory.write(address, text)
        return address

    @c_function("int __cxa_atexit(void (*func)(void *), void *arg, void *dso_handle)")
    def cxa_atexit(self, func: int, arg: int, dso_handle: int) -> int:
        self._at_exit.append((func, arg, dso_handle))
        return 0

    @c_function("int atexit(void (*function)(void))")
    def atexit(self, function: int) -> int:
        return self.cxa_atexit(function, 0, 0)

    @c_function("void __cxa_finalize(void *dso_handle)", reenters=True)
    def cxa_finalize(self, dso_handle: int) -> None:
        """Run an image's exit functions, last registered first; all there are for a null handle.

        Source: Itanium C++ ABI, 3.3.6.3.
        """
        for entry in reversed(self._at_exit[:]):
            function, argument, owner = entry
            if dso_handle in (0, owner) and entry in self._at_exit:
                self._at_exit.remove(entry)
                self.library.machine.call(function, (argument,))

    @c_function("void exit(int status)", reenters=True)
    def exit(self, status: int) -> NoReturn:
        self.cxa_finalize(0)
        for action in self.library.at_exit:
            action()
        self.exit_now(status)

    @c_function("void _exit(int status)", system_call=231, aliases=("_Exit",))
    def exit_now(self, status: int) -> NoReturn:
        """exit_group: the whole guest ends, not the task alone; one byte is told (exit(3))."""
        raise GuestKilled(Exited(status & 0xFF))

    def _corrupted(self, error: HeapError) -> NoReturn:
        raise GuestKilled(Panicked(str(error))) from error
