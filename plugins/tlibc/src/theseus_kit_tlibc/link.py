"""link.h, dlfcn.h and the ABI's own functions: what a program asks of its dynamic loader."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from theseus_kit_tlibc.declare import Header, c_function
from theseus_kit_tlibc.listing import Listing

if TYPE_CHECKING:
    from theseus_kit.image import Image
    from theseus_kit.task import Task
    from theseus_kit_tlibc.library import Library

# A block that the task has already is in its DTV (:mod:`.tls`); the rest is the slow path.
TLS_GET_ADDR = Listing(
    """
    64488b042508000000      mov rax, qword ptr fs:[8]        ; the DTV
    488b17                  mov rdx, qword ptr [rdi]         ; the module
    483b10                  cmp rdx, qword ptr [rax]
    770e                    ja 0x1f
    488b04d0                mov rax, qword ptr [rax + rdx*8]
    4885c0                  test rax, rax
    7405                    je 0x1f
    48034708                add rax, qword ptr [rdi + 8]     ; the offset
    c3                      ret
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc   ; __tls_get_addr_slow
    41ffe3                  jmp r11
    """
)

# The same where fs: is not the guest's: the machine keeps the thread pointer in memory.
TLS_GET_ADDR_BY_CELL = Listing(
    """
    48b8cccccccccccccccc    movabs rax, 0xcccccccccccccccc   ; thread_pointer_cell
    488b00                  mov rax, qword ptr [rax]
    488b4008                mov rax, qword ptr [rax + 8]     ; the DTV
    488b17                  mov rdx, qword ptr [rdi]         ; the module
    483b10                  cmp rdx, qword ptr [rax]
    770e                    ja 0x27
    488b04d0                mov rax, qword ptr [rax + rdx*8]
    4885c0                  test rax, rax
    7405                    je 0x27
    48034708                add rax, qword ptr [rdi + 8]     ; the offset
    c3                      ret
    49bbcccccccccccccccc    movabs r11, 0xcccccccccccccccc   ; __tls_get_addr_slow
    41ffe3                  jmp r11
    """
)

RTLD_DEFAULT, RTLD_NEXT = 0, (1 << 64) - 1

# struct dl_phdr_info: addr, name, phdr, phnum, adds, subs, tls_modid, tls_data
_PHDR_INFO = Struct("<QQQH6xQQQQ")
_ELF_PHOFF, _ELF_PHNUM = 32, 56
_TLS_INDEX = Struct("<QQ")


class Link(Header):
    header: ClassVar[str] = "link.h"

    def __init__(self, library: Library, has_vector: bool) -> None:
        """``has_vector`` says that tasks' storage has a DTV, as :mod:`.tls` makes it."""
        super().__init__(library)
        self._has_vector = has_vector
        self._blocks: dict[tuple[Task, int], int] = {}
        self._error = b""
        self._loads = self._unloads = 0

    def machine_code(self, listing: Listing) -> Callable[[], bytes] | None:
        if not self._has_vector:
            return None
        cell = self.library.machine.thread_pointer_cell
        slow = "__tls_get_addr_slow"
        if cell is None:
            return lambda: listing.with_address(self.library.provided(slow))
        return lambda: TLS_GET_ADDR_BY_CELL.with_addresses(cell, self.library.provided(slow))

    @c_function("void *__tls_get_addr_slow(const tls_index *index)")
    def tls_get_addr_slow(self, index: int) -> int:
        return self.tls_get_addr(index)

    @c_function("void *__tls_get_addr(const tls_index *index)", listing=TLS_GET_ADDR)
    def tls_get_addr(self, index: int) -> int:
        """The address of a thread-local variable; a task's block of a module never moves."""
        module, offset = _TLS_INDEX.unpack(self.library.memory.read(index, 16))
        key = (self.library.task, module)
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = self.library.hooks.tls_address(
                task=key[0], module=module, offset=0
            )
        result: int = block + offset
        return result

    @c_function("int __cxa_thread_atexit_impl(void (*dtor)(void *), void *obj, void *dso_symbol)")
    def cxa_thread_atexit_impl(self, dtor: int, obj: int, dso_symbol: int) -> int:
        self.library.hooks.tls_add_destructor(task=self.library.task, function=dtor, argument=obj)
        return 0

    @c_function(
        "int dl_iterate_phdr(int (*callback)(struct dl_phdr_info *info, size_t size, void *data), "
        "void *data)",
        reenters=True,
    )
    def dl_iterate_phdr(self, callback: int, data: int) -> int:
        """Call back for each image, until one answers other than 0, and return that."""
        heap, memory = self.library.heap, self.library.memory
        info = heap.allocate(_PHDR_INFO.size)
        result = 0
        try:
            for image in self.library.services.namespace.images:
                memory.write(info, self._phdr_info(image))
                result = self.library.machine.call(callback, (info, _PHDR_INFO.size, data))
                result &= 0xFFFFFFFF
                if result:
                    break
        finally:
            heap.free(info)
        return result

    def _phdr_info(self, image: Image) -> bytes:
        memory = self.library.memory
        # The ELF header is the start of the first segment (the loader maps whole pages of it).
        header = image.base + image.segments[0].address - image.segments[0].offset
        headers = header + memory.read_u64(header + _ELF_PHOFF)
        count = int.from_bytes(memory.read(header + _ELF_PHNUM, 2), "little")
        module = image.tls_module or 0
        name = self.library.constant(str(image.path).encode("utf-8", "surrogateescape") + b"\0")
        return _PHDR_INFO.pack(
            image.base,
            name,
            headers,
            count,
            self._loads,
            self._unloads,
            module,
            self._blocks.get((self.library.task, module), 0),
        )

    @c_function("void *dlsym(void *handle, const char *symbol)")
    def dlsym(self, handle: int, symbol: int) -> int:
        """Find a symbol in the namespace: plugins' and all images'; the one handle there is."""
        name = self.library.memory.read_string(symbol)
        address = None
        if handle != RTLD_NEXT:
            address = self.library.services.namespace.resolve(name.decode(errors="surrogateescape"))
        if address is None:
            self._error = b"undefined symbol: " + name
            return 0
        return address

    @c_function("char *dlerror(void)")
    def dlerror(self) -> int:
        """The last failure, once."""
        text, self._error = self._error, b""
        return self.library.constant(text + b"\0") if text else 0

    def set_error(self, text: bytes) -> None:
        """Keep what dlerror is to tell."""
        self._error = text

    def image_loaded(self) -> None:
        self._loads += 1

    def image_unloaded(self, image: Image) -> None:
        self._unloads += 1
        module = image.tls_module
        for key in [key for key in self._blocks if key[1] == module]:
            del self._blocks[key]

    def task_ended(self, task: Task) -> None:
        for key in [key for key in self._blocks if key[0] is task]:
            del self._blocks[key]
