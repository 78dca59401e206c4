"""One Unicorn CPU: its registers and saved contexts, by raw calls with buffers made once.

Reading the integer registers in one batch takes about 1 µs where the Python binding's takes 30.
How guest code is run, and what its exits mean, is left to the machine.
"""

from __future__ import annotations

import ctypes
from collections import deque
from typing import Any

from theseus_kit.errors import MachineError
from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.library import Library
from theseus_kit.values.exceptions import Registers

_REGISTER_IDS = {
    "rax": uc.REG_RAX,
    "rbx": uc.REG_RBX,
    "rcx": uc.REG_RCX,
    "rdx": uc.REG_RDX,
    "rsi": uc.REG_RSI,
    "rdi": uc.REG_RDI,
    "rbp": uc.REG_RBP,
    "rsp": uc.REG_RSP,
    **{f"r{number}": uc.REG_R8 + number - 8 for number in range(8, 16)},
    "rip": uc.REG_RIP,
    "rflags": uc.REG_RFLAGS,
}

_FLUSH = ctypes.c_uint(uc.CTL_TLB_FLUSH)
_REMOVE = ctypes.c_uint(uc.CTL_TB_REMOVE_CACHE)

DEFAULT_FPCW = 0x37F
"""x87 control word a System V process starts with; Unicorn starts with 0."""
DEFAULT_MXCSR = 0x1F80
"""SSE control word a System V process starts with; Unicorn starts with 0."""


class Batch:
    """Registers that are read or written together, in a buffer of fixed-size fields."""

    def __init__(self, ids: list[int], addresses: list[int], buffer: Any) -> None:
        self.count = len(ids)
        self.ids = (ctypes.c_int * self.count)(*ids)
        self.pointers = (ctypes.c_void_p * self.count)(*addresses)
        self.buffer = buffer


def batch_of(ids: list[int], width: int) -> Batch:
    """A batch over a buffer of its own with ``width`` bytes for each register."""
    buffer = (ctypes.c_uint8 * (width * len(ids)))()
    base = ctypes.addressof(buffer)
    return Batch(ids, [base + width * index for index in range(len(ids))], buffer)


class Cpu:
    """The CPU's state. Not thread-safe, except :meth:`stop`."""

    def __init__(self, library: Library) -> None:
        self.library = library
        handle = ctypes.c_void_p()
        self._check(library.open(uc.ARCH_X86, uc.MODE_64, ctypes.byref(handle)), "open")
        self.handle: int = handle.value or 0
        self.handle_argument = handle
        self.frame = Registers()
        base = ctypes.addressof(self.frame)
        names = Registers.NAMES
        ids = [_REGISTER_IDS[name] for name in names]
        offsets = [base + getattr(Registers, name).offset for name in names]
        self._read = Batch(ids, offsets, self.frame)
        pairs = [(i, o) for i, o in zip(ids, offsets, strict=True) if i != uc.REG_RIP]
        self._write = Batch([i for i, _ in pairs], [o for _, o in pairs], self.frame)
        wide = [uc.REG_XMM0 + number for number in range(16)]
        wide += [uc.REG_FP0 + number for number in range(8)]
        wide += [uc.REG_MXCSR, uc.REG_FPCW, uc.REG_FPSW, uc.REG_FPTAG]
        wide += [uc.REG_FS_BASE, uc.REG_GS_BASE]
        self._rest = batch_of(wide, 16)
        self._value = ctypes.c_uint64()
        self._xmm = (ctypes.c_double * 2)()
        self.stops: deque[None] = deque()
        """Stops that were asked for and whose effect nobody has looked at yet."""
        self._contexts: list[ctypes.c_void_p] = []
        """Memory for a saved state that nobody uses."""
        self._allocated: list[ctypes.c_void_p] = []
        self._pristine: ctypes.c_void_p | None = None

    def start(self) -> None:
        """Bring the state to what a System V process starts with, and remember it as clean."""
        self.write_register(uc.REG_FPCW, DEFAULT_FPCW)
        self.write_register(uc.REG_MXCSR, DEFAULT_MXCSR)
        # A clean x87: top of stack 0, every register empty.
        self.write_register(uc.REG_FPTAG, 0xFFFF)
        self._pristine = self.save()

    def close(self) -> None:
        for context in self._allocated:
            self.library.context_free(context)
        self._allocated.clear()
        self._contexts.clear()
        if self.handle:
            self.library.close(self.handle)
            self.handle = 0

    def read_frame(self) -> Registers:
        """Read the integer registers into the buffer that every call shares, and return it."""
        read = self._read
        self.library.reg_read_batch(self.handle, read.ids, read.pointers, read.count)
        return self.frame

    def write_frame(self, registers: Registers) -> None:
        """Write the integer registers, all but rip (that is where running starts)."""
        ctypes.pointer(self.frame)[0] = registers
        write = self._write
        self.library.reg_write_batch(self.handle, write.ids, write.pointers, write.count)

    def read_register(self, register: int) -> int:
        self.library.reg_read(self.handle, register, ctypes.byref(self._value))
        return self._value.value

    def write_register(self, register: int, value: int) -> None:
        self._value.value = value
        self.library.reg_write(self.handle, register, ctypes.byref(self._value))

    def read_double(self, index: int) -> float:
        """The low double of an XMM register."""
        self.library.reg_read(self.handle, uc.REG_XMM0 + index, self._xmm)
        return float(self._xmm[0])

    def write_double(self, index: int, value: float) -> None:
        """Set an XMM register to a double, its upper half to zero."""
        self._xmm[0], self._xmm[1] = value, 0.0
        self.library.reg_write(self.handle, uc.REG_XMM0 + index, self._xmm)

    def new_context(self) -> ctypes.c_void_p:
        """Memory for a saved state. Give it back with :meth:`restore` or :meth:`recycle`."""
        if self._contexts:
            return self._contexts.pop()
        context = ctypes.c_void_p()
        error = self.library.context_alloc(self.handle, ctypes.byref(context))
        self._check(error, "allocate a context of")
        self._allocated.append(context)
        return context

    def save(self) -> ctypes.c_void_p:
        """Save the whole state (0.5 µs) in memory as of :meth:`new_context`."""
        context = self.new_context()
        self.library.context_save(self.handle, context)
        return context

    def save_into(self, context: ctypes.c_void_p) -> None:
        """Save the whole state over another one."""
        self.library.context_save(self.handle, context)

    def load(self, context: ctypes.c_void_p) -> None:
        """Bring back a saved state, which stays saved."""
        self.library.context_restore(self.handle, context)

    def restore(self, context: ctypes.c_void_p) -> None:
        """Bring back a saved state and recycle its memory."""
        self.library.context_restore(self.handle, context)
        self._contexts.append(context)

    def recycle(self, context: ctypes.c_void_p) -> None:
        """Take back a saved state's memory. Of a CPU that is closed it has gone already."""
        if self.handle:
            self._contexts.append(context)

    def read_saved_register(self, context: ctypes.c_void_p, register: int) -> int:
        """A register of a saved state, up to 64 bits."""
        ids = (ctypes.c_int * 1)(register)
        value = ctypes.c_uint64()
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(value))
        self.library.context_reg_read_batch(context, ids, pointers, 1)
        return value.value

    def read_saved_frame(self, context: ctypes.c_void_p) -> Registers:
        """The integer registers of a saved state."""
        read = self._read
        self.library.context_reg_read_batch(context, read.ids, read.pointers, read.count)
        return self.frame.copy()

    def load_pristine(self) -> None:
        """Go to the state of a thread that has run nothing."""
        assert self._pristine is not None
        self.load(self._pristine)

    def forget_exception(self) -> None:
        """Clear the CPU's memory of an exception it has reported, keeping all registers but rip.

        Unicorn does not deliver exceptions through an IDT and so never clears
        CPUX86State.old_exception: a second divide error would arrive as a double fault, a third
        would end the process as a triple fault (check_exception in QEMU's excp_helper.c). The
        field is part of a context, hence: save by registers, load a clean context, write back.
        """
        rest = self._rest
        library, handle = self.library, self.handle
        self.read_frame()
        library.reg_read_batch(handle, rest.ids, rest.pointers, rest.count)
        self.load_pristine()
        library.reg_write_batch(handle, rest.ids, rest.pointers, rest.count)
        write = self._write
        library.reg_write_batch(handle, write.ids, write.pointers, write.count)

    def stop(self) -> None:
        """Make a running emulation return soon, in silence. From any host thread.

        Noted before and after: whoever sees the CPU at rest in between must know why, and a stop
        that takes effect on the next run must not look like a ``hlt``.
        """
        self.stops.append(None)
        self.library.emu_stop(self.handle)
        self.stops.append(None)

    def flush_tlb(self) -> None:
        """Empty the TLB (1 to 3 µs, and every page to be filled again). Callbacks included."""
        self.library.ctl(self.handle_argument, _FLUSH)

    def forget_code(self, start: int, end: int) -> None:
        """Throw away blocks translated from [start, end), whose first page must be fetchable."""
        self.library.ctl(
            self.handle_argument, _REMOVE, ctypes.c_uint64(start), ctypes.c_uint64(end)
        )

    def add_hook(
        self,
        kind: int,
        callback: Any,
        start: int = 1,
        end: int = 0,
        *extra: Any,
        user: ctypes.c_void_p | None = None,
    ) -> ctypes.c_size_t:
        """Add a hook for the addresses [start, end], for all of them if start is greater.

        ``user`` is its callback's last argument.
        """
        hook = ctypes.c_size_t()
        error = self.library.hook_add(
            self.handle_argument,
            ctypes.byref(hook),
            ctypes.c_int(kind),
            callback,
            user,
            ctypes.c_uint64(start),
            ctypes.c_uint64(end),
            *extra,
        )
        self._check(error, "add a hook to")
        return hook

    def remove_hook(self, hook: ctypes.c_size_t) -> None:
        self.library.hook_del(self.handle, hook)

    def _check(self, error: int, what: str) -> None:
        if error != uc.ERR_OK:
            raise MachineError(f"cannot {what} the emulated CPU: Unicorn error {error}")
